"""From evidence to a verdict, and whether it is worth changing the one that stands. Pure."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import msgspec

from ostinato.families import OTHER
from ostinato.triage import value
from ostinato.triage.model import Choice, Decision, Evidence, Money, Reason, Span, Verdict
from ostinato.triage.settings import Settings
from ostinato.triage.value import Caching
from ostinato.wire.model import Json

_HIGH = ("high", "critical")
_REPLACED = "replaced"
_NOTHING = Span(0.0, 0.0, 0.0)


def decide(evidence: Evidence, settings: Settings) -> Verdict:
    """The choice that is worth most, by what is known now, with every reason true."""
    figures = evidence.figures
    if figures.family == OTHER or figures.requests < settings.least_requests:
        return _leave((_little(evidence, settings),))
    kept = value.best_caching(evidence, settings)
    gain = None if evidence.replaced_by else value.optimizing(evidence, settings)
    forbidden, because = _forbidden(kept, settings)
    worth: dict[str, Money] = {"leave": Money(0.0), "review": Money(0.0), "cache": kept.worth}
    if gain is not None:
        worth |= {"optimize": gain, "both": value.plus(kept.worth, gain)}
    unknown = _unknown(evidence, settings)
    if unknown is not None and evidence.stakes in _HIGH:
        reasons = (unknown, _stakes(evidence), *_cache_reasons(evidence, kept, settings, because))
        policy: Json = {"review": {"share": settings.review_share}}
        return Verdict(
            choice="review",
            reasons=reasons,
            saving=_NOTHING,
            wrong=_NOTHING,
            risk=0.0,
            policy=policy,
            worth=worth,
            forbidden=forbidden,
        )
    caches = not forbidden and kept.worth.expected >= settings.least_dollars
    improves = gain is not None and gain.expected >= settings.least_dollars
    choice: Choice = "both" if caches and improves else "cache" if caches else "optimize" if improves else "leave"
    reasons = [*_cache_reasons(evidence, kept, settings, because)]
    if evidence.replaced_by:
        reasons.append(_replaced(evidence))
    elif gain is not None:
        reasons += _gain_reasons(evidence, gain, settings)
    elif unknown is not None:
        reasons.append(unknown)
    if not caches and evidence.policy.mode == "off":
        reasons.append(_off(evidence))
    whole = worth[choice]
    return Verdict(
        choice=choice,
        reasons=tuple(reasons),
        saving=Span(whole.expected, whole.low, whole.high),
        wrong=_wrong(kept) if caches else _NOTHING,
        risk=kept.risk if caches else 0.0,
        policy=_policy(evidence, kept if caches else None, improves, forbidden, settings),
        worth=worth,
        forbidden=forbidden,
    )


def changes(standing: Decision, verdict: Verdict, settings: Settings, evidence: Evidence | None = None) -> bool:
    """Whether a verdict takes the place of the decision that stands: it is surely better by the margin, or a rule says
    so. Whatever stands is valued by what is known now; ``evidence``: what the verdict was made of."""
    if _barely_unknown(standing, verdict):
        return False
    if _ruled(standing, verdict) or _cache_ruled(standing.policy, verdict):
        return True
    new, old = verdict.worth.get(verdict.choice), verdict.worth.get(standing.choice)
    if verdict.choice == standing.choice:
        return _other_life(standing, verdict, settings, evidence)
    if new is None or old is None:
        return verdict.choice == "review" or standing.choice == "review"
    # What two choices have in common does not count for their difference.
    error = _difference(verdict.worth, standing.choice, verdict.choice)
    return new.expected - old.expected - NormalDist().inv_cdf(settings.confidence) * error >= settings.margin_dollars


def _ruled(standing: Decision, verdict: Verdict) -> bool:
    """Whether a hard rule speaks against what stands."""
    caches = standing.choice in ("cache", "both")
    if verdict.forbidden and caches:
        return True
    if standing.state == "proposed" and standing.choice in ("optimize", "both") and _said(verdict, _REPLACED):
        return True
    if (standing.choice == "review") != (verdict.choice == "review"):
        return True
    # It was left alone for want of traffic: what is decided now is the first word.
    return standing.choice == "leave" and not standing.worth and bool(verdict.worth)


def _said(verdict: Verdict, name: str) -> bool:
    return any(one.name == name for one in verdict.reasons)


def _difference(worth: dict[str, Money], one: str, other: str) -> float:
    parts = {"leave": set[str](), "review": set[str](), "cache": {"cache"}, "optimize": {"optimize"}}
    parts["both"] = {"cache", "optimize"}
    differing = parts[one] ^ parts[other]
    return sum(worth[name].error ** 2 for name in differing if name in worth) ** 0.5


def _barely_unknown(standing: Decision, verdict: Verdict) -> bool:
    """Whether quality was known of a family of high stakes, and as samples fade is only just not known any more."""
    if verdict.choice != "review" or standing.choice == "review" or standing.stakes not in _HIGH:
        return False
    return any(one.name == "quality-unknown" and one.figure >= one.bound / 2 for one in verdict.reasons)


def _cache_ruled(standing: Json, verdict: Verdict) -> bool:
    """Whether a hard rule asks for what was never proposed: each user's own answers, or no cache."""
    old: Any = standing.get("cache") or {}
    new: Any = verdict.policy.get("cache") or {}
    own = "scope" in new and "scope" not in old
    return own or (bool(verdict.forbidden) and new.get("mode") == "off" and old.get("mode") != "off")


