"""Rows that go because they are old, and rows that no longer tell whose they were.

Rows of a time are found by their ids, which are in the order of time. Of whom a row is has no index (it would cost
every request): a search goes through the table in ranges, each a short read beside the writer.
"""

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.traces.tables import call, conversation, hit

RANGE = 20_000
"""Rows that one read of a search looks at."""
_MANY = 500


class Old(msgspec.Struct, frozen=True):
    """A row, as far as rules and holds ask about it."""

    seq: int
    request_id: str
    at: int
    project: str | None
    """Of a hit: that of the call it repeats; ``None`` where the call is gone."""
    intent: str | None
    subject: str
    key_id: str


class Theirs(msgspec.Struct, frozen=True):
    """A row of somebody's."""

    seq: int
    request_id: str
    at: int
    intent: str | None
    session: str
    subject: str
    key_id: str
    generation: str = ""
    alias: str = ""
    target: str = ""


def bound(at: int) -> str:
    """What the ids of requests made before ``at`` (UTC microseconds) are below."""
    return f"{max(0, at) // 1000:012x}"


def calls(connection: sa.Connection, since: str, until: str, limit: int, *, texts: bool = False) -> list[Old]:
    """Calls with ids above ``since`` and below ``until``, oldest first. ``texts``: only those that have some."""
    columns = (
        call.c.seq,
        call.c.request_id,
        call.c.at,
        call.c.project,
        call.c.intent,
        call.c.user_digest,
        call.c.key_id,
    )
    query = sa.select(*columns).where(call.c.request_id > since, call.c.request_id < until)
    if texts:
        query = query.where(_has_texts())
    return [Old(*row) for row in connection.execute(query.order_by(call.c.request_id).limit(limit))]


def hits(connection: sa.Connection, since: str, until: str, limit: int) -> list[Old]:
    """The same of hits, with project and intent of the calls that they repeat."""
    columns = (hit.c.seq, hit.c.request_id, hit.c.at, call.c.project, call.c.intent, hit.c.user_digest, hit.c.key_id)
    query = sa.select(*columns).select_from(hit.outerjoin(call, call.c.request_id == hit.c.origin))
    query = query.where(hit.c.request_id > since, hit.c.request_id < until)
    return [Old(*row) for row in connection.execute(query.order_by(hit.c.request_id).limit(limit))]


