"""The whole gateway inside the test's own process, without sockets: clock, providers and rooms can be reached.

``async with inside(toml) as world`` builds and starts the real ``App`` on a directory of its own, with a fake of known
answers as its provider. ``world.ask(...)`` passes a request in as the protocol short cut does: by raw body, then whole.
"""

import asyncio
import contextlib
import json
import tempfile
import tomllib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from ostinato import access, config
from ostinato.app import App
from ostinato.config.reading import Source
from ostinato.core.clock import Clock, ManualClock
from ostinato.gateway import Reply, StreamReply, controls
from ostinato.gateway.repeat import Tried
from ostinato.providers import Fake
from ostinato.web.proxy import DIRECT, OPERATIONS

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
EMBEDDINGS, COUNT = "/v1/embeddings", "/v1/messages/count_tokens"

SYSTEM = access.SystemActor("test")

PROVIDERS = """
[access]
requests_per_minute = 1000000000
[providers.fake]
kind = "fake"
[providers.other]
kind = "fake"
"""
BASE = f"""{PROVIDERS}
[models.plain]
targets = ["fake/plain"]
[models.vectors]
targets = ["fake/vectors"]
kind = "embedding"
[prices."fake/plain"]
input = 1.0
output = 4.0
[prices."fake/vectors"]
input = 1.0
output = 0.0
"""


class Got:
    """A reply: status, headers (lower case), body. A stream's body is what came of it."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def cache(self) -> str:
        """``ostinato-cache`` without its reason."""
        return self.headers.get("ostinato-cache", "").partition(";")[0]

    @property
    def reason(self) -> str:
        return self.headers.get("ostinato-cache", "").partition("reason=")[2]

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of every server-sent event but ``[DONE]``."""
        found = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(data) for data in found if data != b"[DONE]"]

    @property
    def text(self) -> str:
        """What the model said, in whichever wire."""
        if self.body.startswith((b"data:", b"event:")):
            return "".join(_fragment(event) for event in self.events())
        told = self.json()
        if "choices" in told:
            return told["choices"][0]["message"]["content"] or ""
        if "output" in told:
            return "".join(part["text"] for item in told["output"] for part in item.get("content", []))
        return "".join(block.get("text", "") for block in told["content"])


def _fragment(event: Any) -> str:
    if event.get("choices"):
        return event["choices"][0]["delta"].get("content") or ""
    if event.get("type") == "content_block_delta":
        return event["delta"].get("text", "")
    if event.get("type") == "response.output_text.delta":
        return event["delta"]
    return ""


