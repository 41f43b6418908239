"""Notices over PostgreSQL: LISTEN on a connection of our own, and a look at the counters each second."""

import asyncio
import logging
import threading
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa

from ostinato.storage import notice_wires
from ostinato.storage.database import CONNECT_SECONDS, Database

_log = logging.getLogger(__name__)

_SLICE = 0.25
"""Seconds that the listener waits at a time: how long ``close`` may take."""
_LONGEST_PAUSE = 5.0
_LONGEST_CLOSE = 2.0


class PostgresWire:
    """One thread that listens and looks, one that sends. Both go on trying while the server is away."""

    hears_marks = True

    def __init__(self, database: Database, notices: notice_wires.Hub, poll_seconds: float) -> None:
        self._database = database
        self._notices = notices
        self._poll_seconds = poll_seconds
        self._seen: dict[str, int] | None = None
        self._stop = threading.Event()
        self._outbox: dict[str, str] = {}
        self._filled = threading.Condition()
        self._threads: list[threading.Thread] = []

    async def start(self) -> None:
        """Note where the counters stand and begin. With the server away it begins all the same."""
        try:
            self._seen = await self._database.read(_versions)
        except Exception:
            _log.warning("PostgreSQL does not answer; notices of other processes come when it does.")
        for name, work in (("listen", self._listen), ("send", self._send)):
            thread = threading.Thread(target=work, name=f"ostinato-notices-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def send(self, topic: str, detail: str) -> None:
        """Tell the others soon; what waits for the same topic is joined into one notice without detail."""
        with self._filled:
            self._outbox[topic] = detail if topic not in self._outbox else ""
            self._filled.notify()

    async def close(self) -> None:
        """End both threads; one that hangs on a silent server is left to end by itself (they are daemons)."""
        self._stop.set()
        with self._filled:
            self._filled.notify()
        for _ in range(int(_LONGEST_CLOSE / 0.01)):
            if not any(thread.is_alive() for thread in self._threads):
                return
            await asyncio.sleep(0.01)

    def _listen(self) -> None:
        pause = _SLICE
        first = True
        while not self._stop.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {notice_wires.CHANNEL}")
                    if not first or self._seen is None:
                        # Whatever was told while we were deaf is lost: everybody looks again.
                        self._seen = self._look(connection)
                        self._notices.fire_all()
                    first = False
                    pause = _SLICE
                    self._hear(connection)
            except psycopg.Error as error:
                first = False
                _log.warning("The connection for notices is lost (%s); trying again.", type(error).__name__)
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _connect(self) -> "psycopg.Connection[Any]":
        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="ostinato-notices",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        waited = self._poll_seconds
        while not self._stop.is_set():
            if waited >= self._poll_seconds:
                waited = 0.0
                self._catch_up(self._look(connection))
            for heard in connection.notifies(timeout=min(_SLICE, self._poll_seconds)):
                self._take(heard.payload)
            waited += min(_SLICE, self._poll_seconds)

    def _look(self, connection: "psycopg.Connection[Any]") -> dict[str, int]:
        return dict(connection.execute("SELECT topic, version FROM notice").fetchall())

    def _catch_up(self, versions: dict[str, int]) -> None:
        seen = self._seen if self._seen is not None else {}
        for topic, version in versions.items():
            if version > seen.get(topic, 0):
                self._notices.fire(topic, "")
        self._seen = versions

    def _take(self, payload: str) -> None:
        try:
            process, topic, version, detail = msgspec.json.decode(payload, type=tuple[str, str, int, str])
        except msgspec.MsgspecError:
            _log.warning("Something that is not a notice came on channel %s.", notice_wires.CHANNEL)
            return
        seen = self._seen if self._seen is not None else {}
        last = seen.get(topic, 0)
        self._seen = {**seen, topic: max(version, last)}
        if process == self._notices.process and version <= last + 1:
            return
        # A gap in the numbers means that we missed one: the detail of this one does not tell everything.
        self._notices.fire(topic, detail if version == last + 1 else "")

    def _send(self) -> None:
        pause = _SLICE
        while True:
            with self._filled:
                while not self._outbox and not self._stop.is_set():
                    self._filled.wait()
                if not self._outbox:
                    return
                topic, detail = next(iter(self._outbox.items()))
                del self._outbox[topic]
            try:
                self._database.transact(lambda c: notice_wires.mark(c, topic, detail, self._notices.process))  # noqa: B023
                pause = _SLICE
            except Exception as error:
                if self._stop.is_set():
                    return
                _log.warning("A notice of %r could not be sent (%s); trying again.", topic, type(error).__name__)
                with self._filled:
                    self._outbox.setdefault(topic, "")
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)


def _versions(connection: sa.Connection) -> dict[str, int]:
    rows = connection.execute(sa.text("SELECT topic, version FROM notice"))
    return {str(topic): int(version) for topic, version in rows}
