"""How good answers are: what end users say, scorers, reviewers, and what was retrieved."""

from collections.abc import Callable
from functools import partial

from ostinato.kpis.measuring import none, weighted
from ostinato.kpis.model import Facts, Kpi, Reading
from ostinato.signals.summing import Sum

_NAMED = 3
_SCORED = "no scorer of this window's traffic has such a name; see how to sample traffic"


def _satisfaction(facts: Facts) -> Reading:
    found = facts.signals.get(("feedback", "feedback"))
    n = found["n"] if found is not None else 0
    others = sorted(name for source, name in facts.signals if source == "feedback" and name != "feedback")
    why = "no feedback was given in this window"
    if others:
        why = f"feedback of this window has names of its own, which may mean anything: {', '.join(others[:_NAMED])}"
    return weighted(found, facts.confidence, why, {"told": n})


def _source(source: str, facts: Facts, why: str) -> Reading:
    """The mean of what one source says most often of; the others by name beside it."""
    found = {name: one for (of, name), one in facts.signals.items() if of == source and one["valued"] > 0}
    if not found:
        return none(why)
    most = max(found, key=lambda name: (found[name]["valued"], name))
    means = {name: one["wv"] / one["w"] if one["w"] else None for name, one in found.items()}
    return weighted(found[most], facts.confidence, why, {"of": most, "all": means})


def _named(*words: str) -> Callable[[Facts], Reading]:
    """The mean of the scorers whose name begins with one of these words."""

    def read(facts: Facts) -> Reading:
        pooled, names = Sum(), list[str]()
        for (source, name), one in facts.signals.items():
            if source == "scorer" and name.lower().replace("_", "-").startswith(words):
                pooled.add(one)
                names.append(name)
        return weighted(pooled if names else None, facts.confidence, _SCORED, {"of": names})

    return read


def _quality(name: str, title: str, formula: str, of: Callable[[Facts], Reading], *pairs: str) -> Kpi:
    return Kpi(
        name=name, group="quality", title=title, formula=formula, unit="score", better="higher", of=of, pairs=pairs
    )


KPIS: tuple[Kpi, ...] = (
    _quality("satisfaction", "Feedback", "mean feedback of end users, 0 (bad) to 1 (good)", _satisfaction),
    _quality(
        "accuracy",
        "Score",
        "weighted mean of the scorer that has scored most of the traffic; its trend: `series`, cut by release",
        partial(_source, "scorer", why="no traffic was scored in this window: see how to sample traffic"),
        "judge_reliability",
    ),
    _quality(
        "review_score",
        "Reviewers' verdicts",
        "weighted mean of what people decided",
        partial(_source, "review", why="nobody has reviewed answers of this window"),
    ),
    _quality(
        "precision_at_k", "Retrieval precision@k", "relevant and retrieved / k", _named("precision"), "recall_at_k"
    ),
    _quality("recall_at_k", "Retrieval recall@k", "relevant and retrieved / relevant", _named("recall")),
    _quality("mrr", "Mean reciprocal rank", "mean of 1 / rank of the first relevant passage", _named("mrr")),
    _quality("ndcg", "nDCG", "gain of what was retrieved, by rank / the best possible", _named("ndcg")),
    Kpi(
        name="quality_noninferiority",
        group="quality",
        title="Quality is not worse",
        formula="lower bound of (treated - control) above -margin; savings count only while it holds",
        unit="score",
        better="higher",
        cuts=(),
        slow=True,
    ),
    Kpi(
        name="error_reduction",
        group="quality",
        title="Error reduction",
        formula="error rate of the hold-out - error rate of the treated, with interval",
        unit="share",
        better="higher",
        cuts=(),
        slow=True,
    ),
    Kpi(
        name="judge_reliability",
        group="quality",
        title="Judge reliability",
        formula="kappa against people, the lowest of the judges in use; below 0.6 blocks automatic promotion",
        unit="kappa",
        better="higher",
        cuts=(),
    ),
)
