"""Outcomes: what became of an answer or of a conversation, told one by one or in files, late, or twice.

A request or a session that is not of the project does not exist. The same event again - same request, type, value and
time, or same ``id`` - is a duplicate, and is counted as one; of different ones about the same the last counts.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, NotFound, OstinatoError, Unavailable
from ostinato.signals import Signal, Signals
from ostinato.traces import Filter, Ledger, RequestEvent
from ostinato.traces.interactions import OUTCOMES, REWORK, State, Turn

Value: TypeAlias = bool | int | float | str | None

MOST = 1_000
"""Outcomes in one request."""
_MINUTES = 100_000
_AHEAD = 300_000_000
"""A clock that is off by less than this (microseconds) is taken for ours."""
_LONGEST = 256
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event. It names one of ``request_id``, ``client_request_id`` and ``session``."""

    request_id: str = ""
    client_request_id: str = ""
    """The caller's own ``x-request-id``."""
    session: str = ""
    """The conversation, as its requests named it in ``ostinato-session``."""
    type: str = ""
    """``resolved``, ``escalated``, ``reopened``, ``abandoned``, ``csat`` (1 to 5), ``task_success``, ``time_saved``
    (minutes); ``regenerated``, ``edited``, ``retried`` for rework that only the application sees."""
    value: Value = None
    """Left out: yes."""
    at: int | str | None = None
    """When: UTC microseconds, or ISO 8601; left out: now."""
    id: str = ""
    """The event's own id, by which it is known when it comes again."""


class Refused(msgspec.Struct, frozen=True):
    """An event that was not taken."""

    line: int
    """Its place, from 1."""
    code: str
    message: str


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a number of events."""

    accepted: int
    duplicates: int
    refused: tuple[Refused, ...]


class Prepared(msgspec.Struct, frozen=True):
    """What shall be written, and what is said of it."""

    signals: tuple[Signal, ...]
    taken: Taken


class About(msgspec.Struct, frozen=True):
    """What an event is about."""

    request_id: str
    intent: str
    prompt: str
    prompt_version: int
    release: str
    arm: str
    entry: str = ""
    origin: str = ""
    asked: int = 0
    """When it was asked, UTC microseconds; of a conversation: its first question."""


def about_row(row: RequestEvent) -> About:
    """A request of the ledger."""
    named = row.request_id, row.intent, row.prompt, row.prompt_version, row.release, row.arm
    return About(*named, row.fingerprint, row.origin, row.at)


def about_conversation(state: State) -> About:
    """A conversation: told of its first request."""
    return About(state.request_id, state.intent, state.prompt, 0, state.release, state.arm, asked=state.at)


def moment(at: int | str | None, now: int, asked: int = 0) -> int:
    """When something happened, UTC microseconds. Raises ``Invalid`` for no time, one before 2000, one to come, or one
    before the question that it is the outcome of was ``asked``."""
    if at is None or at == "":
        return now
    if isinstance(at, str):
        at = _iso(at)
    if at < 946_684_800_000_000:
        raise Invalid("A time is ISO 8601, or microseconds since 1970, after the year 2000.", param="at")
    if at > now + _AHEAD:
        raise Invalid("This lies in the future.", code="future_outcome", param="at", hint="Times are UTC.")
    if at < asked - _AHEAD:
        raise Invalid(
            "This happened before the question was asked.",
            code="past_outcome",
            param="at",
            hint="`at` tells when it happened, in UTC; leave it out where that is now.",
        )
    return min(max(at, asked), now)


def _iso(text: str) -> int:
    if text.isdecimal() and len(text) <= 18:
        return int(text)
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text[:40]!r} is no time.", param="at", hint="2026-11-23T17:04:00Z") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return int(found.timestamp() * 1_000_000)


def valued(kind: str, value: Value) -> tuple[float | None, str]:
    """An outcome's value from 0 to 1, and its label: the rating or the minutes. Raises ``Invalid``."""
    if kind == "csat":
        rating = _number(value)
        if rating not in (1, 2, 3, 4, 5):
            raise Invalid("A rating is a whole number from 1 to 5.", code="invalid_outcome", param="value")
        return (rating - 1) / 4, str(int(rating))
    if kind == "time_saved":
        minutes = _number(value)
        if minutes is None or not abs(minutes) <= _MINUTES:  # NaN is refused, too
            raise Invalid("Time saved is a number of minutes.", code="invalid_outcome", param="value")
        return None, f"{minutes:.10g}"
    if isinstance(value, str):
        if value == "":
            return 1.0, ""
        if value.lower() not in _WORDS:
            raise Invalid(f"{value[:40]!r} is neither true nor false.", code="invalid_outcome", param="value")
        value = _WORDS[value.lower()]
    if value is None:
        return 1.0, ""
    if not 0 <= value <= 1:
        raise Invalid("A value is true or false, or from 0 to 1.", code="invalid_outcome", param="value")
    return float(value), ""


