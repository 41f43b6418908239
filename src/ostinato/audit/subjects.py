"""Whose data a commitment was made to: one key for each subject, which can be destroyed."""

import hmac

import sqlalchemy as sa

from ostinato.audit import keys, tables
from ostinato.audit.keys import Vault


def key_for(connection: sa.Connection, vault: Vault, subject: str, now: int) -> tuple[int, bytes]:
    """(generation, key) for new commitments; makes a key where there is none, or where the last was destroyed.

    The caller holds the log's head, so two never make one at the same time.
    """
    table = tables.subject_key
    row = connection.execute(
        sa.select(table.c.generation, table.c.wrapped)
        .where(table.c.subject == subject)
        .order_by(table.c.generation.desc())
        .limit(1)
    ).first()
    if row is not None and row.wrapped is not None:
        key = vault.unwrap(row.wrapped, _name(subject, row.generation))
        if key is not None:
            return row.generation, key
        # Wrapped under a secret that is lost: what it opened stays closed; from here on there is a new one.
    generation = 1 if row is None else row.generation + 1
    key = keys.new_key()
    connection.execute(
        sa.insert(table).values(
            subject=subject,
            generation=generation,
            wrapped=vault.wrap(key, _name(subject, generation)),
            created_at=now,
        )
    )
    return generation, key


def key_of(connection: sa.Connection, vault: Vault, subject: str, generation: int) -> bytes | None:
    """The key that a leaf's commitments were made with; ``None`` where it was destroyed."""
    table = tables.subject_key
    wrapped = connection.scalar(
        sa.select(table.c.wrapped).where(table.c.subject == subject, table.c.generation == generation)
    )
    return None if wrapped is None else vault.unwrap(wrapped, _name(subject, generation))


def destroy(connection: sa.Connection, subject: str, now: int) -> tuple[int, int]:
    """Destroy a subject's keys and texts; gives (keys, texts) that there were."""
    table = tables.subject_key
    gone = connection.execute(
        sa.update(table)
        .where(table.c.subject == subject, table.c.wrapped.is_not(None))
        .values(wrapped=None, destroyed_at=now)
    ).rowcount
    texts = connection.execute(sa.delete(tables.text).where(tables.text.c.subject == subject)).rowcount
    return gone, texts


def matches(key: bytes, index: int, field: str, value: bytes, found: str) -> bool:
    """Whether ``found`` is the commitment to ``value`` in that field of that leaf."""
    return hmac.compare_digest(keys.commitment(key, index, field, value), found)


def _name(subject: str, generation: int) -> str:
    return f"{subject} {generation}"
