"""Interactions: conversations, or single questions where no session is named; what each adds to the rollup.

``State`` is one interaction as far as it has come. :func:`asked` and :func:`told` give the next state, and
:func:`contribution` what a state adds to the sums: whoever moves a state adds the difference. All pure.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from ostinato.traces import rollup
from ostinato.traces.cubes import CellsOf, Layout
from ostinato.traces.rollup import FINEST, Histogram, bucket_of, merge
from ostinato.traces.tables import INTERACTION_DIMENSIONS, INTERACTION_SUMS

FAILED, REWORKED, DISLIKED, ESCALATED, ESCALATED_SOON = 1, 2, 4, 8, 16
REOPENED, ABANDONED, RESOLVED, TASK_DONE, TASK_FAILED, TOLD = 32, 64, 128, 256, 512, 1024
"""Bits of ``State.flags``. ``TOLD``: somebody said what became of it."""

WINDOW = 600_000_000
"""Ten minutes: how long after an answer a repetition, an edit or a complaint is about that answer. Microseconds."""
REOPENED_WITHIN = 72 * 3_600 * 1_000_000

OUTCOMES = ("resolved", "escalated", "reopened", "abandoned", "csat", "task_success", "time_saved")
REWORK = ("regenerated", "edited", "retried")
"""What only the application sees of rework: told like an outcome."""

_NOT_FIRST = FAILED | REWORKED | DISLIKED | ESCALATED_SOON
_UNCONTAINED = ESCALATED | REOPENED | ABANDONED
_SWITCHES = {"resolved": RESOLVED, "abandoned": ABANDONED}
_REMEMBERED = 8
"""Questions of a conversation that a new one is compared with."""
_LARGEST = 2**62
_AT = {name: number for number, name in enumerate(INTERACTION_SUMS)}


class Times(msgspec.Struct, array_like=True):
    """Histograms of microseconds, as in ``rollup``: mergeable, within 2.5 %. A later version may append fields."""

    answer: Histogram = {}
    """From the first question to its accepted answer."""
    task: Histogram = {}
    """From the first question to the last byte."""
    decided: Histogram = {}
    """From the first question to what it came to: resolved, done, handed off."""


TIMES = Times.__struct_fields__


class Tally(msgspec.Struct):
    """Sums of interactions in one bucket of time and one set of dimensions."""

    sums: list[int] = msgspec.field(default_factory=lambda: [0] * len(INTERACTION_SUMS))
    """In the order of ``tables.INTERACTION_SUMS``."""
    detail: Times = msgspec.field(default_factory=Times)

    def add(self, other: "Tally") -> None:
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.add_detail(other.detail)

    def add_detail(self, other: Times) -> None:
        mine = self.detail
        merge(mine.answer, other.answer)
        merge(mine.task, other.task)
        merge(mine.decided, other.decided)

    def copy(self) -> "Tally":
        fresh = Tally()
        fresh.add(self)
        return fresh

    def less(self, other: "Tally") -> "Tally":
        """The difference, without what is zero in its histograms."""
        fresh = Tally([mine - theirs for mine, theirs in zip(self.sums, other.sums, strict=True)])
        for name in TIMES:
            counts = dict(getattr(self.detail, name))
            for bucket, count in getattr(other.detail, name).items():
                counts[bucket] = counts.get(bucket, 0) - count
            setattr(fresh.detail, name, {bucket: count for bucket, count in counts.items() if count})
        return fresh

    def __getitem__(self, name: str) -> int:
        return self.sums[_AT[name]]


Tallies: TypeAlias = CellsOf[Tally]
LAYOUT = Layout("interaction", ("org", "project", *INTERACTION_DIMENSIONS), INTERACTION_SUMS, Tally, Times)


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One question of a conversation and its answer. Times are UTC microseconds."""

    project: str
    name: str
    """The session, or the request's id where none was named."""
    org: str
    at: int
    end: int
    request_id: str
    intent: str
    prompt: str
    release: str
    arm: str
    tier: str
    """``hit`` or ``miss``."""
    asked: str
    """What tells questions apart; empty: it cannot be told."""
    failed: bool
    named: bool = True
    """Whether a session was named."""


