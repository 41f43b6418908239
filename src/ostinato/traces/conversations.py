"""Interactions in the database: read and locked, moved on, and written back in the transaction of what moved them.

Nothing of a conversation is kept in memory: any process may be asked its next question, or be told how it ended, and
all count it once. A project's single questions have no row until somebody tells what became of one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato.traces import interactions, rollup, tables, write
from ostinato.traces.interactions import Event, State, Tallies, Turn

Name: TypeAlias = tuple[str, str]
"""Project and session (or request id)."""

_AT_ONCE = 400
_FIELDS = State.__struct_fields__
_NAMED, _TURNS = _FIELDS.index("named"), _FIELDS.index("turns")
_COLUMNS = ("project", "name", *_FIELDS)
_NEW = msgspec.structs.astuple(State("", 0, 0, "", "", "", "", "", "", False, 0, 0, 0, "", "", 0))


def advance(connection: sa.Connection, turns: Sequence[Turn], window: int) -> Tallies:
    """Move conversations on by their next questions; what that adds to the sums."""
    if not turns:
        return {}
    ordered = sorted(turns, key=lambda turn: turn.at)
    before = _lock(connection, {(turn.project, turn.name) for turn in ordered})
    after = dict(before)
    for turn in ordered:
        name = _clean((turn.project, turn.name))
        known = after.get(name)
        after[name] = interactions.begun(turn) if known is None else interactions.asked(known, turn, window)
    return _save(connection, before, after)


def tell(connection: sa.Connection, events: Sequence[tuple[str, Event]], window: int) -> Tallies:
    """Move the interactions of requests (by id) on by what was told of them; what that adds to the sums.

    Requests that the ledger does not have, and those that are no questions, are passed over.
    """
    about = questions(connection, {request for request, _ in events})
    if not about:
        return {}
    before = _lock(connection, {(turn.project, turn.name) for turn in about.values()})
    after = dict(before)
    counted = dict(before)
    for request, event in events:
        turn = about.get(request)
        if turn is None:
            continue
        name = _clean((turn.project, turn.name))
        known = after.get(name)
        if known is None:
            known = interactions.begun(turn)
            if not turn.named:
                counted[name] = known  # a single question was counted when it was answered
        after[name] = interactions.told(known, event, window)
    return _save(connection, counted, after)


def find(connection: sa.Connection, project: str, session: str) -> State | None:
    """A conversation, by the session's name; ``None``: none was had under it."""
    table = tables.conversation
    query = sa.select(*(table.c[name] for name in _FIELDS)).where(
        table.c.project == project, table.c.name == write.clean(session), table.c.named
    )
    row = connection.execute(query).first()
    return None if row is None else State(*row)


def questions(connection: sa.Connection, requests: Collection[str]) -> dict[str, Turn]:
    """Requests that are questions, as the ledger has them, by id."""
    found: dict[str, Turn] = {}
    chosen = sa.bindparam("ids", expanding=True, type_=sa.Text())
    wanted = sorted(requests)
    for start in range(0, len(wanted), _AT_ONCE):
        some = {"ids": wanted[start : start + _AT_ONCE]}
        for row in connection.execute(sa.text(_CALLS).bindparams(chosen), some):
            if row.wire in rollup.CHAT and row.key_id and (row.status < 400 or row.attempts != "[]"):
                found[row.request_id] = interactions.turn_of(
                    row,
                    end=row.at + row.total_us,
                    failed=row.status >= 400 or bool(row.error),
                    tier="hit" if row.cache in ("hit-exact", "stale") else "miss",
                    asked=row.fingerprint[: rollup.ASKED],
                )
        for row in connection.execute(sa.text(_HITS).bindparams(chosen), some):
            if row.wire in rollup.CHAT:
                end = row.at + row.total_us
                asked = row.fingerprint[: rollup.ASKED]
                found[row.request_id] = interactions.turn_of(row, end=end, failed=False, tier="hit", asked=asked)
    return found


def sweep(connection: sa.Connection, before: int, limit: int = 10_000) -> int:
    """Remove conversations that ended before then (UTC microseconds); how many. What is told of them later is new."""
    table = tables.conversation
    # A tuple of columns in IN is one thing to both engines.
    old = sa.select(table.c.project, table.c.name).where(table.c.ended < before).limit(limit)
    return connection.execute(table.delete().where(sa.tuple_(table.c.project, table.c.name).in_(old))).rowcount


_CALLS = (
    "SELECT request_id, at, org, project, key_id, wire, status, error, attempts, cache, fingerprint, session, intent, "
    "prompt, release, arm, total_us FROM call WHERE request_id IN :ids"
)
_HITS = (
    "SELECT hit.request_id, hit.at, hit.session, hit.arm, hit.total_us, call.org, call.project, call.wire, "
    "call.fingerprint, call.intent, call.prompt, call.release "
    "FROM hit JOIN call ON call.request_id = hit.origin WHERE hit.request_id IN :ids"
)


def _clean(name: Name) -> Name:
    return write.clean(name[0]), write.clean(name[1])


def _lock(connection: sa.Connection, names: Iterable[Name]) -> dict[Name, State]:
    """What is known of these, held until the transaction ends. Always in one order, so that nobody waits in a ring."""
    wanted = sorted({_clean(name) for name in names})
    shared = connection.dialect.name == "postgresql"
    found: dict[Name, State] = {}
    mark = "(%s, %s)" if shared else "(?, ?)"
    columns = ", ".join(f"conversation.{name}" for name in _COLUMNS)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        if shared:
            # What is not there cannot be locked: an empty one takes its place, which others wait for.
            connection.exec_driver_sql(_insert(connection) + " DO NOTHING", [(*name, *_NEW) for name in some])
        values = ", ".join([mark] * len(some))
        statement = (
            f"WITH wanted(project, name) AS (VALUES {values}) SELECT {columns} FROM wanted "  # noqa: S608 - constants
            "JOIN conversation ON conversation.project = wanted.project AND conversation.name = wanted.name"
        )
        if shared:
            statement += " ORDER BY conversation.project, conversation.name FOR UPDATE OF conversation"
        for row in connection.exec_driver_sql(statement, tuple(part for name in some for part in name)):
            project, name, *fields = row
            if fields[_TURNS]:
                fields[_NAMED] = bool(fields[_NAMED])  # SQLite has no such type
                found[project, name] = State(*fields)
    return found


def _insert(connection: sa.Connection) -> str:
    return (
        f"INSERT INTO conversation ({', '.join(_COLUMNS)}) "  # noqa: S608 - names are constants
        f"VALUES ({write.places(connection, len(_COLUMNS))}) ON CONFLICT (project, name)"
    )


def _save(connection: sa.Connection, before: Mapping[Name, State], after: Mapping[Name, State]) -> Tallies:
    """Write what has changed; what it adds. ``before``: what has been counted."""
    changed = [(name, state) for name, state in after.items() if before.get(name) != state]
    if changed:
        updates = ", ".join(f"{name} = excluded.{name}" for name in _FIELDS)
        rows = [(*name, *map(write.clean, msgspec.structs.astuple(state))) for name, state in changed]
        connection.exec_driver_sql(f"{_insert(connection)} DO UPDATE SET {updates}", rows)
    return interactions.moved((name[0], before.get(name), state) for name, state in changed)
