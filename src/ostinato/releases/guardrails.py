"""Guardrails: a canary against its control, pair by pair, with bets that may be looked at as often as anybody likes.

What is in memory is a cache of the ledger: a process that starts anew reads the same calls and signals in the same
order and comes to the same figures. Three things make the comparison fair:

- only calls count, and of equal requests the first of each arm: a new arm starts with an empty cache, and what it is
  asked again it need not ask a model; the control, which takes no part in the cache, is looked at in the same way;
- each conversation (session, end user, else request) counts once: arms are drawn by conversation, so two answers of
  one are not two draws;
- pairs are made by order alone, never by what was observed. Where one arm has more, the oldest without a partner go.

A canary may be as large as it likes: the figures are sums, and of requests and conversations the latest hundred
thousand at least are kept in mind. One that comes back after so many others counts as another one.

How loud a harm must be: the whole chance of a false rollback is shared out equally over guardrails and slices.
"""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from ostinato.releases.model import Guardrail, Guardrails, Reading, Release
from ostinato.statistics import EProcess
from ostinato.traces.arms import ArmCall

CANARY, CONTROL = "canary", "control"
WAITING = 64
"""Observations of one arm that wait for a partner."""
MOST = 200_000
"""Requests, conversations and signals, each, that are kept in mind: beyond, the oldest half is forgotten."""

_BLOCKED = "content_blocked"
_NOT_OURS = frozenset({"", "caller_left", _BLOCKED})
_OK = 200


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """A signal about an answer of an arm."""

    arm: str
    name: str
    value: float
    """From 0 to 1."""
    who: str
    """The conversation."""
    at: int = 0
    """UTC microseconds."""
    tags: tuple[str, ...] = ()


