"""A receiver on loopback, and rooms to notify it from."""

import asyncio
import contextlib
import http.client
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, notifying, outbound, storage
from ostinato.access import SystemActor
from ostinato.core.clock import Clock
from ostinato.notifying import tables

SYSTEM = SystemActor("test")
SECRET = b"s" * 32


class Hit(msgspec.Struct):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A real HTTP server, which answers as told."""

    def __init__(self) -> None:
        self.hits: list[Hit] = []
        self.status: int | Callable[[Hit], int] = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.delay = 0.0
        self.most = 0
        self.open = 0
        self.arrived = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port or self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody is there any more: connections are refused."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook?token=t0ken"

    @property
    def ids(self) -> list[str]:
        return [hit.headers["webhook-id"] for hit in self.hits]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            hit = Hit(first.split()[1], headers, await reader.readexactly(int(headers.get("content-length", "0"))))
            self.hits.append(hit)
            self.arrived.set()
            if self.delay:
                await asyncio.sleep(self.delay)
            status = self.status if isinstance(self.status, int) else self.status(hit)
            more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            said = http.client.responses.get(status, "?")
            answer = f"HTTP/1.1 {status} {said}\r\ncontent-length: {len(self.body)}\r\nconnection: close\r\n{more}\r\n"
            writer.write(answer.encode() + self.body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            with contextlib.suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()


class House:
    """One process's rooms over two databases."""

    def __init__(self, control: storage.Database, work: storage.Database, clock: Any, log: audit.Log) -> None:
        self.control, self.work, self.clock, self.log = control, work, clock, log
        self.notices = storage.Notices()
        self.client = outbound.Client(outbound.Settings(connect_timeout=1.0), clock)
        self.org = self.project = ""

    async def process(self, *, follow: bool = False, alone: bool = False, **settings: Any) -> notifying.Notifying:
        """A ``Notifying`` that is told when to look: its own loops wait for the clock."""
        wanted = {"allow_private": ("127.0.0.1",), "timeout_seconds": 2.0, **settings}
        room = notifying.Notifying(
            self.control,
            self.work,
            self.clock,
            self.notices,
            self.log,
            self.client,
            notifying.Settings(**wanted),
            secret=SECRET,
            alone=alone,
            follow=follow,
            jitter=lambda: 1.0,
        )
        await room.start()
        return room

    async def states(self) -> dict[str, int]:
        query = sa.select(tables.delivery.c.state, sa.func.count()).group_by(tables.delivery.c.state)
        return {row[0]: row[1] for row in await self.work.read(lambda c: c.execute(query).all())}


@contextlib.asynccontextmanager
async def house(control_url: str, work_url: str, clock: Clock, *, seed: bool = True) -> AsyncIterator[House]:
    copied = seed and _copied(control_url, work_url)
    control, work = storage.open_database("control", control_url), storage.open_database("work", work_url)
    try:
        if not copied:
            storage.migrate(control)
            storage.migrate(work)
        log = audit.Log(control, clock, secret=SECRET)
        made = House(control, work, clock, log)
        await made.client.start()
        if seed:
            door = access.Access(control, made.notices, clock, access.Settings(), log)
            org = await door.create_organization(SYSTEM, "acme", "Acme")
            project = await door.create_project(SYSTEM, "main", "Main", organization="acme")
            made.org, made.project = org.id, project.id
        try:
            yield made
        finally:
            await made.client.close()
    finally:
        control.close()
        work.close()


_MIGRATED: dict[str, bytes] = {}
"""Empty databases: to migrate each anew would be most of the time of these tests."""


def _copied(*urls: str) -> bool:
    """Make SQLite files as the migrations make them; whether that is what these URLs are of."""
    if not all(url.startswith("sqlite") for url in urls):
        return False
    for name, url in zip(("control", "work"), urls, strict=True):
        if name not in _MIGRATED:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "empty.db"
                database = storage.open_database(name, path)
                storage.migrate(database)
                database.transact(lambda c: None)
                database.close()
                _MIGRATED[name] = path.read_bytes()
        Path(url.removeprefix("sqlite:///")).write_bytes(_MIGRATED[name])
    return True


def urls(database_url: str) -> tuple[str, str]:
    """Of ``control`` and ``work``: two files, or one PostgreSQL."""
    if database_url.startswith("sqlite"):
        return database_url.replace("database.db", "control.db"), database_url.replace("database.db", "work.db")
    return database_url, database_url


def files(path: Path) -> tuple[str, str]:
    return f"sqlite:///{path / 'control.db'}", f"sqlite:///{path / 'work.db'}"


async def endpoint(room: notifying.Notifying, home: House, url: str, *events: str, **more: Any) -> tuple[Any, str]:
    """An endpoint of the project, with its secret."""
    name = more.pop("name", "hook")
    kind = more.pop("kind", "webhook")
    wish = notifying.NewEndpoint(name=name, kind=kind, address=url, events=events or ("*",))
    return await room.endpoints.create(SYSTEM, wish, project=more.pop("project", home.project), **more)


async def deliver(room: notifying.Notifying, home: House) -> None:
    """Send everything that is due now; the room's own loop helps where it is woken."""
    table = tables.delivery
    there = [target.endpoint.id for target in room.endpoints.current.value if target.endpoint.enabled]
    for _ in range(5_000):
        await room.worker.look()
        await room.worker.idle()
        of = (table.c.state == "waiting", table.c.next_at <= home.clock.now(), table.c.endpoint.in_(there))
        left = sa.select(sa.func.count()).select_from(table).where(*of)
        if not await home.work.read(lambda c, left=left: c.scalar(left)):
            return
        await asyncio.sleep(0.002)
        there = [target.endpoint.id for target in room.endpoints.current.value if target.endpoint.enabled]
    raise AssertionError("it never ends")
