"""The hold-out as sums: what requests of either side cost, added up as rows are written.

What is independent are sessions, not requests, and sums cannot keep sessions apart. So every session falls into one of
``GROUPS`` groups, by a hash of its name, and sums are kept per group: groups are as independent as the sessions in
them, of any number of sessions, over any buckets of time and from any writer. How many sessions there were is told by
the smallest hashes: exactly up to ``KEPT`` of them.

Calls say themselves which side they are on (``CallRow.trial``). A hit does not, as it must cost nothing: whoever is
held never hits, so a hit is a treated one, unless it took no part: ``Draws`` knows, in the process that answered it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

import msgspec
from blake3 import blake3

from ostinato.traces.cubes import CellsOf, Layout
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import ASKED, CHAT, REFRESH, SECOND, UNKNOWN, Origin, merge
from ostinato.traces.tables import TRIAL_DIMENSIONS, TRIAL_SUMS

GROUPS = 64
KEPT = 128
_SPAN = 1 << 32
HOUR = 3_600
_WIDTH = HOUR * SECOND
_CALLER_LEFT = 499
_REASONS = 64
_UNPRICED = TRIAL_SUMS.index("unpriced")

FORBIDDEN = "the intent takes no part"
RESTED = "near a limit, or the cache only was asked"
NEITHER = "the intent forbids it, the key was near a limit, or nothing was held out"


class Draws(Protocol):
    """What this process knows of who takes part in the hold-out. Asked by the writer's thread."""

    @property
    def holds_any(self) -> bool:
        """Whether anything is held out, or was while rows that wait were asked."""
        ...

    def stratum(self, at: int) -> tuple[str, int, int]:
        """The share that was held out at a moment, as a text (empty: nothing was), and since when and until when."""
        ...

    def takes_part(self, project: str, intent: str) -> bool:
        """Whether an intent does."""
        ...

    @property
    def absent(self) -> bool:
        """Whether any key or request took no part of late."""
        ...

    def was_absent(self, request_id: str, key_id: str, at: int) -> bool:
        """Whether this request took no part, though its hit does not show it."""
        ...

    def stands_in(self, request_id: str) -> bool:
        """Whether this hit answers a request whose call failed, and which that call's row counts already."""
        ...


class Groups(msgspec.Struct, array_like=True):
    """What of a cell is no plain sum. A later version may append fields."""

    groups: dict[int, list[int]] = {}
    """By group: requests, cost, saved, errors."""
    smallest: list[int] = []
    """The smallest hashes of sessions, in order, of 32 bits."""
    reasons: dict[str, int] = {}
    """Requests on neither side, and why."""


class Drawn(msgspec.Struct):
    """One side of the hold-out in one bucket of time and one set of dimensions."""

    sums: list[int] = msgspec.field(default_factory=lambda: [0] * len(TRIAL_SUMS))
    """In the order of ``tables.TRIAL_SUMS``."""
    detail: Groups = msgspec.field(default_factory=Groups)

    def add(self, other: "Drawn") -> None:
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.add_detail(other.detail)

    def add_detail(self, other: Groups) -> None:
        mine = self.detail
        groups = mine.groups
        for group, (requests, cost, saved, errors) in other.groups.items():
            known = groups.get(group)
            if known is None:
                groups[group] = [requests, cost, saved, errors]
            else:
                known[0] += requests
                known[1] += cost
                known[2] += saved
                known[3] += errors
        if other.smallest:
            mine.smallest = sorted({*mine.smallest, *other.smallest})[:KEPT]
        merge(mine.reasons, other.reasons)

    def copy(self) -> "Drawn":
        fresh = Drawn()
        fresh.add(self)
        return fresh

    def __getitem__(self, name: str) -> int:
        return self.sums[TRIAL_SUMS.index(name)]

    @property
    def sessions(self) -> int:
        """How many sessions: exact below ``KEPT``, above it right within a tenth or so (Beyer et al. 2007)."""
        known = self.detail.smallest
        return len(known) if len(known) < KEPT else round((KEPT - 1) * _SPAN / (known[-1] + 1))

    def count(self, group: int, requests: int, cost: int, saved: int, errors: int) -> None:
        """Add what a session of a group did."""
        sums = self.sums
        sums[0] += requests
        sums[1] += cost
        sums[2] += saved
        sums[3] += errors
        known = self.detail.groups.get(group)
        if known is None:
            self.detail.groups[group] = [requests, cost, saved, errors]
            return
        known[0] += requests
        known[1] += cost
        known[2] += saved
        known[3] += errors

    def see(self, marks: Iterable[int]) -> None:
        """Count the sessions of these marks, if they are not counted yet."""
        self.detail.smallest = sorted({*self.detail.smallest, *marks})[:KEPT]

    def leave_out(self, why: str, requests: int) -> None:
        """Count requests that are on neither side."""
        reasons = self.detail.reasons
        name = why if why in reasons or len(reasons) < _REASONS else "other"
        reasons[name] = reasons.get(name, 0) + requests