def _other_life(standing: Decision, verdict: Verdict, settings: Settings, evidence: Evidence | None) -> bool:
    """Whether answers shall live for another time, and that surely is worth a change."""
    old, new = _life(standing.policy), _life(verdict.policy)
    if old is None and evidence is not None and evidence.policy.mode != "off":
        old = evidence.policy.ttl  # it was as good as the best then, and was left as it was
    if old is None or new is None or old == new or evidence is None:
        return False
    before, after = value.caching(evidence, old, settings), value.caching(evidence, new, settings)
    if before.stability_at_best < settings.least_stability <= after.stability_at_best:
        return True
    sure = NormalDist().inv_cdf(settings.confidence) * value.plus(before.worth, after.worth).error
    return after.worth.expected - before.worth.expected - sure >= settings.margin_dollars


def _life(policy: Json) -> float | None:
    cache: Any = policy.get("cache") or {}
    return float(cache["ttl"]) if "ttl" in cache else None


# -- rules ---------------------------------------------------------------------------------------------------------


def _forbidden(kept: Caching, settings: Settings) -> tuple[str, Reason | None]:
    """The hard rule that keeps a family from being cached, whatever that would save."""
    best = kept.stability_at_best
    if best < settings.least_stability:
        text = (
            f"Of answers kept for {_time(kept.ttl)}, {_percent(kept.stability)} would still be given anew, "
            f"{_percent(best)} at best: below {_percent(settings.least_stability)} nothing is cached."
        )
        return "unstable", Reason("unstable", text, best, "<", settings.least_stability)
    return "", None


def _unknown(evidence: Evidence, settings: Settings) -> Reason | None:
    n = evidence.quality.n if evidence.quality is not None else 0.0
    if evidence.gained is not None or n >= settings.quality_samples:
        return None
    text = f"{n:.0f} of its answers were judged; below {settings.quality_samples} its quality is not known."
    return Reason("quality-unknown", text, n, "<", float(settings.quality_samples))


# -- reasons -------------------------------------------------------------------------------------------------------


def _little(evidence: Evidence, settings: Settings) -> Reason:
    figures = evidence.figures
    if figures.family == OTHER:
        return Reason("many-families", "These are families that come too rarely to be told apart.", 1.0, ">=", 1.0)
    text = f"{figures.requests:.0f} requests are known of it; below {settings.least_requests:.0f} it is left alone."
    return Reason("little-traffic", text, figures.requests, "<", settings.least_requests)


def _off(evidence: Evidence) -> Reason:
    """What is not worth caching stays as it is: not cached, by rules that somebody has declared."""
    text = f"Caching is off for {evidence.off_by or 'it'}: none of it is answered from the cache, and that stays so."
    return Reason("cache-off", text, 0.0, "<", 1.0)


def _replaced(evidence: Evidence) -> Reason:
    number = evidence.figures.version
    text = f"No label points at version {number} any more: a run would begin with version {evidence.replaced_by}."
    return Reason(_REPLACED, text, 0.0, "<", 1.0)


def _stakes(evidence: Evidence) -> Reason:
    rank = ("low", "medium", "high", "critical").index(evidence.stakes)
    return Reason("high-stakes", f"The stakes of its intent are {evidence.stakes}.", float(rank), ">=", 2.0)


