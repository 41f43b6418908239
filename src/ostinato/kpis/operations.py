"""How it runs: errors, and what they were."""

from ostinato.kpis.failing import CLASSES, OF_ANSWERS, class_of
from ostinato.kpis.measuring import none, share
from ostinato.kpis.model import Facts, Kpi, Reading


def _errors(facts: Facts) -> Reading:
    return share(
        facts.traffic["errors"],
        facts.traffic["requests"],
        facts.confidence,
        detail={"by_code": dict(facts.traffic.detail.errors), "asides": facts.traffic["asides"]},
    )


def _failures(facts: Facts) -> Reading:
    """Requests that failed, answers that refuse, miss their format or were told to be wrong, retrievals: a Pareto."""
    found: dict[str, int] = {}
    codes: dict[str, dict[str, int]] = {}
    for error, count in facts.traffic.detail.errors.items():
        of = class_of(error)
        found[of] = found.get(of, 0) + count
        codes.setdefault(of, {})[error] = count
    for reason, of in OF_ANSWERS.items():
        if (count := facts.traffic.detail.reasons.get(reason, 0)) > 0:
            found[of] = found.get(of, 0) + count
            codes.setdefault(of, {})[reason] = count
    for (source, name), one in facts.signals.items():
        bad = one["bad"]
        if source == "scorer" and name.startswith(("precision", "recall", "mrr", "ndcg")) and bad > 0:
            found["retrieval"] = found.get("retrieval", 0) + bad
        elif source == "review" and bad > 0:
            found["wrong answer"] = found.get("wrong answer", 0) + bad
    requests = facts.traffic["requests"]
    if requests <= 0:
        return none()
    total = sum(found.values())
    pareto: list[dict[str, object]] = []
    running = 0
    for name, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        running += count
        pareto.append({"class": name, "count": count, "share": count / total, "cumulative": running / total})
        if name in codes:
            pareto[-1]["codes"] = codes[name]
    return share(total, requests, facts.confidence, detail={"pareto": pareto})


KPIS: tuple[Kpi, ...] = (
    Kpi(
        name="error_rate",
        group="operations",
        title="Errors",
        formula="requests that ended in an error, the caller's own mistakes included / requests for answers or "
        "vectors; what is asked beside these (lists of models, counts of tokens, feedback) is told as asides",
        unit="share",
        better="lower",
        of=_errors,
    ),
    Kpi(
        name="failure_modes",
        group="operations",
        title="Failure modes",
        formula="failures per request, each class of a closed list beside it: " + ", ".join(CLASSES),
        unit="share",
        better="lower",
        of=_failures,
    ),
    Kpi(
        name="drift_index",
        group="operations",
        title="Drift index",
        formula="max over detectors of statistic / threshold, as it stands; above 1 one has raised an alarm. Beside "
        "it, of the cases that detectors opened in the window: the median time to detect (from when it began, as far "
        "as is known) and to contain (until an action was done), and the share of ended ones that were dismissed",
        unit="ratio",
        better="lower",
        cuts=(),
    ),
)