class Stream:
    """An answer that is still coming."""

    def __init__(self, reply: StreamReply, headers: dict[str, str]) -> None:
        self.status = reply.status
        self.headers = headers
        self.chunks: AsyncGenerator[bytes, None] = reply.chunks
        self._release = reply.release

    async def read(self) -> Got:
        """Everything to the end."""
        try:
            return Got(self.status, self.headers, b"".join([chunk async for chunk in self.chunks]))
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Hang up, or have done with it."""
        await self.chunks.aclose()
        self._release()


class World:
    """A running gateway."""

    def __init__(self, app: App, key: str) -> None:
        self.app = app
        self.key = key
        """The administrator's."""

    @property
    def clock(self) -> Any:
        return self.app.clock

    @property
    def fake(self) -> Fake:
        """The provider behind ``plain``."""
        return self.provider("fake")

    def provider(self, name: str) -> Fake:
        found = self.app.providers[name]
        assert isinstance(found, Fake)
        return found

    async def new_key(self, project: str | None = None, **grant: Any) -> str:
        """The secret of a key that may call models."""
        wanted = access.Grant(**{"permissions": frozenset({"chat:call"}), **grant})
        _, secret = await self.app.access.create_key(SYSTEM, "a key", wanted, project or await self.first_project())
        return secret

    async def first_project(self) -> str:
        if self.key:
            # The administrator's own: ids made at one moment of the test's clock are in no order.
            return self.app.access.authenticate(self.key, self.clock.now()).project
        return (await self.app.access.list_projects(SYSTEM))[0].id

    async def new_project(self, name: str) -> str:
        organization = (await self.app.access.list_organizations(SYSTEM))[0]
        made = await self.app.access.create_project(SYSTEM, name, name, organization=organization.id)
        return made.id

    async def declare(self, kind: str, name: str, body: Any) -> None:
        """Declare a model, price, policy or rule, and wait until it holds. ``None`` removes it."""
        if body is None:
            await self.app.declarations.remove(kind, name, "test")
        else:
            await self.app.declarations.put(kind, name, body, "test")
        await self.app.standing.follow(kind)

    async def begin(
        self,
        path: str = CHAT,
        body: Any = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
        *,
        raw: bool = True,
    ) -> Got | Stream:
        """Ask; a stream is given as it begins. ``raw=False``: as if there were no look-up by raw body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        token = self.key if key is None else key
        sent = [(b"authorization", b"Bearer " + token.encode())] if token else []
        sent += [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        tried: Any = None
        if not raw:
            tried = Tried(controls.read(sent), b"", self.clock.monotonic())
        elif path.encode() in DIRECT:
            tried = self.app.gateway.repeater.whole(path.encode(), sent, data)
            if isinstance(tried, bytes):
                return _parsed(tried)
        _, operation = OPERATIONS[path]
        reply = await self.app.gateway.handle(operation, path, sent, data, tried)
        found = {name.decode(): value.decode("latin-1") for name, value in reply.headers}
        if isinstance(reply, StreamReply):
            return Stream(reply, found)
        assert isinstance(reply, Reply)
        return Got(reply.status, found, reply.body)

    async def ask(self, *arguments: Any, **options: Any) -> Got:
        """Ask and read the whole answer."""
        begun = await self.begin(*arguments, **options)
        return begun if isinstance(begun, Got) else await begun.read()

    async def patiently(self, *arguments: Any, step: float = 0.1, **options: Any) -> Got:
        """The same, winding the clock while it lasts: for what waits between two tries."""
        task = asyncio.create_task(self.ask(*arguments, **options))
        await pass_time(self, [task], step)
        return task.result()

    async def chat(self, text: str, headers: dict[str, str] | None = None, **fields: Any) -> Got:
        """Ask one question as a chat completion; ``key`` and ``raw`` as in :meth:`begin`."""
        options = {name: fields.pop(name) for name in ("key", "raw") if name in fields}
        return await self.ask(CHAT, question(text, **fields), headers, **options)

    async def rows(self, count: int) -> list[Any]:
        """The ledger's rows, oldest first, as soon as there are ``count``."""
        for _ in range(1000):
            if self.app.recorder.depth == 0:
                rows: list[Any] = []
                after = "0.0"  # without a cursor the newest come
                while (page := await self.app.ledger.tail(after, 1000)).rows:
                    rows += page.rows
                    after = page.after
                if len(rows) >= count:
                    return rows
            await asyncio.sleep(0.02)
        raise AssertionError(f"there never were {count} rows")

    def key_id(self, secret: str) -> str:
        return self.app.access.authenticate(secret, self.clock.now()).key_id

    async def budget(self, secret: str) -> Any:
        """What a key has spent and holds, as the database knows it: told every second of the (manual) clock."""
        slices = self.app.access.budgets._slices
        for _ in range(500):
            self.clock.advance(1.1)
            await asyncio.sleep(0.005)
            if not any(piece.changed or piece.operation is not None for piece in slices.values()):
                break
        return await self.app.access.key_budget(SYSTEM, self.key_id(secret))

    def in_flight(self, secret: str) -> int:
        """Requests of a key under way."""
        return self.app.access.limits.inflight(self.key_id(secret))


def question(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "plain", "messages": [{"role": "user", "content": text}], **fields}


def _parsed(response: bytes) -> Got:
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return Got(int(status.split()[1]), headers, body)


def configured(toml: str, directory: str, **sections: Any) -> config.Config:
    tables = tomllib.loads(toml)
    tables["storage"] = {"directory": directory, **tables.get("storage", {})}
    tables.setdefault("savings", {"holdout_share": 0.0})  # or a hundredth of all questions would never hit
    return config.parse({**tables, **sections}, Source("test.toml", toml), {})


@contextlib.asynccontextmanager
async def inside(extra: str = "", clock: Clock | None = None, *, base: str = BASE) -> AsyncIterator[World]:
    """A started gateway; the clock moves by hand unless another is given."""
    with tempfile.TemporaryDirectory(prefix="ost-") as directory:
        app = App(configured(base + extra, directory), clock or ManualClock())
        await app.start()
        try:
            _, _, secret = await app.access.first_start()
            yield World(app, secret)
        finally:
            await app.stop()


async def settle(turns: int = 30) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], most: int = 2000) -> None:
    """Let everything run, threads too, until something is so."""
    for _ in range(most):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never comes to be")


async def pass_time(world: World, tasks: list[asyncio.Task[Any]], step: float = 0.1, most: int = 400) -> None:
    """Wind the clock until all tasks are done."""
    for _ in range(most):
        await settle()
        if all(task.done() for task in tasks):
            return
        await asyncio.sleep(0.001)  # for what waits for a database, in a thread
        world.clock.advance(step)
    raise AssertionError("they never end")
