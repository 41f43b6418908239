"""Whether a queue can be declared so, and a verdict be given so; each refusal names the field and the way out."""

import math
import re
from collections.abc import Iterator

from ostinato.core.errors import Invalid
from ostinato.reviews.model import ESCALATE, PAIRWISE, SINGLE, Criterion, Declaration, NewVerdict

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
SEATS = 20
"""Principals who may be asked about one item."""
_CRITERIA = 20
_LABELS = 100
_SHORT = 200
_LONG = 4_000
_COMMENT = 10_000
_DAY = 86_400.0
_SHOWN = {"first": "a", "second": "b"}
_SWAPPED = {"first": "b", "second": "a"}


def judge(name: str, declared: Declaration) -> None:
    """Raise ``Invalid`` where a queue cannot be declared so."""
    if not NAME.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} cannot name a review queue.",
            param="name",
            hint="Allowed: 1 to 64 characters of a-z, 0-9, dot, dash and underscore.",
        )
    for field, what, hint in (*_odd(declared), *_odd_criteria(declared)):
        raise Invalid(f"The queue {name!r} has a wrong value for {field!r}: {what}.", param=field, hint=hint)


def _odd(declared: Declaration) -> Iterator[tuple[str, str, str]]:
    for field, text, most in (("title", declared.title, _SHORT), ("description", declared.description, _LONG)):
        if len(text) > most or "\x00" in text:
            yield field, f"{len(text)} characters", f"Allowed: up to {most} characters."
    if not 1 <= declared.reviews_required <= SEATS:
        yield "reviews_required", str(declared.reviews_required), f"Allowed: 1 to {SEATS}."
    if not 1 <= declared.reservation_seconds <= _DAY:
        yield "reservation_seconds", str(declared.reservation_seconds), "Allowed: 1 second to a day."
    if declared.due_seconds is not None and not 1 <= declared.due_seconds <= 366 * _DAY:
        yield "due_seconds", str(declared.due_seconds), "Allowed: 1 second to a year."
    if abs(declared.priority) > 1_000_000:
        yield "priority", str(declared.priority), "Allowed: -1,000,000 to 1,000,000."
    if declared.default_outcome and declared.mode == "pairwise":
        yield "default_outcome", declared.default_outcome, "A comparison has no default: leave it out."
    shares = declared.sampling
    for field in ("random", "least_confident", "disagreement", "judge_disagreement", "stakes"):
        share: float = getattr(shares, field)
        if not (math.isfinite(share) and 0 <= share <= 1):
            yield f"sampling.{field}", str(share), "Allowed: a share from 0 to 1."
    if not 1 <= shares.most <= 100_000:
        yield "sampling.most", str(shares.most), "Allowed: 1 to 100,000."


def _odd_criteria(declared: Declaration) -> Iterator[tuple[str, str, str]]:
    names = [one.name for one in declared.criteria]
    if len(names) > _CRITERIA or len(set(names)) != len(names):
        yield "criteria", f"{len(names)} of them", f"Allowed: up to {_CRITERIA}, each name once."
    if sum(one.reference for one in declared.criteria) > 1:
        yield "criteria", "several say what the right answer is", "Let one of them be the `reference`."
    for one in declared.criteria:
        where = f"criteria.{one.name[:40]}"
        if not 0 < len(one.name) <= _SHORT or not one.name.isprintable() or len(one.help) > _LONG:
            yield where, "its name or help", f"Allowed: 1 to {_SHORT} printable characters; help up to {_LONG}."
        if one.labels and one.range is not None:
            yield where, "labels and a range", "Allowed: one of them, or neither for free text."
        if one.labels and (len(one.labels) < 2 or len(set(one.labels)) != len(one.labels)):
            yield where, f"{len(one.labels)} labels", "Allowed: two or more, each once."
        if len(one.labels) > _LABELS or any(not 0 < len(label) <= _SHORT for label in one.labels):
            yield where, "its labels", f"Allowed: up to {_LABELS}, of 1 to {_SHORT} characters."
        if one.range is not None and not (all(map(math.isfinite, one.range)) and one.range[0] < one.range[1]):
            yield where, str(one.range), "Allowed: a lowest and a higher number."


def words(declared: Declaration) -> tuple[str, ...]:
    """What a reviewer of the queue may decide, in the reviewer's words."""
    return ("first", "second", *PAIRWISE[2:], ESCALATE) if declared.mode == "pairwise" else (*SINGLE, ESCALATE)


def decision(declared: Declaration, said: NewVerdict, swapped: bool) -> str:
    """The decision as it is kept. Raises ``Invalid`` where the verdict does not fit the queue."""
    allowed = words(declared)
    if said.decision not in allowed:
        raise Invalid(
            f"{said.decision[:40]!r} is no decision of this queue.",
            code="invalid_verdict",
            param="decision",
            hint=f"Allowed: {', '.join(allowed)}.",
        )
    if (said.decision == "edit") != (said.edited is not None):
        raise _wrong("edited", "An edit carries the text as it should read; nothing else does.")
    if said.edited is not None and not said.edited.strip():
        raise _wrong("edited", "The edited text is empty: reject the answer instead.")
    if len(said.comment) > _COMMENT or "\x00" in said.comment:
        raise _wrong("comment", f"A comment has at most {_COMMENT} characters.")
    if said.seconds is not None and not (math.isfinite(said.seconds) and 0 <= said.seconds <= 30 * _DAY):
        raise _wrong("seconds", "Seconds are a number from 0 to a month.")
    _judge_values(declared, said)
    return (_SWAPPED if swapped else _SHOWN).get(said.decision, said.decision)


def _judge_values(declared: Declaration, said: NewVerdict) -> None:
    known = {one.name: one for one in declared.criteria}
    for name in said.values:
        if name not in known:
            raise _wrong(
                f"values.{name[:40]}", f"The rubric has no criterion {name[:80]!r}.", ", ".join(known) or "none"
            )
    for one in declared.criteria:
        if one.name not in said.values:
            if one.required and said.decision != ESCALATE:
                raise _wrong(f"values.{one.name}", f"The criterion {one.name!r} is not answered.", _allowed(one))
            continue
        if not _fits(one, said.values[one.name]):
            raise _wrong(f"values.{one.name}", f"{one.name!r} has a wrong value.", _allowed(one))


def _fits(one: Criterion, value: str | float) -> bool:
    if one.labels:
        return value in one.labels
    if one.range is not None:
        return not isinstance(value, str) and one.range[0] <= value <= one.range[1]
    return isinstance(value, str) and len(value) <= _COMMENT and "\x00" not in value


def _allowed(one: Criterion) -> str:
    if one.labels:
        return f"one of {', '.join(one.labels)}"
    return f"a number from {one.range[0]:g} to {one.range[1]:g}" if one.range is not None else "text"


def _wrong(param: str, message: str, allowed: str = "") -> Invalid:
    return Invalid(message, code="invalid_verdict", param=param, hint=f"Allowed: {allowed}." if allowed else "")
