"""``AsyncClient``: the same for an event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Any, Literal, TypeVar, Unpack, overload

import httpx

from ostinato.client import asking, push, replies, telling
from ostinato.client.asking import Asked
from ostinato.client.fetching import settled
from ostinato.client.prompt import Prompt
from ostinato.client.refusals import HELD, held, refusal, unreachable
from ostinato.client.replies import Incoming, Provenance, Reply
from ostinato.client.settings import settle
from ostinato.client.shelf import Key, Monotonic, Shelf
from ostinato.core.clock import SystemClock
from ostinato.core.errors import OstinatoError, Unavailable
from ostinato.wire.model import Json, WireName

T = TypeVar("T")


class AsyncStream:
    """An answer that is still coming: iterate over its text, then ask for ``reply()``.

    Use it in an ``async with`` block, or read it to the end: otherwise its connection stays open until ``close()``.
    """

    def __init__(self, response: httpx.Response, name: WireName, address: str) -> None:
        self._response = response
        self._address = address
        self._incoming = Incoming(name, response.headers)
        self._pieces = self._read()
        self.provenance = replies.provenance(response.headers)
        """What the headers told; the cost of a stream is not known yet."""

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reply(self) -> Reply:
        """The whole answer, after reading what is left of it; after ``close``, what had come."""
        async for _ in self._pieces:
            pass
        return self._incoming.reply()

    async def close(self) -> None:
        """Hang up. The server stops the model, unless the policy says to finish and keep the answer."""
        await self._pieces.aclose()
        await self._response.aclose()

    async def _read(self) -> AsyncGenerator[str, None]:
        try:
            async for data in self._response.aiter_raw():
                for piece in self._incoming.feed(data):
                    yield piece
            self._incoming.end()
        except httpx.HTTPError as error:
            raise unreachable(self._address, error) from error
        finally:
            await self._response.aclose()


class _Loop:
    """What belongs to one event loop of one process: connections, locks, the listening task."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.process = os.getpid()
        self.http: httpx.AsyncClient | None = None
        self.push: push.Task | None = None
        self.turns: dict[Key, asyncio.Lock] = {}

    async def close(self) -> None:
        listening, self.push = self.push, None
        http, self.http = self.http, None
        if listening is not None:
            await listening.stop()
        if http is not None:
            await http.aclose()


