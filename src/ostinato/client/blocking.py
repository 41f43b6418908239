"""``Client``: the blocking one."""

import os
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
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


class Stream:
    """An answer that is still coming: iterate over its text, then ask for ``reply()``.

    Use it in a ``with`` block, or read it to the end: otherwise its connection stays open until ``close()``.
    """

    def __init__(self, response: httpx.Response, name: WireName, address: str) -> None:
        self._response = response
        self._address = address
        self._incoming = Incoming(name, response.headers)
        self._pieces = self._read()
        self.provenance = replies.provenance(response.headers)
        """What the headers told; the cost of a stream is not known yet."""

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reply(self) -> Reply:
        """The whole answer, after reading what is left of it; after ``close``, what had come."""
        for _ in self._pieces:
            pass
        return self._incoming.reply()

    def close(self) -> None:
        """Hang up. The server stops the model, unless the policy says to finish and keep the answer."""
        self._pieces.close()
        self._response.close()

    def _read(self) -> Generator[str]:
        try:
            for data in self._response.iter_raw():
                yield from self._incoming.feed(data)
            self._incoming.end()
        except httpx.HTTPError as error:
            raise unreachable(self._address, error) from error
        finally:
            self._response.close()


class _Process:
    """What may not be shared between processes: connections, locks, the listening thread."""

    def __init__(self) -> None:
        self.number = os.getpid()
        self.lock = threading.Lock()
        self.http: httpx.Client | None = None
        self.push: push.Thread | None = None
        self.turns: dict[Key, threading.Lock] = {}

    def close(self) -> None:
        with self.lock:
            listening, self.push = self.push, None
            http, self.http = self.http, None
        if self.number != os.getpid():
            return  # a forked child leaves its parent's connections alone
        if listening is not None:
            listening.stop()
        if http is not None:
            http.close()