class State(msgspec.Struct, frozen=True):
    """An interaction as far as it has come: the columns of ``conversation`` behind its key."""

    org: str
    at: int
    """Of the first question."""
    ended: int
    """Of the last answer."""
    request_id: str
    intent: str
    prompt: str
    release: str
    arm: str
    tier: str
    """Where its first answer came from: the dimensions are those of the first question, whatever came later."""
    named: bool
    turns: int
    answer_us: int
    """From the first question to its answer, or to that of its last repetition; 0: there was none."""
    decided_us: int
    """To what it came to; 0: nobody has said so."""
    opening: str
    """The first question's ``Turn.asked``."""
    asked: str
    """The last questions and when they were answered: ``asked:microseconds``, with commas."""
    flags: int
    csat: int | None = None
    seconds: int | None = None
    """Seconds of manual work that it saved."""


class Event(msgspec.Struct, frozen=True):
    """What somebody says of an interaction."""

    kind: str
    """One of ``OUTCOMES`` or ``REWORK``, or ``feedback``."""
    value: float | None
    """``None``: yes. A rating from 1 to 5, minutes, or from 0 (no) to 1 (yes)."""
    at: int


def begun(turn: Turn) -> State:
    """An interaction after its first question."""
    took = max(1, turn.end - turn.at)
    return State(
        turn.org,
        turn.at,
        turn.end,
        turn.request_id,
        turn.intent,
        turn.prompt,
        turn.release,
        turn.arm,
        turn.tier,
        turn.named,
        1,
        0 if turn.failed else took,
        0,
        turn.asked,
        f"{turn.asked}:{turn.end}" if turn.named and turn.asked else "",
        FAILED if turn.failed else 0,
    )


def asked(state: State, turn: Turn, window: int = WINDOW) -> State:
    """The same after one more question. What was answered within ``window`` and is asked again was not accepted.

    A question that came before the other's answer was there is no repetition: nobody had seen an answer yet.
    """
    known: dict[str, int] = {}
    for one in state.asked.split(",") if state.asked else ():
        name, _, end = one.partition(":")
        known[name] = int(end)
    before = known.get(turn.asked)
    again = before is not None and 0 <= turn.at - before <= window
    flags = state.flags | (FAILED if turn.failed else 0) | (REWORKED if again else 0)
    answer = state.answer_us
    if turn.asked == state.opening and (again or not answer) and not turn.failed:
        answer = max(1, turn.end - state.at)
    if turn.asked:
        known.pop(turn.asked, None)
        known[turn.asked] = turn.end
    recent = [(name, end) for name, end in known.items() if turn.end - end <= window][-_REMEMBERED:]
    return msgspec.structs.replace(
        state,
        ended=max(state.ended, turn.end),
        turns=state.turns + 1,
        answer_us=answer,
        asked=",".join(f"{name}:{end}" for name, end in recent),
        flags=flags,
    )


def told(state: State, event: Event, window: int = WINDOW) -> State:
    """The same after somebody said what became of it. Saying the same again changes nothing; the last word counts."""
    kind, late = event.kind, event.at - state.ended
    yes = event.value is None or event.value >= 0.5
    soon = late <= window
    if kind == "feedback":
        if event.value is None:
            return state
        return _flagged(state, DISLIKED, not yes and soon)
    if kind in REWORK:
        return _flagged(state, REWORKED, True) if yes and soon else state
    if kind not in OUTCOMES:
        return state
    state = msgspec.structs.replace(state, flags=state.flags | TOLD)
    if kind == "csat":
        return state if event.value is None else msgspec.structs.replace(state, csat=round(event.value))
    if kind == "time_saved":
        return state if event.value is None else msgspec.structs.replace(state, seconds=round(event.value * 60))
    if kind in ("resolved", "task_success", "escalated") and yes and not state.decided_us:
        state = msgspec.structs.replace(state, decided_us=max(1, min(event.at - state.at, _LARGEST)))
    if kind == "escalated":
        return _flagged(_flagged(state, ESCALATED, yes), ESCALATED_SOON, yes and soon)
    if kind == "reopened":
        return _flagged(state, REOPENED, yes and late <= REOPENED_WITHIN)
    if kind == "task_success":
        return _flagged(_flagged(state, TASK_DONE, yes), TASK_FAILED, not yes)
    return _flagged(state, _SWITCHES[kind], yes)