def _cache_reasons(evidence: Evidence, kept: Caching, settings: Settings, forbidden: Reason | None) -> list[Reason]:
    """Why it is worth caching, or is not: the first thing that keeps it from being so, or all that speaks for it."""
    figures = evidence.figures
    again = figures.repetition
    if forbidden is not None:
        return [forbidden]
    if not figures.cost:
        return [
            Reason(
                "no-price", "No price of its calls is known, or they cost nothing.", float(figures.cost or 0), "<", 1.0
            )
        ]
    told = (
        f"{_percent(again.value)} of its requests had been asked before within a day "
        f"({_percent(again.low)} to {_percent(again.high)}, n = {again.n:.0f})"
    )
    cost = figures.cost / 1e9
    if kept.worth.expected >= settings.least_dollars:
        life = f"kept for {_time(kept.ttl)}, {kept.hits:.0f} answers a month need not be paid for (${cost:.6f} each)"
        seen = figures.stability
        stable = (
            f"answers to equal requests agree in {_percent(seen.value)} of {seen.n:.0f} comparisons"
            if seen is not None
            else "answers to equal requests were not compared yet; nine of ten are held to agree"
        )
        return [
            Reason("repeats", f"{told}: {life}.", kept.hits * cost, ">=", settings.least_dollars),
            Reason(
                "stable-enough",
                f"{stable[0].upper()}{stable[1:]}: a wrong answer of ${kept.harm:.4f} takes less than it saves.",
                kept.stability,
                ">=",
                1 - cost / kept.harm if kept.harm else 0.0,
            ),
            _worth("worth-caching", kept.worth, settings),
        ]
    longest = value.caching(evidence, 86_400.0, settings)
    # Kept for a day they might be worth it, and not be stable for so long: then it is the best of the stable lives.
    weighed, life = (longest, "") if longest.worth.expected < settings.least_dollars else (kept, _time(kept.ttl))
    least = f", kept for {life} (longer they are not stable)" if life else ""
    saved = weighed.hits * cost
    if saved < settings.least_dollars:
        text = f"{told}: that would save ${saved:.2f} a month{least}, less than ${settings.least_dollars:.2f}."
        return [Reason("little-to-save", text, saved, "<", settings.least_dollars)]
    text = (
        f"{told}, but {weighed.wrong:.0f} wrong answers a month of ${weighed.harm:.4f} each take "
        f"${weighed.risk:.2f} of the ${saved:.2f} that it would save{least}."
    )
    return [Reason("wrong-answers-cost-more", text, weighed.worth.expected, "<", settings.least_dollars)]


def _gain_reasons(evidence: Evidence, gain: Money, settings: Settings) -> list[Reason]:
    known = value.headroom(evidence, settings)
    assert known is not None
    room = known[0]
    seen = evidence.quality
    told = (
        f"The last optimization run gained {_percent(room)}"
        if evidence.gained is not None
        else f"{_percent(seen.value)} of its answers are good (n = {seen.n:.0f})"
        if seen is not None
        else ""
    )
    if gain.expected >= settings.least_dollars:
        worth = value.value_of(evidence, settings)
        text = f"{told}: a better prompt is worth ${gain.expected:.2f} in the first month (${worth:.4f} a success)."
        return [Reason("headroom", text, gain.expected, ">=", settings.least_dollars)]
    text = f"{told}: a run would cost more than it gains in a month, or gain less than ${settings.least_dollars:.2f}."
    return [Reason("little-headroom", text, gain.expected, "<", settings.least_dollars)]


def _worth(name: str, worth: Money, settings: Settings) -> Reason:
    text = f"That saves ${worth.expected:.2f} a month (${worth.low:.2f} to ${worth.high:.2f})."
    return Reason(name, text, worth.expected, ">=", settings.least_dollars)


# -- what is proposed ----------------------------------------------------------------------------------------------


def _policy(evidence: Evidence, kept: Caching | None, improves: bool, forbidden: str, settings: Settings) -> Json:
    found: Json = {}
    now, figures = evidence.policy, evidence.figures
    if kept is not None:
        cache: Json = {"mode": "exact", "ttl": kept.ttl}
        personal = figures.personal
        if personal is not None and personal.low >= settings.personal_share and now.scope != "user":
            cache["scope"] = "user"
        if "scope" in cache or not _good_enough(evidence, kept, settings):
            found["cache"] = cache
    elif now.mode != "off" and (
        forbidden
        # Without a price nobody knows what the cache saves: then wrong answers alone do not turn it off.
        or (figures.cost is not None and value.caching(evidence, now.ttl, settings).worth.high < 0)
    ):
        found["cache"] = {"mode": "off"}
    if improves:
        found["optimize"] = {"prompt": figures.prompt} if figures.prompt else {}
    return found


def _good_enough(evidence: Evidence, kept: Caching, settings: Settings) -> bool:
    """Whether what holds now is worth as much as the best life of answers, but for less than the margin."""
    now = evidence.policy
    if now.mode == "off":
        return False
    return kept.worth.expected - value.caching(evidence, now.ttl, settings).worth.expected < settings.margin_dollars


def _wrong(kept: Caching) -> Span:
    error = 1.6448536 * kept.wrong_error
    return Span(kept.wrong, max(0.0, kept.wrong - error), kept.wrong + error)


def _leave(reasons: Sequence[Reason]) -> Verdict:
    return Verdict(choice="leave", reasons=tuple(reasons), saving=_NOTHING, wrong=_NOTHING, risk=0.0, policy={})


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _time(seconds: float) -> str:
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            number = round(seconds / size)
            return f"{number} {name}{'s' if number != 1 else ''}"
    return f"{seconds:.0f} seconds"


def figures_of(evidence: Evidence) -> Json:
    """What was known, as it is written beside the decision."""
    return {
        **msgspec.to_builtins(evidence.figures),
        "quality": msgspec.to_builtins(evidence.quality),
        "stakes": evidence.stakes,
    }
