"""Something changed: told at once in this process, and within two seconds in every other one.

A notice names a topic (``access prompts routes prices policies cache``) and may carry a short detail; an empty detail
means *something of this topic changed, look for yourself*. Subscribers must be content with that, and with hearing
twice.

On PostgreSQL a notice is also counted in the table ``notice``, in the transaction of the change where the writer says
``mark``, and sent by NOTIFY when that commits. Every process listens on a connection of its own and looks at the
counters each second, so a notification that got lost, or a process that died between commit and publish, is healed.
Where there is a Valkey, its publish/subscribe can carry notices too (for databases behind a pooler that drops LISTEN).
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable

import sqlalchemy as sa

from ostinato.core.errors import Invalid
from ostinato.storage import notice_wires
from ostinato.storage.database import Database

_log = logging.getLogger(__name__)

Callback = Callable[[str], None]
"""Called with the detail of a notice, on the event loop; must return at once."""

DETAIL_BYTES = 4_000
"""PostgreSQL refuses a payload above 8,000 bytes; longer details are sent as empty ones."""


class Notices:
    """Publish and subscribe. Works without ``start`` inside one thread; ``start`` ties it to the event loop and opens
    the wires to other processes: of ``database`` where that is PostgreSQL, of a Valkey where ``valkey_url`` is given.
    """

    def __init__(self, database: Database | None = None, valkey_url: str = "", *, poll_seconds: float = 1.0) -> None:
        self.process = secrets.token_hex(8)
        """Who we are, so that our own notices are not taken for another's."""
        self._callbacks: dict[str, list[Callback]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._database = database
        self._poll_seconds = poll_seconds
        self._valkey_url = valkey_url
        self._wires: list[notice_wires.Wire] = []

    async def start(self) -> None:
        """Begin to hear other processes. Does not fail because a server is away; call it before loading snapshots."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        if self._database is not None and self._database.dialect == "postgresql":
            from ostinato.storage.notices_postgres import PostgresWire  # noqa: PLC0415 - only when scaled out

            self._wires.append(PostgresWire(self._database, self, self._poll_seconds))
        if self._valkey_url:
            from ostinato.storage.notices_valkey import ValkeyWire  # noqa: PLC0415 - only when scaled out

            self._wires.append(ValkeyWire(self._valkey_url, self))
        for wire in self._wires:
            await wire.start()

    async def close(self) -> None:
        """Stop hearing and telling others; may be called twice."""
        wires, self._wires = self._wires, []
        for wire in wires:
            await wire.close()
        self._loop = None

    def subscribe(self, topic: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback(detail)`` at every notice of ``topic``; gives a function that ends it."""
        callbacks = self._callbacks.setdefault(topic, [])
        callbacks.append(callback)

        def end() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return end

    def publish(self, topic: str, detail: str = "", *, marked: bool = False) -> None:
        """Tell everybody, after the change is committed; from any thread, never blocks.

        ``marked``: the change was announced to other processes by ``mark`` in its own transaction.
        """
        if len(detail.encode()) > DETAIL_BYTES:
            raise Invalid("The detail of a notice is too long.", code="notice_too_long")
        self.fire(topic, detail)
        for wire in self._wires:
            if not (marked and wire.hears_marks):
                wire.send(topic, detail)

    def mark(self, connection: sa.Connection, topic: str, detail: str = "") -> None:
        """Count (and on PostgreSQL, send) a notice within the transaction of the change: it is told if and only if
        that commits, even if this process dies right after. Follow it by ``publish(topic, detail, marked=True)``."""
        notice_wires.mark(connection, topic, detail, self.process)

    def fire(self, topic: str, detail: str) -> None:
        """Call the subscribers of this process, on the event loop where there is one."""
        self.call(self._tell, topic, detail)

    def call(self, function: Callable[[str, str], None], topic: str, detail: str) -> None:
        """Call ``function`` on the event loop, now if this is its thread; for wires."""
        loop = self._loop
        if loop is None or threading.get_ident() == self._thread:
            function(topic, detail)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(function, topic, detail)

    def fire_all(self) -> None:
        """Tell every subscriber that something may have changed: after a time of not hearing."""
        for topic in list(self._callbacks):
            self.fire(topic, "")

    def _tell(self, topic: str, detail: str) -> None:
        for callback in tuple(self._callbacks.get(topic, ())):
            try:
                callback(detail)
            except Exception:
                _log.exception("A subscriber of %r failed; the others are told all the same.", topic)
