"""What verdicts become: agreement and estimates, examples of a dataset, labels for judges, evidence for a release."""

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from ostinato import statistics
from ostinato.core import hashing
from ostinato.datasets.examples import SUBJECT
from ostinato.datasets.model import NewExample
from ostinato.releases import NewEvidence
from ostinato.reviews.model import ESCALATE, PAIRWISE, Content, Criterion, Declaration, Item, Verdict

DECISION = "decision"
"""The word itself, beside the criteria of the rubric."""
_TAIL = 0.025
"""Of an interval of 95 %, beyond either end."""


class Judged(msgspec.Struct, frozen=True):
    """An item with all that was said of it."""

    item: Item
    content: Content | None
    verdicts: tuple[Verdict, ...]


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far reviewers agree on one criterion. ``None``: too little to tell."""

    criterion: str
    level: str
    """``nominal`` or ``interval``."""
    items: int
    """Judged by at least two."""
    reviewers: int
    cohen: float | None = None
    """Kappa, where there are two reviewers."""
    cohen_interval: tuple[float, float] | None = None
    fleiss: float | None = None
    """Kappa, where all of these items have equally many labels."""
    fleiss_interval: tuple[float, float] | None = None
    krippendorff: float | None = None
    krippendorff_interval: tuple[float, float] | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share, estimated for all that the items were drawn from."""

    name: str
    items: int
    seen: float
    """Among what was looked at."""
    estimate: float
    """Weighted by the inverse probability of having been drawn."""
    low: float
    high: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue's decided items say."""

    items: int
    outcomes: dict[str, int]
    shares: tuple[Share, ...]
    agreement: tuple[Agreement, ...]


def figures(judged: Sequence[Judged], declared: Declaration) -> Figures:
    """Outcomes, weighted shares and agreement. CPU-heavy: call it in a thread."""
    done = [one for one in judged if one.item.state == "done"]
    counted: dict[str, int] = {}
    for one in done:
        counted[one.item.outcome] = counted.get(one.item.outcome, 0) + 1
    names = PAIRWISE if declared.mode == "pairwise" else ("approve", "edit", "reject")
    return Figures(
        items=len(done),
        outcomes=counted,
        shares=tuple(share(done, name) for name in names) if done else (),
        agreement=agreement(done, declared),
    )


def share(done: Sequence[Judged], outcome: str) -> Share:
    """The share of items with this outcome."""
    values = [1.0 if one.item.outcome == outcome else 0.0 for one in done]
    weights = [1.0 / one.item.weight for one in done]
    mean = statistics.weighted_mean(values, weights)
    low, high = max(0.0, mean.low), min(1.0, mean.high)
    if len(set(values)) == 1:
        # Nothing differs, so the variance says nothing: what a few items all say is not what all would say. The exact
        # bound of Clopper and Pearson, for as many equally weighted items as these are worth (Kish).
        worth = math.fsum(weights) ** 2 / math.fsum(weight**2 for weight in weights)
        beyond = 1.0 - _TAIL ** (1.0 / worth)
        low, high = (0.0, beyond) if values[0] == 0.0 else (1.0 - beyond, 1.0)
    return Share(
        name=outcome,
        items=len(done),
        seen=sum(values) / len(values),
        estimate=mean.mean,
        low=low,
        high=high,
    )


def agreement(judged: Sequence[Judged], declared: Declaration) -> tuple[Agreement, ...]:
    """Agreement on the decision and on each criterion of labels or numbers."""
    found = [_agreement(DECISION, "nominal", judged)]
    for one in declared.criteria:
        if one.labels or one.range is not None:
            found.append(_agreement(one.name, "nominal" if one.labels else "interval", judged))
    return tuple(found)


def _agreement(criterion: str, level: Literal["nominal", "interval"], judged: Sequence[Judged]) -> Agreement:
    rows: list[dict[str, str | float]] = []
    for one in judged:
        said = {verdict.principal: _said(verdict, criterion) for verdict in one.verdicts}
        row = {who: value for who, value in said.items() if value is not None}
        if len(row) > 1:
            rows.append(row)
    reviewers = sorted({who for row in rows for who in row})
    if len(rows) < 2:
        return Agreement(criterion=criterion, level=level, items=len(rows), reviewers=len(reviewers))
    told: dict[str, float | tuple[float, float]] = {}
    if len(reviewers) == 2 and level == "nominal":
        first, second = ([row[who] for row in rows] for who in reviewers)
        told |= _told("cohen", statistics.cohen_kappa(first, second))
    if level == "nominal" and len({len(row) for row in rows}) == 1:
        told |= _told("fleiss", statistics.fleiss_kappa([list(row.values()) for row in rows]))
    table = [[row.get(who) for who in reviewers] for row in rows]
    told |= _told("krippendorff", statistics.krippendorff_alpha(table, level))
    return msgspec.convert(
        {"criterion": criterion, "level": level, "items": len(rows), "reviewers": len(reviewers), **told}, Agreement
    )


def _said(verdict: Verdict, criterion: str) -> str | float | None:
    if criterion != DECISION:
        return verdict.values.get(criterion)
    return None if verdict.decision == ESCALATE else verdict.decision