class AsyncClient:
    """Prompts and models of one Ostinato server, for any number of tasks of one event loop at a time.

    Arguments, methods, errors and what they mean are those of :class:`ostinato.Client`. Nothing is connected before
    the first call; the listening task starts with the first prompt. In another event loop, or after a fork, it makes
    connections of its own; prompts at hand stay.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        ttl: float = 60.0,
        max_stale: float = 3600.0,
        timeout: float = 120.0,
        prompt_timeout: float = 5.0,
        push: bool = True,
        project: str = "",
        clock: Monotonic | None = None,
    ) -> None:
        self._settings = settle(
            base_url,
            api_key,
            ttl=ttl,
            max_stale=max_stale,
            timeout=timeout,
            prompt_timeout=prompt_timeout,
            push=push,
            project=project,
        )
        self._shelf = Shelf(clock or SystemClock(), ttl=ttl, max_stale=max_stale)
        self._here: _Loop | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"AsyncClient({self._settings.base_url!r})"

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close connections and stop listening; may be called twice."""
        self._closed = True
        here, self._here = self._here, None
        if here is not None and here.loop is asyncio.get_running_loop() and here.process == os.getpid():
            await here.close()

    @property
    def listening(self) -> bool:
        """Whether the server tells this client of changes right now; without, prompts are refreshed by ``ttl``."""
        here = self._here
        return here is not None and here.push is not None and here.push.listening

    async def prompt(
        self,
        name: str,
        *,
        label: str | None = None,
        version: int | None = None,
        session: str | None = None,
        user: str | None = None,
    ) -> Prompt:
        """As :meth:`ostinato.Client.prompt`."""
        key = asking.key_of(name, label, version, session, user)
        here = self._loop()
        if self._settings.push and here.push is None:
            here.push = push.Task(self._settings, self._shelf)
        found = self._shelf.fresh(key)
        if found is not None:
            return found
        # One task asks for a prompt, others that want the same wait for what it gets.
        turn = here.turns.setdefault(key, asyncio.Lock())
        try:
            async with turn:
                return self._shelf.fresh(key) or await self._fetch(here, key)
        finally:
            if here.turns.get(key) is turn and not turn.locked():
                del here.turns[key]

    async def _fetch(self, here: _Loop, key: Key) -> Prompt:
        while (found := await self._ask(here, key)) is None:
            pass
        return found

    async def _ask(self, here: _Loop, key: Key) -> Prompt | None:
        path, query = asking.prompt_query(key, self._settings)
        notices = self._shelf.notices
        etag = self._shelf.etag(key)
        try:
            response = await self._http(here).get(
                path,
                params=query,
                headers={"if-none-match": etag} if etag else {},
                timeout=self._settings.prompt_timeout,
            )
        except httpx.HTTPError as error:
            return self._shelf.without_server(key, unreachable(self._settings.base_url, error))
        return settled(self._shelf, key, notices, response, self._settings)

    @overload
    async def chat(self, *, stream: Literal[False] = False, **asked: Unpack[Asked]) -> Reply: ...
    @overload
    async def chat(self, *, stream: Literal[True], **asked: Unpack[Asked]) -> AsyncStream: ...
    async def chat(self, *, stream: bool = False, **asked: Unpack[Asked]) -> Reply | AsyncStream:
        """Call a prompt or a model, in OpenAI's words (``/v1/chat/completions``). The server renders the prompt."""
        return await self._call("openai.chat", stream, asked)

    @overload
    async def messages(self, *, stream: Literal[False] = False, **asked: Unpack[Asked]) -> Reply: ...
    @overload
    async def messages(self, *, stream: Literal[True], **asked: Unpack[Asked]) -> AsyncStream: ...
    async def messages(self, *, stream: bool = False, **asked: Unpack[Asked]) -> Reply | AsyncStream:
        """The same in Anthropic's words (``/v1/messages``), where ``max_tokens`` is needed."""
        return await self._call("anthropic.messages", stream, asked)

    async def _call(self, wire: WireName, stream: bool, asked: Asked) -> Reply | AsyncStream:
        call = asking.call(wire, stream, asked)
        http = self._http(self._loop())
        try:
            response = await http.send(
                http.build_request("POST", call.path, content=call.body, headers=call.headers), stream=stream
            )
            if response.status_code == HELD:
                raise held(response.headers)
            if response.status_code >= 400:
                raise refusal(response.status_code, response.headers, await response.aread())
        except httpx.HTTPError as error:
            raise unreachable(self._settings.base_url, error) from error
        if stream:
            return AsyncStream(response, wire, self._settings.base_url)
        return replies.read(wire, response.headers, response.content, self._settings.base_url)

    async def feedback(
        self,
        about: str | Reply | Provenance | None = None,
        value: bool | float | Literal["up", "down"] | None = None,
        *,
        name: str = "feedback",
        label: str = "",
        comment: str = "",
        outcome: str = "",
        outcome_value: bool | float = True,
        session: str = "",
        at: int | str | None = None,
        request_id: str = "",
    ) -> tuple[str, ...]:
        """As :meth:`ostinato.Client.feedback`."""
        return await self._carry(
            telling.feedback(
                about,
                value,
                name=name,
                label=label,
                comment=comment,
                outcome=outcome,
                outcome_value=outcome_value,
                session=session,
                at=at,
                request_id=request_id,
            )
        )

    async def push_dataset(
        self,
        name: str,
        examples: Iterable[Mapping[str, Any]],
        *,
        base: int | Literal["latest"] | None = None,
        note: str = "",
        shares: Mapping[str, float] | None = None,
    ) -> Json:
        """As :meth:`ostinato.Client.push_dataset`."""
        project = self._settings.project
        return await self._carry(telling.push(name, examples, base=base, note=note, shares=shares, project=project))

    async def pull_dataset(
        self, name: str, version: int | None = None, split: Literal["train", "dev"] | None = None
    ) -> list[Json]:
        """As :meth:`ostinato.Client.pull_dataset`."""
        return await self._carry(telling.pull(name, version, split, project=self._settings.project))

    async def _carry(self, steps: telling.Steps[T]) -> T:
        """Send what ``steps`` asks for, one request after another; gives what it comes to."""
        http = self._http(self._loop())
        answer: Any = None
        error: OstinatoError | None = None
        while True:
            wanted = telling.proceed(steps, answer, error)
            if not isinstance(wanted, telling.Request):
                return wanted.value
            answer, error = None, None
            try:
                response = await http.request(wanted.method, wanted.path, **telling.content(wanted))
                answer = telling.decoded(
                    self._settings.base_url, response.status_code, response.headers, response.content
                )
            except httpx.HTTPError as failure:
                error = unreachable(self._settings.base_url, failure)
            except OstinatoError as refused:
                error = refused

    def _loop(self) -> _Loop:
        """The running loop's own part."""
        if self._closed:
            raise Unavailable("This client is closed.", code="client_closed")
        running = asyncio.get_running_loop()
        here = self._here
        if here is None or here.loop is not running or here.process != os.getpid():
            if here is not None and here.process != os.getpid():
                self._shelf.renew_lock()
            here = self._here = _Loop(running)
        return here

    def _http(self, here: _Loop) -> httpx.AsyncClient:
        if here.http is None:
            here.http = httpx.AsyncClient(
                base_url=self._settings.base_url,
                headers=asking.identification(self._settings),
                timeout=httpx.Timeout(self._settings.timeout, connect=5.0),
            )
        return here.http