def _number(value: Value) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


class Outcomes:
    """Takes outcomes for requests and conversations of one project at a time."""

    def __init__(self, signals: Signals, ledger: Ledger, clock: Clock) -> None:
        self._signals = signals
        self._ledger = ledger
        self._clock = clock

    async def conversation(self, project: str, session: str) -> State:
        """A conversation of a project. Raises ``NotFound``."""
        found = await self._ledger.conversation(project, session) if 0 < len(session) <= _LONGEST else None
        if found is None:
            raise NotFound(
                f"There is no conversation {session[:80]!r} in this project.",
                code="conversation_not_found",
                hint="Its requests name it in the header ostinato-session.",
            )
        return found

    async def take(
        self, org: str, project: str, actor: str, told: Sequence[Outcome], *, dry_run: bool = False
    ) -> Taken:
        """Write down what is told; what cannot be used is told by its place. Raises ``Unavailable`` for too much.

        ``dry_run``: only looks at what would become of it.
        """
        prepared = await self.prepare(org, project, actor, told)
        if not dry_run:
            self.write(prepared)
        return prepared.taken

    def write(self, prepared: "Prepared") -> None:
        """Write down what was prepared. Raises ``Unavailable`` where too much waits already: then nothing of it is."""
        if self._signals.record(prepared.signals) < len(prepared.signals):
            raise Unavailable("Too many outcomes wait to be written.", code="feedback_busy", retry_after=1.0)

    async def prepare(self, org: str, project: str, actor: str, told: Sequence[Outcome]) -> "Prepared":
        """What would be written, and what would become of it. Raises ``Invalid`` for more than ``MOST``."""
        if len(told) > MOST:
            raise Invalid(f"At most {MOST:,} outcomes at once.", code="too_many_outcomes", param="outcomes")
        known = await self._ledger.questions([one.request_id for one in told if one.request_id])
        found: list[Signal] = []
        refused: list[Refused] = []
        for line, one in enumerate(told, 1):
            try:
                found.append(await self._signal(org, project, actor, one, known))
            except OstinatoError as error:
                refused.append(Refused(line, error.code, error.message))
        there = await self._signals.known([one.id for one in found])
        fresh = {one.id: one for one in found if one.id not in there}
        # In the order in which things happened: of what is said of one request, the last counts.
        ordered = tuple(sorted(fresh.values(), key=lambda one: one.at))
        taken = Taken(accepted=len(fresh), duplicates=len(found) - len(fresh), refused=tuple(refused))
        return Prepared(ordered, taken)

    async def _signal(self, org: str, project: str, actor: str, one: Outcome, known: Mapping[str, Turn]) -> Signal:
        if one.type not in (*OUTCOMES, *REWORK):
            raise Invalid(
                f"{one.type[:40]!r} is no type of outcome.",
                code="unknown_outcome",
                param="type",
                hint=", ".join((*OUTCOMES, *REWORK)),
            )
        value, label = valued(one.type, one.value)
        now = self._clock.now()
        about = await self._about(project, one, known)
        at = moment(one.at, now, about.asked)
        given = one.id or f"{about.request_id}\n{one.type}\n{value}\n{label}\n{one.at or ''}"
        return Signal(
            id=hashing.digest(f"outcome\n{project}\n{given}".encode())[:16].hex(),
            request_id=about.request_id,
            at=at,
            org=org,
            project=project,
            source="outcome",
            name=one.type,
            value=value,
            label=label,
            prompt=about.prompt,
            prompt_version=about.prompt_version,
            release=about.release,
            arm=about.arm,
            intent=about.intent,
            entry=about.entry,
            origin=about.origin,
            actor=actor,
        )

    async def _about(self, project: str, one: Outcome, known: Mapping[str, Turn]) -> About:
        given = [text for text in (one.request_id, one.client_request_id, one.session) if text]
        if len(given) != 1:
            raise Invalid(
                "An outcome names one of request_id, client_request_id and session.",
                code="invalid_outcome",
                param="request_id",
            )
        if one.session:
            return about_conversation(await self.conversation(project, one.session))
        turn = known.get(one.request_id)
        if turn is not None and turn.project == project:
            return About(turn.request_id, turn.intent, turn.prompt, 0, turn.release, turn.arm, asked=turn.at)
        wanted = given[0]
        if len(wanted) <= _LONGEST:
            for row in await self._ledger.show(wanted, Filter(project=project)):
                if wanted == (row.request_id if one.request_id else row.client_request_id):
                    return about_row(row)
        raise NotFound(f"There is no request {wanted[:80]!r} in this project.", code="request_not_found")
