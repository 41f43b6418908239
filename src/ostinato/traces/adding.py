"""What a batch of rows adds to every rollup: to the ledger's, to the pages', and to interactions.

A hit without a session is an interaction of its own and costs nothing here: per cell, hits less those that belong to
a conversation are what there is. Calls and questions of conversations are looked at one by one.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ostinato.traces import drawing, interactions, rollup
from ostinato.traces.cubes import CellsOf
from ostinato.traces.drawing import Drawn, Draws
from ostinato.traces.interactions import Tallies, Turn
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import CHAT, FINEST, REFRESH, UNKNOWN, Cell, Cells, Origin, bucket_of

_SERVED = ("hit-exact", "stale")
LOOP = "loop"
"""``CallRow.reason`` of calls of our own."""


class Added(msgspec.Struct):
    """Sums of one batch, in the finest buckets."""

    cells: Cells = msgspec.field(default_factory=dict[tuple[int, rollup.Dimensions], Cell])
    own: CellsOf[Cell] = msgspec.field(default_factory=dict[tuple[int, tuple[str, ...]], Cell])
    """Calls of our own, by what they were made for."""
    tallies: Tallies = msgspec.field(default_factory=dict[tuple[int, tuple[str, ...]], interactions.Tally])
    """Single questions."""
    turns: list[Turn] = msgspec.field(default_factory=list[Turn])
    """Questions of conversations, to be added to where those stand."""
    drawn: CellsOf[Drawn] = msgspec.field(default_factory=dict[tuple[int, tuple[str, ...]], Drawn])
    """The hold-out's two sides, by the hour."""

    def add(self, other: "Added") -> None:
        for mine, theirs in (
            (self.cells, other.cells),
            (self.own, other.own),
            (self.tallies, other.tallies),
            (self.drawn, other.drawn),
        ):
            for key, cell in theirs.items():
                rollup.add_cell(mine, key, cell)  # pyright: ignore[reportArgumentType] - each pair is of one kind
        self.turns += other.turns


def add_up(
    hits: Sequence[HitRow], calls: Sequence[CallRow], origins: Mapping[str, Origin], draws: Draws | None = None
) -> Added:
    """Add up rows; ``draws``: who takes part in the hold-out. Raises what a row with a wrong type in it raises."""
    added = Added(drawn=drawing.add_up(hits, calls, origins, draws))
    apart = rollup.add_hits(added.cells, hits, origins)
    _add_single_hits(added, apart, origins)
    for row in calls:
        rollup.add_call(added.cells, row)
        if row.reason == LOOP and not row.key_id:
            _add_own(added, row)
        elif row.wire in CHAT and row.key_id and row.reason != REFRESH and (row.status < 400 or row.attempts):
            _add_question(added, row)
    return added


def narrow(added: Added) -> CellsOf[Cell]:
    """The rollup without its keys, aliases and targets; calls of our own beside it."""
    found: CellsOf[Cell] = {}
    for (bucket, (org, project, key, _, _, intent, prompt, release, arm)), cell in added.cells.items():
        if key:
            rollup.add_cell(found, (bucket, (org, project, intent, prompt, release, arm, "")), cell)
    for key, cell in added.own.items():
        rollup.add_cell(found, key, cell)
    return found


def _add_single_hits(added: Added, apart: Iterable[HitRow], origins: Mapping[str, Origin]) -> None:
    """Count what the cells hold so far - hits, and nothing else - less those that are ``apart``."""
    less: dict[tuple[int, rollup.Dimensions], tuple[int, rollup.Histogram]] = {}
    for row in apart:
        origin = origins.get(row.origin, UNKNOWN)
        end = row.at + row.total_us
        of_call = origin.alias, origin.target, origin.intent, origin.prompt, origin.release
        key = (end - end % FINEST, (origin.org, origin.project, row.key_id, *of_call, row.arm))
        count, histogram = less.get(key, (0, {}))
        bucket = bucket_of(row.total_us)
        histogram[bucket] = histogram.get(bucket, 0) + 1
        less[key] = count + 1, histogram
        if row.session and origin.chat and origin.known:
            added.turns.append(_turn(row, origin, end))
    for key, cell in added.cells.items():
        bucket, (org, project, _, _, _, intent, prompt, release, arm) = key
        count, histogram = less.get(key, (0, {}))
        singles = cell["requests"] - count
        if singles and project:
            rest = {one: n - histogram.get(one, 0) for one, n in cell.detail.hit.items()}
            to = (bucket, (org, project, intent, prompt, release, arm, "hit"))
            rollup.add_cell(added.tallies, to, interactions.plain(singles, rest))


def _turn(row: HitRow, origin: Origin, end: int) -> Turn:
    about = origin.intent, origin.prompt, origin.release, row.arm
    named = origin.project, row.session, origin.org, row.at, end, row.request_id
    return interactions.checked(*named, *about, "hit", origin.asked, False)


def _add_own(added: Added, row: CallRow) -> None:
    """A call of our own, under what it was made for: the first of its tags says so."""
    end = row.at + row.total_us
    purpose = row.tags.partition(",")[0].partition(":")[2] or "own"
    key = (
        end - end % FINEST,
        (row.org, row.project, row.intent, row.prompt, row.release, row.arm, purpose),
    )
    cell = added.own.get(key)
    if cell is None:
        cell = added.own[key] = Cell()
    rollup.add_to(cell, row)


def _add_question(added: Added, row: CallRow) -> None:
    turn = interactions.turn_of(
        row,
        end=row.at + row.total_us,
        failed=row.status >= 400 or bool(row.error),
        tier="hit" if row.cache in _SERVED else "miss",
        asked=row.fingerprint[: rollup.ASKED],
    )
    if turn.named:
        added.turns.append(turn)
        return
    state = interactions.begun(turn)
    rollup.add_cell(added.tallies, interactions.key_of(row.project, state), interactions.contribution(state))