def examples(judged: Sequence[Judged], declared: Declaration) -> tuple[NewExample, ...]:
    """What decided items become: the right answer is what the rubric's ``reference`` says, else the edited text, else
    the approved one. What was rejected, erased, or gives no answer is left out."""
    named = next((one for one in declared.criteria if one.reference), None)
    found: list[NewExample] = []
    for one in judged:
        if one.item.state != "done" or one.content is None:
            continue
        reference = _reference(one, named, one.content)
        if reference is None:
            continue
        item, content = one.item, one.content
        found.append(
            NewExample(
                inputs=content.inputs or {"input": content.input_text},
                reference=reference,
                # Whose data it is goes along: an erasure finds it there, too.
                metadata={"outcome": item.outcome, "weight": item.weight, "queue": item.queue}
                | ({SUBJECT: item.subject} if item.subject else {}),
                passages=content.context,
                group=item.group,
                stratum=item.stratum,
                source=f"review:{item.id}",
            )
        )
    return tuple(found)


def _reference(one: Judged, named: Criterion | None, content: Content) -> str | float | None:
    if named is not None:
        return _majority([verdict.values[named.name] for verdict in one.verdicts if named.name in verdict.values])
    outcome = one.item.outcome
    if outcome == "edit":
        edits = [verdict.edited for verdict in one.verdicts if verdict.decision == "edit" and verdict.edited]
        return edits[-1] if edits else None
    if outcome == "approve":
        return content.outputs[0].text
    return content.outputs["ab".index(outcome)].text if outcome in ("a", "b") else None


def _majority(values: Sequence[str | float]) -> str | float | None:
    """The value that more than half of them are; ``None``: there is none."""
    for value in dict.fromkeys(values):
        if 2 * values.count(value) > len(values):
            return value
    return None


class Labelled(msgspec.Struct, frozen=True):
    """What a judge said and what people said of the same answer: what judges are calibrated with."""

    item: str
    judge: float
    """From 0 to 1."""
    human: float
    """1: approved as it was; 0: edited or rejected."""
    weight: float


def calibration(judged: Sequence[Judged], scorer: str) -> tuple[Labelled, ...]:
    """Pairs of a judge's value, found in ``evidence`` under its name, and people's word."""
    found: list[Labelled] = []
    for one in judged:
        value = one.item.evidence.get(scorer)
        if one.item.state != "done" or one.item.outcome not in ("approve", "edit", "reject"):
            continue
        if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1:
            human = 1.0 if one.item.outcome == "approve" else 0.0
            found.append(Labelled(one.item.id, float(value), human, one.item.weight))
    return tuple(found)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What people said of one run's or experiment's answers; ``digest`` is what a release's evidence is bound to."""

    queue: str
    origin_ref: str
    items: int
    open: int
    """Not decided yet: while there are some, the evidence does not pass."""
    accepted: Share | None
    """Approved; in a pairwise queue: the second answer preferred, or as good."""
    agreement: Agreement
    digest: str
    """SHA-256 over every item's digest, outcome, weight and verdicts, in hexadecimal."""


def summary(judged: Sequence[Judged], declared: Declaration, queue: str, origin_ref: str) -> Summary:
    """See :class:`Summary`. CPU-heavy: call it in a thread."""
    done = [one for one in judged if one.item.state == "done"]
    good = ("b", "tie") if declared.mode == "pairwise" else ("approve",)
    accepted = None
    if done:
        as_good = [
            Judged(
                msgspec.structs.replace(one.item, outcome="accepted" if one.item.outcome in good else "not"), None, ()
            )
            for one in done
        ]
        accepted = share(as_good, "accepted")
    written = [
        [one.item.id, one.item.digest, one.item.state, one.item.outcome, one.item.weight]
        + [[verdict.principal, verdict.decision, verdict.at] for verdict in one.verdicts]
        for one in sorted(judged, key=lambda one: one.item.id)
    ]
    return Summary(
        queue=queue,
        origin_ref=origin_ref,
        items=len(done),
        open=sum(one.item.state == "open" for one in judged),
        accepted=accepted,
        agreement=_agreement(DECISION, "nominal", done),
        digest=hashlib.sha256(hashing.canonical_json(written)).hexdigest(),
    )


def evidence(told: Summary, *, least: float, name: str = "human-review") -> NewEvidence:
    """The summary as evidence for a release: passed where all is decided and the estimate reaches ``least``."""
    facts: dict[str, str | int | float | bool] = {"queue": told.queue, "items": told.items, "open": told.open}
    passed = told.items > 0 and not told.open and told.accepted is not None and told.accepted.estimate >= least
    if told.accepted is not None:
        facts |= {"accepted": told.accepted.estimate, "low": told.accepted.low, "high": told.accepted.high}
    kappa = told.agreement.krippendorff
    if kappa is not None:
        facts |= {"krippendorff": kappa, "judged_twice": told.agreement.items}
    return NewEvidence(name, told.digest, passed, facts)


def _told(name: str, found: statistics.Agreement) -> dict[str, float | tuple[float, float]]:
    return {name: found.value, f"{name}_interval": (found.low, found.high)}
