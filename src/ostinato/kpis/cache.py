"""What the response cache does: hits, tokens avoided, and hits that were wrong or out of date."""

from ostinato.kpis.measuring import exact_share, none, share
from ostinato.kpis.model import Facts, Kpi, Reading
from ostinato.signals.summing import Sum
from ostinato.traces.model import HIT_KINDS

_UNCUT = ("intent", "prompt", "release", "arm")


def hits(facts: Facts) -> int:
    """Requests answered from cache."""
    return sum(facts.traffic[f"hit_{kind}"] for kind in HIT_KINDS)


def _hit_rate(facts: Facts) -> Reading:
    found = hits(facts)
    kinds = {kind: facts.traffic[f"hit_{kind}"] for kind in HIT_KINDS}
    return share(
        found,
        found + facts.traffic["misses"],
        facts.confidence,
        detail={"bypasses": facts.traffic["bypasses"], **kinds},
    )


def _token_hit_rate(facts: Facts) -> Reading:
    avoided = facts.traffic["avoided"]
    spent = sum(facts.traffic[name] for name in ("input", "cache_read", "cache_write", "output", "reasoning"))
    if avoided + spent <= 0:
        return none()
    # Tokens come by the answer, not each for itself: an interval of so many would say too much.
    n = hits(facts) + facts.traffic["misses"]
    return Reading(value=avoided / (avoided + spent), n=n, detail={"avoided": avoided, "spent": spent})


def _checked(facts: Facts) -> tuple[str, Sum] | None:
    """What checked answers from cache: people, where they did; else the scorer that looked at most."""
    found = {key: one for key, one in facts.checked.items() if key[0] in ("review", "scorer") and one["valued"] > 0}
    if not found:
        return None
    key = max(found, key=lambda one: (one[0] == "review", found[one]["valued"]))
    return f"{key[0]}:{key[1]}", found[key]


def _false_hits(facts: Facts) -> Reading:
    checked = _checked(facts)
    if checked is None:
        return none("no answer from cache was checked by reviewers or scorers")
    name, found = checked
    detail = {"wrong": found["bad"], "by": name, "hits": hits(facts)}
    return exact_share(found["bad"], found["valued"], facts.confidence, detail)


def _stale(facts: Facts) -> Reading:
    n = sum(one["n"] for (source, _), one in facts.checked.items() if source in ("review", "feedback"))
    told = sum(
        one.detail.labels.get("stale", 0)
        for (source, _), one in facts.checked.items()
        if source in ("review", "feedback")
    )
    late = facts.traffic["hit_stale"]
    why = "nobody has looked at answers from cache: reviews and feedback name one that was out of date `stale`"
    return share(told, n, facts.confidence, why, {"past_their_life": late, "hits": hits(facts)})


KPIS: tuple[Kpi, ...] = (
    Kpi(
        name="hit_rate",
        group="cache",
        title="Hit rate",
        formula="hits / (hits + misses): requests that could have been hits",
        unit="share",
        better="higher",
        pairs=("false_hit_rate",),
        of=_hit_rate,
        cuts=_UNCUT,
    ),
    Kpi(
        name="token_hit_rate",
        group="cache",
        title="Tokens avoided",
        formula="tokens avoided / tokens that would have been spent",
        unit="share",
        better="higher",
        of=_token_hit_rate,
        cuts=_UNCUT,
    ),
    Kpi(
        name="false_hit_rate",
        group="cache",
        title="Wrong hits",
        formula="wrong hits / checked hits, with the exact (Clopper-Pearson) interval",
        unit="share",
        better="lower",
        of=_false_hits,
        cuts=_UNCUT,
    ),
    Kpi(
        name="staleness_rate",
        group="cache",
        title="Stale hits",
        formula="hits told to be out of date / hits looked at",
        unit="share",
        better="lower",
        of=_stale,
        cuts=_UNCUT,
    ),
)
