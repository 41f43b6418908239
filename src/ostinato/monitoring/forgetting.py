"""Vectors of somebody's questions, found by the user's digest and by request."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from ostinato.monitoring.tables import vector
from ostinato.traces.tables import call

_MANY = 500


def count(connection: sa.Connection, project: str, digest: str, requests: Collection[str]) -> int:
    """How many vectors there are; a request that the ledger knows to be another project's has none."""
    return sum(
        connection.execute(sa.select(sa.func.count()).select_from(vector).where(one)).scalar_one()
        for one in _whose(project, digest, requests)
    )


def erase(
    connection: sa.Connection, project: str, digest: str, requests: Collection[str], kept: Collection[str] = ()
) -> int:
    """How many vectors went. ``kept``: requests whose vectors stay, as a hold keeps them."""
    wanted = set(requests) - set(kept)
    gone = 0
    for one in _whose(project, digest, wanted):
        if not kept:
            gone += connection.execute(sa.delete(vector).where(one)).rowcount
            continue
        found = connection.execute(sa.select(vector.c.request_id).where(one)).scalars()
        free = sorted(set(found) - set(kept))
        for begin in range(0, len(free), _MANY):
            some = vector.c.request_id.in_(free[begin : begin + _MANY])
            gone += connection.execute(sa.delete(vector).where(one & some)).rowcount
    return gone


def _whose(project: str, digest: str, requests: Collection[str]) -> Sequence[sa.ColumnElement[bool]]:
    """Conditions that do not overlap."""
    wanted = sorted(requests)
    others = vector.c.user_digest != digest if digest else sa.true()
    # Whoever erases names requests as they please; of those that the ledger knows no more, nobody knows whose they are.
    foreign = sa.exists().where(call.c.request_id == vector.c.request_id, call.c.project != project)
    found = [
        vector.c.request_id.in_(wanted[begin : begin + _MANY]) & others & ~foreign
        for begin in range(0, len(wanted), _MANY)
    ]
    return [vector.c.user_digest == digest, *found] if digest else found
