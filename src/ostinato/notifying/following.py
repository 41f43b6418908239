"""Messages of what is written in the audit log: the log itself is the outbox of ``control``.

A change and its leaf stand together. So whatever is followed here is told at least once, even if the process dies right
after the change; how far the log has been read moves in the transaction that writes the messages, so it is told once.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from ostinato import audit
from ostinato.audit import Entry
from ostinato.notifying import events, outbox, payload
from ostinato.notifying.model import Message, is_event
from ostinato.storage import Database

_OWN = frozenset({"webhooks:test", "webhooks:resend"})
_NAME = "audit"
_AT_ONCE = 500

Write = Callable[[sa.Connection, Sequence[Message]], None]
"""Writes messages with their deliveries in a transaction of ``work``."""


class Following:
    """Reads the log from where it, or another process, has come to."""

    def __init__(self, log: audit.Log, work: Database, write: Write) -> None:
        self._log = log
        self._work = work
        self._write = write

    async def look(self) -> int:
        """Tell what is new; gives how many leaves were read. At its very first time it begins at the end."""
        size = await self._log.size()
        start = await self._work.read(_position)
        if start is None:
            await self._work.run(lambda connection: outbox.position(connection, _NAME, size))
            return 0
        if start > size:
            # The log is an older one, from a backup: what comes now is new, under indices that were read before.
            await self._work.run(lambda connection: outbox.move(connection, _NAME, size))
            return 0
        read = 0
        while start < size:
            end = min(start + _AT_ONCE, size)
            entries = await self._log.page(audit.Filter(), after=end, limit=end - start)
            read += await self._work.run(lambda c, entries=entries, end=end: self._tell(c, entries, end))
            start = end
        return read

    def _tell(self, connection: sa.Connection, entries: Sequence[Entry], end: int) -> int:
        """Of two processes the second waits here, and finds that there is nothing left to tell."""
        begin = outbox.position(connection, _NAME, 0)
        if begin >= end:
            return 0
        fresh = [entry for entry in reversed(entries) if entry.index >= begin]
        messages = [made for entry in fresh if (made := message_of(entry)) is not None]
        if messages:
            self._write(connection, messages)
        outbox.move(connection, _NAME, end)
        return len(fresh)


def message_of(entry: Entry) -> Message | None:
    """What is told of a leaf: its public facts, never its reason or what was changed. ``None``: nothing."""
    leaf = entry.leaf
    resource = leaf.action.partition(":")[0]
    if (
        leaf.action in _OWN
        or resource not in events.AUDITED
        or leaf.outcome not in ("done", "")
        or not is_event(leaf.action)
    ):
        return None
    data = {"leaf": entry.index, "actor": leaf.actor, "principal": leaf.principal, "facts": leaf.facts}
    return payload.compose(
        leaf.at, leaf.org, leaf.project, leaf.action, leaf.resource, data, key=f"leaf {entry.index} {entry.hash}"
    )


def _position(connection: sa.Connection) -> int | None:
    found = connection.scalar(sa.select(outbox.cursor.c.position).where(outbox.cursor.c.name == _NAME))
    return None if found is None else int(found)