LAYOUT = Layout("trial", ("org", "project", *TRIAL_DIMENSIONS), TRIAL_SUMS, Drawn, Groups, (HOUR, 86_400))

_About: TypeAlias = tuple[str, str, str, str, str, str]
_Asked: TypeAlias = tuple[str, str, str, str, str]
_Marks: TypeAlias = dict[int, tuple[Drawn, set[int]]]


@lru_cache(maxsize=50_000)
def place_of(project: str, session: str, asked: str) -> tuple[int, int]:
    """Group and mark of a session; of what is asked, where none is named."""
    name = f"{project}\x00{session}" if session else f"{project}\x00\x00{asked}"
    digest = blake3(name.encode("utf-8", "replace")).digest(length=5)
    return digest[4] % GROUPS, int.from_bytes(digest[:4], "big")


def add_up(
    hits: Sequence[HitRow], calls: Iterable[CallRow], origins: Mapping[str, Origin], draws: Draws | None
) -> CellsOf[Drawn]:
    """What rows add to the hold-out, by the hour in which they were asked."""
    found: CellsOf[Drawn] = {}
    if draws is None or not draws.holds_any:
        return found
    _add_hits(found, hits, origins, draws)
    for row in calls:
        # Of the moment when it was drawn: rows may have waited while the share was changed.
        stratum = draws.stratum(row.at)[0]
        if not stratum:
            continue
        if row.trial:
            cell = _cell(found, row.at, _about(row), stratum, row.trial)
            _add_call(cell, row)
        elif row.key_id and row.wire in CHAT:
            why = f"the cache took no part: {row.reason or 'unknown'}" if row.cache == "bypass" else NEITHER
            _cell(found, row.at, _about(row), "", "").leave_out(why, 1)
    return found


def _add_hits(found: CellsOf[Drawn], hits: Sequence[HitRow], origins: Mapping[str, Origin], draws: Draws) -> None:
    """Once per hit: what is alike is counted first. Nearly all are of no session and no arm, in one hour, of one
    share."""
    if not hits:
        return
    plain: dict[str, list[int]] = {}
    apart: list[HitRow] = []
    hour = hits[0].at // _WIDTH
    stratum, since, until = draws.stratum(hits[0].at)
    begin, end = max(hour * _WIDTH, since), min((hour + 1) * _WIDTH, until)
    absent = draws.absent
    for row in hits:
        if absent or row.session or row.arm or not begin <= row.at < end:
            apart.append(row)
            continue
        known = plain.get(row.origin)
        if known is None:
            plain[row.origin] = [1, row.saved]
        else:
            known[0] += 1
            known[1] += row.saved
    marks: _Marks = {}
    # Of many origins few differ in what they are about.
    spots: dict[_Asked, tuple[Drawn, set[int]] | None] = {}
    for name, (requests, saved) in plain.items() if stratum else ():
        origin = origins.get(name, UNKNOWN)
        if not (origin.known and origin.chat):
            continue
        asked = origin.org, origin.project, origin.intent, origin.prompt, origin.release
        if asked in spots:
            spot = spots[asked]
        else:
            spot = spots[asked] = _treated(found, begin, (*asked, ""), stratum, draws, marks)
        if spot is None:
            _cell(found, begin, (*asked, ""), "", "").leave_out(FORBIDDEN, requests)
            continue
        group, mark = place_of(origin.project, "", origin.asked)
        cell, some = spot
        some.add(mark)
        # ``Drawn.count``, written out: it runs for every hit of a question that is asked once, and a call of it takes
        # 0.1 us of these.
        sums, groups = cell.sums, cell.detail.groups
        sums[0] += requests
        sums[2] += saved
        known = groups.get(group)
        if known is None:
            groups[group] = [requests, 0, saved, 0]
        else:
            known[0] += requests
            known[2] += saved
    if apart:
        _add_apart(found, apart, origins, draws, marks)
    for cell, some in marks.values():
        cell.see(some)


