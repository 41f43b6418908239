"""Whether a judge may decide: how far it agrees with people on the same answers.

A judge may always search. It may *promote* only with a kappa of at least :data:`ENOUGH` against the project's own
labels, on at least :data:`FEWEST` of them; the figure holds for one version of the judge, and is shown with its n.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from ostinato import statistics
from ostinato.scorers.model import Score

ENOUGH = 0.6
"""Landis and Koch (1977): from here on agreement is substantial."""
_REASON = 200
FEWEST = 30
"""Fewer labels prove nothing either way."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """A judge held against people."""

    scorer: str
    """``NAME@VERSION``: another version has to be calibrated anew."""
    n: int
    """Answers that both have judged."""
    unscored: int
    """Answers that the judge could not judge: they count as disagreement."""
    kappa: float
    """Cohen's, between -1 and 1."""
    low: float
    """95 % interval."""
    high: float
    agreement: float
    """Share of answers on which they agree, chance included."""
    passed: bool
    """Whether it may promote."""
    why: str
    """Why not; empty where it may."""
    brier: float | None = None
    """Mean squared distance of the judge's score from the people's."""
    auroc: float | None = None
    """Of its confidence, where it tells one: whether it is surer where it agrees."""


def calibrate(scorer: str, scores: Sequence[Score], human: Sequence[float], *, cut: float = 0.5) -> Agreement:
    """Judge scores held against people's values of the same answers, both from 0 to 1, good from ``cut`` on.

    What the judge left unscored is a disagreement: a judge that keeps quiet where it is hard must not shine.
    """
    judged: list[str] = []
    wanted = ["good" if value >= cut else "bad" for value in human]
    for score, value in zip(scores, wanted, strict=True):
        if score.value is None:
            judged.append("bad" if value == "good" else "good")
        else:
            judged.append("good" if score.value >= cut else "bad")
    found = statistics.cohen_kappa(judged, wanted)
    n = len(human)
    scored = [(score, value) for score, value in zip(scores, human, strict=True) if score.value is not None]
    sure = [
        (score.confidence, float((score.value >= cut) == (value >= cut)))
        for score, value in scored
        if score.confidence is not None and score.value is not None
    ]
    why = _why(n, set(wanted), found.value, _silence(scores))
    return Agreement(
        scorer=scorer,
        n=n,
        unscored=n - len(scored),
        kappa=found.value,
        low=found.low,
        high=found.high,
        agreement=sum(one == other for one, other in zip(judged, wanted, strict=True)) / n if n else 0.0,
        passed=not why,
        why=why,
        brier=statistics.brier([s.value or 0.0 for s, _ in scored], [value for _, value in scored]) if scored else None,
        auroc=statistics.auroc([one for one, _ in sure], [right for _, right in sure]) if sure else None,
    )


def _why(n: int, labels: set[str], kappa: float, silence: str) -> str:
    if n < FEWEST:
        return f"{n} labels are too few; {FEWEST} are needed."
    if len(labels) < 2:
        return "All people's labels are the same: agreement with them proves nothing."
    if kappa < ENOUGH:
        return f"kappa {kappa:.2f} is below {ENOUGH}{silence}."
    return ""


def _silence(scores: Sequence[Score]) -> str:
    """What the judge left unscored, and why mostly: figures alone read as if it had judged, and wrongly."""
    reasons = Counter(score.rationale or score.label for score in scores if score.value is None)
    if not reasons:
        return ""
    ((mostly, times),) = reasons.most_common(1)
    left = f"; it left {reasons.total()} of {len(scores)} unscored, which count as disagreement"
    told = " ".join(mostly.split())[:_REASON].rstrip(".")
    return f"{left}: {told} ({times} times)" if told else left