class Lately:
    """What was met, in bounded memory: at least the last ``most`` / 2 of them, whatever comes after."""

    __slots__ = ("_before", "_half", "_now")

    def __init__(self, most: int = MOST) -> None:
        self._half = max(1, most // 2)
        self._now: set[int] = set()
        self._before: set[int] = set()

    def __contains__(self, key: int) -> bool:
        return key in self._now or key in self._before

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def add(self, key: int) -> None:
        """Keep it in mind."""
        if key in self:
            return
        if len(self._now) >= self._half:
            self._before, self._now = self._now, set()
        self._now.add(key)


class Pairing:
    """Observations of two arms as pairs, the i-th with the i-th."""

    __slots__ = ("dropped", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[str, deque[float]] = {CANARY: deque(), CONTROL: deque()}
        self.dropped = 0

    def add(self, arm: str, value: float) -> tuple[float, float] | None:
        """(Canary, control), where that makes a pair."""
        other = self.waiting[CONTROL if arm == CANARY else CANARY]
        if other:
            partner = other.popleft()
            return (value, partner) if arm == CANARY else (partner, value)
        own = self.waiting[arm]
        own.append(value)
        if len(own) > WAITING:
            own.popleft()
            self.dropped += 1
        return None


class Line:
    """One guardrail, or one slice of it."""

    def __init__(
        self, guardrail: Guardrail, slice_: str, tolerance: float, difference: Callable[[float, float], float]
    ):
        self.guardrail: Guardrail = guardrail
        self.slice = slice_
        self.process = EProcess(tolerance)
        self._difference = difference
        self._pairings: dict[str, Pairing] = {}
        self._sums = [0.0, 0.0]
        self._seen = 0
        self._last = 0

    def add(self, arm: str, value: float, kind: str = "", at: int = 0) -> None:
        """Take an observation into account; those of one ``kind`` are paired with each other."""
        self._seen += 1
        pairing = self._pairings.get(kind)
        if pairing is None:
            pairing = self._pairings[kind] = Pairing()
        pair = pairing.add(arm, value)
        if pair is not None:
            self._sums[0] += pair[0]
            self._sums[1] += pair[1]
            self._last = max(self._last, at)
            self.process.update(self._difference(*pair))

    def reading(self, level: float, waived: str) -> Reading:
        """What it shows now."""
        process = self.process
        n = process.n
        span = process.interval()
        return Reading(
            guardrail=self.guardrail,
            slice=self.slice,
            pairs=n,
            canary=self._sums[0] / n if n else None,
            control=self._sums[1] / n if n else None,
            difference=process.mean,
            low=span.low,
            high=span.high,
            p_harm=process.p_harm,
            p_benefit=process.p,
            level=level,
            waived=waived,
            seen=self._seen,
            last=self._last,
        )


class Watch:
    """The guardrails of one canary. Fed in order; not for several threads at once."""

    def __init__(self, rails: Guardrails) -> None:
        self._rails = rails
        self._lines: list[Line] = [_line(name, "", rails) for name in rails.watch]
        self._slices = {name: _line("quality", name, rails) for name in rails.slices}
        self._of: dict[Guardrail, Line] = {one.guardrail: one for one in self._lines}
        self._asked = Lately()
        """Equal requests, by arm."""
        self._heard = Lately()
        """Conversations, by arm."""
        self._told = Lately()
        """Conversations of which a signal of some name is known."""

    def take(self, calls: Iterable[ArmCall]) -> None:
        """Calls in the order of the ledger."""
        for call in calls:
            if call.arm not in (CANARY, CONTROL) or call.cache not in ("miss", "bypass"):
                continue
            asked = hash((call.arm, call.user_digest, call.fingerprint or call.request_id))
            heard = hash((call.arm, who(call.session, call.user_digest, call.fingerprint or call.request_id)))
            repeated = asked in self._asked or heard in self._heard
            self._asked.add(asked)
            if not repeated:
                self._heard.add(heard)
                self._observe(call)

    def hear(self, told: Iterable[Quality]) -> None:
        """Signals in the order in which they came."""
        for one in told:
            key = hash((one.arm, one.name, one.who))
            if one.arm not in (CANARY, CONTROL) or key in self._told:
                continue
            self._told.add(key)
            if one.name in self._rails.policy_signals:
                self._add("policy", one.arm, 1.0 - one.value, one.name, one.at)
                continue
            if self._rails.signals and one.name not in self._rails.signals:
                continue
            self._add("quality", one.arm, one.value, one.name, one.at)
            for tag in one.tags:
                line = self._slices.get(tag)
                if line is not None:
                    line.add(one.arm, one.value, one.name, one.at)

    def readings(self) -> tuple[Reading, ...]:
        """What every guardrail and slice shows now."""
        level = self._rails.alpha / (len(self._lines) + len(self._slices))
        whole = [one.reading(level, "") for one in self._lines]
        return (*whole, *(one.reading(level, self._rails.waived.get(name, "")) for name, one in self._slices.items()))

    def _observe(self, call: ArmCall) -> None:
        blocked = call.error == _BLOCKED
        self._add("error", call.arm, float(call.error not in _NOT_OURS), at=call.at)
        self._add("policy", call.arm, float(blocked), at=call.at)
        if call.error or call.status != _OK:
            return
        if call.cost is not None:
            self._add("cost", call.arm, float(call.cost), at=call.at)
        self._add("latency", call.arm, float(call.total_us), at=call.at)

    def _add(self, guardrail: Guardrail, arm: str, value: float, kind: str = "", at: int = 0) -> None:
        line = self._of.get(guardrail)
        if line is not None:
            line.add(arm, value, kind, at)


def who(session: str, user_digest: str, request: str) -> str:
    """The conversation that a request belongs to: what its arm was drawn by."""
    return f"s{session}" if session else f"u{user_digest}" if user_digest else f"r{request}"


def alike(release: Release, before: Release) -> bool:
    """Whether two states of a release are watched as one: its canary has begun once."""
    return release.started_at == before.started_at and release.plan.guardrails == before.plan.guardrails


def _line(guardrail: Guardrail, slice_: str, rails: Guardrails) -> Line:
    if guardrail == "quality":
        return Line(guardrail, slice_, 0.0, lambda canary, control: canary - control)
    if guardrail in ("cost", "latency"):
        margin = rails.cost if guardrail == "cost" else rails.latency
        # What the difference comes to where one is dearer by exactly the margin.
        return Line(guardrail, slice_, margin / (2 + margin), _relative)
    return Line(guardrail, slice_, 0.0, lambda canary, control: control - canary)


def _relative(canary: float, control: float) -> float:
    """Difference as a share of the sum: -1 to 1, whatever the unit, and no single dear answer outweighs the rest."""
    both = canary + control
    return (control - canary) / both if both > 0 else 0.0