class Client:
    """Prompts and models of one Ostinato server, for any number of threads.

    ``base_url`` and ``api_key`` come from ``OSTINATO_URL`` and ``OSTINATO_KEY`` where left out. Times are seconds; see
    ``Settings`` for ``ttl``, ``max_stale``, ``timeout``, ``prompt_timeout``, ``push`` and ``project``. Nothing is
    connected before the first call, and no thread runs before the first prompt. After a fork the child makes
    connections of its own.
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
        self._process = _Process()
        self._closed = False
        self._finalizer = weakref.finalize(self, _Process.close, self._process)

    def __repr__(self) -> str:
        return f"Client({self._settings.base_url!r})"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and stop listening; may be called twice."""
        self._closed = True
        self._process.close()

    @property
    def listening(self) -> bool:
        """Whether the server tells this client of changes right now; without, prompts are refreshed by ``ttl``."""
        thread = self._process.push
        return thread is not None and thread.listening

    def prompt(
        self,
        name: str,
        *,
        label: str | None = None,
        version: int | None = None,
        session: str | None = None,
        user: str | None = None,
    ) -> Prompt:
        """The version that a label points at (``production`` if left out), or the one of that number.

        ``session``, else ``user``, draws the arm of a running canary, the same as a call of the model in their name
        gets; without them it is the stable version. Raises ``NotFound`` naming the labels there are, and
        ``Unavailable`` where the server cannot be reached and the prompt was not seen within ``max_stale`` seconds.
        """
        key = asking.key_of(name, label, version, session, user)
        here = self._here()
        if self._settings.push and here.push is None:
            self._listen(here)
        found = self._shelf.fresh(key)
        if found is not None:
            return found
        with self._turn(here, key):
            return self._shelf.fresh(key) or self._fetch(here, key)

    def _fetch(self, here: _Process, key: Key) -> Prompt:
        while (found := self._ask(here, key)) is None:
            pass
        return found

    def _ask(self, here: _Process, key: Key) -> Prompt | None:
        path, query = asking.prompt_query(key, self._settings)
        notices = self._shelf.notices
        etag = self._shelf.etag(key)
        try:
            response = self._http(here).get(
                path,
                params=query,
                headers={"if-none-match": etag} if etag else {},
                timeout=self._settings.prompt_timeout,
            )
        except httpx.HTTPError as error:
            return self._shelf.without_server(key, unreachable(self._settings.base_url, error))
        return settled(self._shelf, key, notices, response, self._settings)

    @overload
    def chat(self, *, stream: Literal[False] = False, **asked: Unpack[Asked]) -> Reply: ...
    @overload
    def chat(self, *, stream: Literal[True], **asked: Unpack[Asked]) -> Stream: ...
    def chat(self, *, stream: bool = False, **asked: Unpack[Asked]) -> Reply | Stream:
        """Call a prompt or a model, in OpenAI's words (``/v1/chat/completions``). The server renders the prompt."""
        return self._call("openai.chat", stream, asked)

    @overload
    def messages(self, *, stream: Literal[False] = False, **asked: Unpack[Asked]) -> Reply: ...
    @overload
    def messages(self, *, stream: Literal[True], **asked: Unpack[Asked]) -> Stream: ...
    def messages(self, *, stream: bool = False, **asked: Unpack[Asked]) -> Reply | Stream:
        """The same in Anthropic's words (``/v1/messages``), where ``max_tokens`` is needed."""
        return self._call("anthropic.messages", stream, asked)

    def _call(self, wire: WireName, stream: bool, asked: Asked) -> Reply | Stream:
        call = asking.call(wire, stream, asked)
        http = self._http(self._here())
        try:
            response = http.send(
                http.build_request("POST", call.path, content=call.body, headers=call.headers), stream=stream
            )
            if response.status_code == HELD:
                raise held(response.headers)
            if response.status_code >= 400:
                raise refusal(response.status_code, response.headers, response.read())
        except httpx.HTTPError as error:
            raise unreachable(self._settings.base_url, error) from error
        if stream:
            return Stream(response, wire, self._settings.base_url)
        return replies.read(wire, response.headers, response.content, self._settings.base_url)

    def feedback(
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
        """Tell what somebody thought of an answer, or what became of it; gives the ids of what was written down.

        ``about``: the reply, or the id of its request, which ``request_id`` may name as well. ``value`` is true or
        false, ``"up"`` or ``"down"``, or from 0 (bad) to 1 (good). ``comment`` is kept only where the project keeps
        texts. ``outcome`` names what became of it, such as ``"resolved"``, ``"csat"`` (1 to 5) or ``"time_saved"``
        (minutes), and ``at`` when that was (UTC microseconds, or ISO 8601). Instead of ``about``, ``session`` names a
        whole conversation. Takes a key with ``feedback:write``. Raises ``Invalid`` for feedback that lacks something,
        ``NotFound`` for an unknown request or session.
        """
        return self._carry(
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

    def push_dataset(
        self,
        name: str,
        examples: Iterable[Mapping[str, Any]],
        *,
        base: int | Literal["latest"] | None = None,
        note: str = "",
        shares: Mapping[str, float] | None = None,
    ) -> Json:
        """Save ``examples`` as a new version of a dataset, which is made where there is none; gives the version.

        An example has ``inputs`` (variable -> value) and may have ``reference``, ``metadata``, ``passages``,
        ``group``, ``stratum`` and ``source``. ``base``: begin with the examples of this version. Many go in parts.
        """
        project = self._settings.project
        return self._carry(telling.push(name, examples, base=base, note=note, shares=shares, project=project))

    def pull_dataset(
        self, name: str, version: int | None = None, split: Literal["train", "dev"] | None = None
    ) -> list[Json]:
        """The examples of a version (the newest if left out), or of one split; the holdout is sealed."""
        return self._carry(telling.pull(name, version, split, project=self._settings.project))

    def _carry(self, steps: telling.Steps[T]) -> T:
        """Send what ``steps`` asks for, one request after another; gives what it comes to."""
        http = self._http(self._here())
        answer: Any = None
        error: OstinatoError | None = None
        while True:
            wanted = telling.proceed(steps, answer, error)
            if not isinstance(wanted, telling.Request):
                return wanted.value
            answer, error = None, None
            try:
                response = http.request(wanted.method, wanted.path, **telling.content(wanted))
                answer = telling.decoded(
                    self._settings.base_url, response.status_code, response.headers, response.content
                )
            except httpx.HTTPError as failure:
                error = unreachable(self._settings.base_url, failure)
            except OstinatoError as refused:
                error = refused

    def _here(self) -> _Process:
        """This process's own part; another one after a fork."""
        if self._closed:
            raise Unavailable("This client is closed.", code="client_closed")
        here = self._process
        if here.number != os.getpid():
            self._shelf.renew_lock()
            here = self._process = _Process()
            self._finalizer.detach()
            self._finalizer = weakref.finalize(self, _Process.close, here)
        return here

    def _http(self, here: _Process) -> httpx.Client:
        with here.lock:
            if here.http is None:
                here.http = httpx.Client(
                    base_url=self._settings.base_url,
                    headers=asking.identification(self._settings),
                    timeout=httpx.Timeout(self._settings.timeout, connect=5.0),
                )
            return here.http

    def _listen(self, here: _Process) -> None:
        with here.lock:
            if here.push is None:
                here.push = push.Thread(self._settings, self._shelf)

    @contextmanager
    def _turn(self, here: _Process, key: Key) -> Generator[None]:
        """One thread asks for a prompt, others that want the same wait for what it gets."""
        with here.lock:
            turn = here.turns.setdefault(key, threading.Lock())
        try:
            with turn:
                yield
        finally:
            with here.lock:
                if here.turns.get(key) is turn and not turn.locked():
                    del here.turns[key]