def _flagged(state: State, flag: int, on: bool) -> State:
    return msgspec.structs.replace(state, flags=state.flags | flag if on else state.flags & ~flag)


def key_of(project: str, state: State) -> tuple[int, tuple[str, ...]]:
    """The finest cell that a state counts in: a conversation where it began, a single question where it ended."""
    moment = state.at if state.named else state.ended
    dimensions = (state.org, project, state.intent, state.prompt, state.release, state.arm, state.tier)
    return moment - moment % FINEST, dimensions


def contribution(state: State) -> Tally:
    """What a state adds to the sums.

    A success is confirmed (resolved, or the task done) or, where nobody said so, accepted on the first answer; it was
    never escalated, reopened within 72 hours, abandoned, nor did the task fail. A conversation has failed if any of
    its answers was an error.
    """
    flags, csat, seconds = state.flags, state.csat, state.seconds
    first = not flags & _NOT_FIRST
    uncontained = bool(flags & _UNCONTAINED)
    bad = uncontained or bool(flags & TASK_FAILED)
    good = bool(flags & (RESOLVED | TASK_DONE))
    detail = Times()
    if state.answer_us:
        detail.answer = {bucket_of(state.answer_us): 1}
    if took := max(0, state.ended - state.at):
        detail.task = {bucket_of(took): 1}
    if state.decided_us:
        detail.decided = {bucket_of(state.decided_us): 1}
    counted = (
        1,
        state.named,
        state.turns,
        first,
        flags & FAILED,
        flags & REWORKED,
        flags & DISLIKED,
        flags & ESCALATED,
        flags & REOPENED,
        flags & ABANDONED,
        uncontained,
        flags & RESOLVED,
        flags & TOLD,
        flags & (TASK_DONE | TASK_FAILED),
        flags & TASK_DONE,
        not bad and (good or first),
        not bad and good,
        not (uncontained or flags & (REWORKED | FAILED)),
    )
    sums = [state.turns if number == _AT["turns"] else int(bool(one)) for number, one in enumerate(counted)]
    rated = (1, int(csat >= 4), csat, csat * csat) if csat is not None else (0, 0, 0, 0)
    timed = (1, seconds, seconds * seconds) if seconds is not None else (0, 0, 0)
    return Tally([*sums, *rated, *timed], detail)


def plain(count: int, histogram: Histogram) -> Tally:
    """What ``count`` single questions add that were answered at once and of which nothing else is known."""
    tally = Tally()
    for name in ("interactions", "turns", "first_pass", "success", "unaided"):
        tally.sums[_AT[name]] = count
    tally.detail.answer = {bucket: n for bucket, n in histogram.items() if n and bucket}
    tally.detail.task = dict(tally.detail.answer)
    return tally


def moved(changes: Iterable[tuple[str, State | None, State]]) -> Tallies:
    """What changes of states - project, before (``None``: it was not counted yet), after - add to the finest cells."""
    found: Tallies = {}
    for project, before, after in changes:
        delta = contribution(after)
        if before is not None:
            delta = delta.less(contribution(before))
        if any(delta.sums) or any(getattr(delta.detail, name) for name in TIMES):
            rollup.add_cell(found, key_of(project, after), delta)
    return found


def checked(*fields: Any) -> Turn:
    """A turn of these fields. What a transaction would stumble over is refused before: raises ``TypeError``."""
    for number, one in enumerate(fields[:12]):
        if not isinstance(one, int if number in (3, 4) else str):
            raise TypeError("A turn is made of texts, and its times of whole numbers.")
    turn = Turn(*fields)
    # A fingerprint is hexadecimal; anything else tells no questions apart.
    return turn if turn.asked.isalnum() or not turn.asked else msgspec.structs.replace(turn, asked="")


def turn_of(row: Any, *, end: int, failed: bool, tier: str, asked: str) -> Turn:
    """The turn of a row that has all of its own dimensions: a call. Raises ``TypeError`` for what is no row."""
    return checked(
        row.project,
        row.session or row.request_id,
        row.org,
        row.at,
        end,
        row.request_id,
        row.intent,
        row.prompt,
        row.release,
        row.arm,
        tier,
        asked,
        failed,
        bool(row.session),
    )