def delete_calls(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """How many rows went."""
    return connection.execute(sa.delete(call).where(call.c.seq.in_(seqs))).rowcount


def delete_hits(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """How many rows went."""
    return connection.execute(sa.delete(hit).where(hit.c.seq.in_(seqs))).rowcount


def empty_calls(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """Rows stay, and lose their texts; gives how many."""
    bare = {"input_text": None, "output_text": None, "extra": None}
    return connection.execute(sa.update(call).where(call.c.seq.in_(seqs)).values(bare)).rowcount


def ends(connection: sa.Connection) -> tuple[int, int]:
    """The highest numbers of (calls, hits): where a search ends."""
    last = [connection.scalar(sa.select(sa.func.max(table.c.seq))) or 0 for table in (call, hit)]
    return last[0], last[1]


def search_calls(
    connection: sa.Connection, start: int, project: str, digest: str, sessions: Collection[str]
) -> list[Theirs]:
    """Calls of somebody's in the range that begins behind ``start``."""
    query = _calls().where(call.c.seq > start, call.c.seq <= start + RANGE, call.c.project == project)
    return [Theirs(*row) for row in connection.execute(query.where(_whose(call, digest, sessions)))]


def search_hits(connection: sa.Connection, start: int, digest: str, sessions: Collection[str]) -> list[Theirs]:
    """The same of hits; of which project a session is must be asked of the key."""
    query = _hits().where(hit.c.seq > start, hit.c.seq <= start + RANGE)
    return [Theirs(*row) for row in connection.execute(query.where(_whose(hit, digest, sessions)))]


def named(connection: sa.Connection, project: str, requests: Sequence[str]) -> tuple[list[Theirs], list[Theirs]]:
    """(Calls, hits) by their ids, as far as they still tell something about somebody."""
    some: tuple[list[Theirs], list[Theirs]] = ([], [])
    telling_call = sa.or_(
        *(
            call.c[name] != ""
            for name in ("user_digest", "session", "client_request_id", "input_digest", "fingerprint")
        ),
        _has_texts(),
    )
    telling_hit = sa.or_(*(hit.c[name] != "" for name in ("user_digest", "session", "client_request_id")))
    for begin in range(0, len(requests), _MANY):
        part = requests[begin : begin + _MANY]
        query = _calls().where(call.c.request_id.in_(part), call.c.project == project, telling_call)
        some[0].extend(Theirs(*row) for row in connection.execute(query))
        query = _hits().where(hit.c.request_id.in_(part), telling_hit)
        some[1].extend(Theirs(*row) for row in connection.execute(query))
    return some


def forget_calls(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """Rows stay as figures, and no longer tell whose they were or what was said."""
    bare = dict.fromkeys(("user_digest", "session", "client_request_id", "input_digest", "fingerprint", "tags"), "")
    values = {**bare, "input_text": None, "output_text": None, "extra": None}
    return connection.execute(sa.update(call).where(call.c.seq.in_(seqs)).values(values)).rowcount


def forget_hits(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """The same of hits."""
    bare = dict.fromkeys(("user_digest", "session", "client_request_id"), "")
    return connection.execute(sa.update(hit).where(hit.c.seq.in_(seqs)).values(bare)).rowcount


def _has_texts() -> sa.ColumnElement[bool]:
    return sa.or_(*(call.c[name].is_not(None) for name in ("input_text", "output_text", "extra")))


def _whose(table: sa.Table, digest: str, sessions: Collection[str]) -> sa.ColumnElement[bool]:
    """By the user; and by conversation, where no other user is named."""
    found: list[sa.ColumnElement[bool]] = []
    if digest:
        found.append(table.c.user_digest == digest)
    if sessions:
        of_session = table.c.session.in_(sorted(sessions))
        found.append(of_session & (table.c.user_digest == "") if digest else of_session)
    return sa.or_(sa.false(), *found)


def _calls() -> sa.Select[tuple[object, ...]]:
    names = ("seq", "request_id", "at", "intent", "session", "user_digest", "key_id", "generation", "alias", "target")
    return sa.select(*(call.c[name] for name in names))


def _hits() -> sa.Select[tuple[object, ...]]:
    names = ("seq", "request_id", "at")
    rest = (sa.null(), *(hit.c[name] for name in ("session", "user_digest", "key_id")))
    return sa.select(*(hit.c[name] for name in names), *rest)


class Talk(msgspec.Struct, frozen=True):
    """A conversation, as far as rules and holds ask about it."""

    project: str
    name: str
    at: int
    """When it was heard of last."""
    intent: str


def talks(connection: sa.Connection, since: tuple[int, str, str], before: int, limit: int) -> list[Talk]:
    """Conversations that ended before ``before``, behind ``since`` (end, project, name), oldest first."""
    one = conversation.c
    place = sa.tuple_(one.ended, one.project, one.name)
    query = sa.select(one.project, one.name, one.ended, one.intent)
    query = query.where(one.ended < before, place > sa.tuple_(*map(sa.literal, since)))
    return [Talk(*row) for row in connection.execute(query.order_by(one.ended, one.project, one.name).limit(limit))]


def talked(connection: sa.Connection, project: str, names: Sequence[str]) -> list[Talk]:
    """Conversations of a project by session, or by request where no session was named."""
    one = conversation.c
    found: list[Talk] = []
    for begin in range(0, len(names), _MANY):
        query = sa.select(one.project, one.name, one.ended, one.intent)
        query = query.where(one.project == project, one.name.in_(names[begin : begin + _MANY]))
        found += [Talk(*row) for row in connection.execute(query)]
    return found


def delete_talks(connection: sa.Connection, found: Sequence[Talk]) -> int:
    """How many rows went; what they added to the sums stays."""
    gone = 0
    for one in found:
        mine = (conversation.c.project == one.project, conversation.c.name == one.name)
        gone += connection.execute(sa.delete(conversation).where(*mine)).rowcount
    return gone
