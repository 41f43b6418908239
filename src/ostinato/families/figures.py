"""From sums to figures. Pure."""

import math
from collections.abc import Mapping, Sequence

from ostinato.families.key import OTHER
from ostinato.families.model import Figures, Share
from ostinato.families.sketch import EDGES, Sketch
from ostinato.traces import rollup

_Z = 1.959963984540054
_DAY = 86_400.0
_MONTH = 30 * _DAY
_SHORTEST = _DAY
"""A family seen for less is not held to go on at the rate of its first minutes."""
_ENOUGH = 5.0
_SPAN = 0.4
"""Days between the ages that a slope is taken over, at least: minutes say nothing of a day."""
_MEANT = 20.0
"""Questions that the encoder must have seen before its word counts."""
_MIDDLES = (30.0, 300.0, 1_800.0, 10_800.0, 43_200.0, 259_200.0, 1_209_600.0)
"""Seconds that stand for each class of age."""


def share(k: float, n: float) -> Share:
    """``k`` of ``n``, with Wilson's interval; both may be weighted."""
    if n <= 0:
        return Share(0.0, 0.0, 1.0, 0.0)
    k = min(max(k, 0.0), n)
    value, slack = k / n, _Z * _Z / n
    centre = (value + slack / 2) / (1 + slack)
    half = _Z / (1 + slack) * math.sqrt(value * (1 - value) / n + slack / (4 * n))
    return Share(value, max(0.0, centre - half), min(1.0, centre + half), n)


def exposure(seconds: float, half_life: float) -> float:
    """Seconds that a span counts for where the past counts for less: the integral of the weights."""
    return half_life / math.log(2) * (1 - 0.5 ** (max(seconds, _SHORTEST) / half_life))


def figures(
    org: str, project: str, family: str, sketch: Sketch, *, now: int, half_life: float, whole_cost: float
) -> Figures:
    """The figures of one family. ``whole_cost``: what all families of the project would cost without a cache."""
    prompt, version = _prompt(family)
    repeats = sketch.repeats + max(0.0, sketch.counted - sketch.distinct.count())
    alias, alias_share = _most(sketch.aliases, sketch.requests)
    intent, intent_share = _most(sketch.intents, sketch.requests)
    each = sketch.cost / sketch.priced if sketch.priced else None
    per_month = sketch.requests / exposure((now - sketch.first) / 1e6, half_life) * _MONTH
    worth = sketch.cost + sketch.saved
    compared, agreed = sum(sketch.compared), sum(sketch.agreed)
    near, by = _near(sketch)
    return Figures(
        org=org,
        project=project,
        family=family,
        prompt=prompt,
        version=version,
        alias=alias,
        alias_share=alias_share,
        intent=intent,
        intent_share=intent_share,
        requests=sketch.requests,
        per_month=per_month,
        hits=share(sketch.hits, sketch.requests),
        repetition=share(repeats, sketch.past + sketch.counted),
        near=near,
        near_by=by,
        concentration=_concentration(sketch),
        distinct=sketch.distinct.count(),
        cost=None if each is None else round(each),
        cost_share=worth / whole_cost if whole_cost else 0.0,
        per_month_cost=round(per_month * each) if each is not None else 0,
        p50_us=_quantile(sketch.latency, 0.5),
        p95_us=_quantile(sketch.latency, 0.95),
        errors=sketch.errors / (sketch.calls + sketch.errors) if sketch.calls + sketch.errors else 0.0,
        stability=share(agreed, compared) if compared else None,
        stability_by_age=tuple(share(k, n) if n else None for k, n in zip(sketch.agreed, sketch.compared, strict=True)),
        gaps=tuple(min(1.0, one / sketch.requests) for one in sketch.gaps) if sketch.requests else (),
        volatility=_volatility(sketch.compared, sketch.agreed),
        personal=share(sketch.personal, sketch.looked) if sketch.looked else None,
        missed=sketch.missed,
        first=sketch.first,
        last=sketch.last,
    )


def _near(sketch: Sketch) -> tuple[Share | None, str]:
    """Share of the questions that are much like another, and who says so: the encoder, once it has seen enough."""
    if sketch.meant >= _MEANT:
        return share(sketch.meant_near, sketch.meant), sketch.encoder
    return (share(sketch.near, sketch.looked), "minhash") if sketch.looked else (None, "")


def _prompt(family: str) -> tuple[str, int]:
    name, at, number = family.rpartition("@")
    return (name, int(number)) if at and number.isdigit() and family != OTHER else ("", 0)


def _most(names: Mapping[str, float], requests: float) -> tuple[str, float]:
    if not names or requests <= 0:
        return "", 0.0
    name = max(names, key=lambda one: names[one])
    return name, min(1.0, names[name] / requests)


def _concentration(sketch: Sketch) -> float | None:
    """What the most frequent tenth comes to: a lower bound, as counts that may be too high are taken at their least."""
    if not sketch.top or sketch.requests <= 0:
        return None
    sure = sorted((times - missed for times, _, missed in sketch.top.values()), reverse=True)
    tenth = max(1, math.ceil(max(sketch.distinct.count(), len(sure)) / 10))
    return min(1.0, sum(sure[:tenth]) / sketch.requests)


def _quantile(latency: Mapping[int, float], share: float) -> int | None:
    total = sum(latency.values())
    if total <= 0:
        return None
    seen = 0.0
    for bucket in sorted(latency):
        seen += latency[bucket]
        if seen >= share * total - 1e-9:
            return rollup.value_of(bucket)
    return None


def _volatility(compared: Sequence[float], agreed: Sequence[float]) -> float | None:
    """The slope of disagreement over age, in shares per day, by weighted least squares over the classes of age."""
    points = [
        (middle / _DAY, 1 - k / n, n) for middle, k, n in zip(_MIDDLES, agreed, compared, strict=True) if n >= _ENOUGH
    ]
    if len(points) < 2 or points[-1][0] - points[0][0] < _SPAN:
        return None
    total = sum(n for _, _, n in points)
    x = sum(n * age for age, _, n in points) / total
    y = sum(n * off for _, off, n in points) / total
    spread = sum(n * (age - x) ** 2 for age, _, n in points)
    return max(0.0, sum(n * (age - x) * (off - y) for age, off, n in points) / spread) if spread else None


assert len(_MIDDLES) == len(EDGES) + 1