def _add_apart(
    found: CellsOf[Drawn],
    hits: Sequence[HitRow],
    origins: Mapping[str, Origin],
    draws: Draws,
    marks: _Marks,
) -> None:
    """The same of hits that are looked at one by one: those of sessions, of arms, and all while somebody is absent."""
    absent = draws.absent
    stratum, since, until = draws.stratum(hits[0].at)
    for row in hits:
        if not since <= row.at < until:
            stratum, since, until = draws.stratum(row.at)
        origin = origins.get(row.origin, UNKNOWN)
        if not (origin.known and origin.chat and stratum):
            continue
        about = (origin.org, origin.project, origin.intent, origin.prompt, origin.release, row.arm)
        if absent and draws.was_absent(row.request_id, row.key_id, row.at):
            _cell(found, row.at, about, "", "").leave_out(RESTED, 1)
            continue
        spot = _treated(found, row.at, about, stratum, draws, marks)
        if spot is None:
            _cell(found, row.at, about, "", "").leave_out(FORBIDDEN, 1)
            continue
        group, mark = place_of(origin.project, row.session, "" if row.session else origin.asked)
        # The call that failed is counted already, as a request and as an error: the caller has seen neither.
        again = absent and draws.stands_in(row.request_id)
        spot[0].count(group, 0 if again else 1, 0, row.saved, -1 if again else 0)
        spot[1].add(mark)


def _treated(
    found: CellsOf[Drawn], at: int, about: _About, stratum: str, draws: Draws, marks: _Marks
) -> tuple[Drawn, set[int]] | None:
    """The cell of hits about this, and the marks of their sessions; ``None``: the intent takes no part."""
    if about[2] and not draws.takes_part(about[1], about[2]):
        return None
    cell = _cell(found, at, about, stratum, "treated")
    return marks.setdefault(id(cell), (cell, set()))


def _add_call(cell: Drawn, row: CallRow) -> None:
    # What is fetched in the background costs, and is nobody's request: the hit before it was.
    asked = 0 if row.reason == REFRESH else 1
    failed = asked if row.status >= 400 and row.status != _CALLER_LEFT else 0
    unpriced = asked if row.cost is None and row.status < 400 else 0
    group, mark = place_of(row.project, row.session, "" if row.session else row.fingerprint[:ASKED])
    cell.count(group, asked, row.cost or 0, row.saved, failed)
    cell.sums[_UNPRICED] += unpriced
    smallest = cell.detail.smallest
    if len(smallest) < KEPT or mark < smallest[-1]:
        cell.see((mark,))


def _about(row: CallRow) -> _About:
    return row.org, row.project, row.intent, row.prompt, row.release, row.arm


def _cell(found: CellsOf[Drawn], at: int, about: _About, stratum: str, side: str) -> Drawn:
    key = (at - at % _WIDTH, (*about, stratum, side))
    known = found.get(key)
    if known is None:
        known = found[key] = Drawn()
    return known
