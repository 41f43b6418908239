"""Effects outside ``control``: an intent, the effect itself, an outcome; resumed where a crash came between.

The database cannot undo what happens in a cache. So the intent is written down first, and the effect must be one that
may happen twice: whoever finds an intent without an outcome later carries it out again.
"""

from typing import Any, cast

import msgspec
import sqlalchemy as sa

from ostinato.audit import tables
from ostinato.audit.model import Deed, Occasion
from ostinato.audit.sequencer import Sequencer
from ostinato.core import ids


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """An intended effect whose outcome is not written down."""

    id: str
    kind: str
    intent: int
    """Index of the intent's leaf."""
    deed: Deed
    payload: Any
    """What the one who carries it out needs; gone as soon as the outcome is written."""
    begun_at: int


def intend(
    log: Sequencer, connection: sa.Connection, deed: Deed, kind: str, payload: object, occasion: Occasion | None
) -> str:
    """Write the intent down; gives the effect's id."""
    now = log.clock.now()
    intended = msgspec.structs.replace(deed, outcome="intended")
    index = log.append(connection, intended, occasion)
    # What the commitments were made to does not lie here in clear, beside them.
    kept = msgspec.structs.replace(deed, before=None, after=None, reason="")
    identifier = ids.new(now)
    connection.execute(
        sa.insert(tables.effect).values(
            id=identifier,
            kind=kind,
            intent=index,
            deed=msgspec.to_builtins(kept),
            payload={"value": payload},
            begun_at=now,
        )
    )
    return identifier


def finish(
    log: Sequencer,
    connection: sa.Connection,
    identifier: str,
    outcome: str,
    facts: dict[str, str | int],
    occasion: Occasion | None,
) -> int | None:
    """Write the outcome down; gives its leaf's index, ``None`` where somebody else has done so already."""
    found = connection.execute(
        sa.select(tables.effect).where(tables.effect.c.id == identifier).with_for_update()
    ).first()
    if found is None:
        return None
    effect = _effect(found)
    connection.execute(sa.delete(tables.effect).where(tables.effect.c.id == identifier))
    ended = msgspec.structs.replace(
        effect.deed, outcome=outcome, facts={**effect.deed.facts, **facts, "intent": effect.intent}
    )
    return log.append(connection, ended, occasion)


def open_since(connection: sa.Connection, before: int, kinds: list[str]) -> list[Effect]:
    """Effects of these kinds that were intended before then, the oldest first."""
    table = tables.effect
    chosen = sa.select(table).where(table.c.begun_at < before, table.c.kind.in_(kinds)).order_by(table.c.begun_at)
    return [_effect(row) for row in connection.execute(chosen.limit(1_000))]


def _effect(row: sa.Row[Any]) -> Effect:
    return Effect(
        id=row.id,
        kind=row.kind,
        intent=row.intent,
        deed=msgspec.convert(row.deed, Deed),
        payload=cast("dict[str, Any]", row.payload)["value"],
        begun_at=row.begun_at,
    )
