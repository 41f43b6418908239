"""A provider behind HTTP: what OpenAI-compatible and Anthropic servers have in common."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ostinato import outbound, wire
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.providers import failures
from ostinato.providers.catalog import Kind
from ostinato.providers.credentials import Credentials
from ostinato.providers.model import ChatCall, ChatReply, ChatStream, EmbedCall, EmbedReply, ProviderFailure
from ostinato.providers.settings import Settings
from ostinato.wire.codec import StreamReader
from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.model import Event, Json

T = TypeVar("T")

_SHORTEST: Final = 0.001
_MODELS_TIMEOUT: Final = 10.0
_OURS: Final = frozenset({"authorization", "x-api-key", "api-key", "host", "content-length", "transfer-encoding"})


class HttpProvider:
    """One account at one server that speaks one wire. The catalog's row says where and how."""

    def __init__(self, name: str, kind: Kind, settings: Settings, client: outbound.Client, clock: Clock) -> None:
        self.name = name
        self.wire = kind.wire
        self._kind = kind
        self._settings = settings
        self._client = client
        self._clock = clock
        self._codec = wire.codec(kind.wire)
        self._keys = Credentials(name, settings.api_keys, clock, settings.rest)
        base_url = settings.base_url or kind.base_url
        if not base_url:
            raise Invalid(f"Provider {name} needs a base_url.", hint=kind.hint, param="base_url")
        if kind.needs_key and not settings.api_keys:
            raise Invalid(f"Provider {name} needs an API key.", hint='Set api_key = {env = "NAME"}.', param="api_key")
        self.place(base_url)

    def place(self, base_url: str) -> None:
        """Say where the server is. Raises ``Refused`` for an address that may not be called."""
        settings = self._settings
        private = settings.allow_private
        self._private = outbound.guard.spells_private(base_url) if private is None else private
        outbound.guard.parse(base_url, allow_private=self._private)
        self._base_url = base_url.rstrip("/")
        self._headers = tuple(outbound.Headers(self._headers_with(index)) for index in range(len(self._keys)))
        query = {**self._kind.query, **settings.query}
        self._query = f"?{urlencode(query)}" if query else ""
        self._chat_url = self._url(self._kind.chat_path)

    @property
    def credentials(self) -> int:
        """How many API keys there are."""
        return len(self._keys)

    @property
    def address(self) -> str:
        """The base URL: with the name of the model, what an answer depends on."""
        return self._base_url

    async def start(self) -> None:
        await self._client.start()

    async def close(self) -> None:
        """The client belongs to who made it."""

    # --- the calls -----------------------------------------------------------------------------------------------

    async def chat(self, call: ChatCall) -> ChatReply:
        url = self._url_for(self._chat_url, call.model)
        response = await self._post(url, self.body(call, stream=False), call.model, call.timeout, call.headers)
        answer = self._read(self._codec.read_answer, response.body, response.headers)
        return ChatReply(answer, failures.passed_on(response.headers), response.first_byte)

    def chat_stream(self, call: ChatCall) -> AbstractAsyncContextManager[ChatStream]:
        return HttpStream(self, call)

    async def embed(self, call: EmbedCall) -> EmbedReply:
        if not self._kind.embeddings_path:
            raise Invalid(f"Provider {self.name} has no embeddings.", code="not_supported", param="model")
        body = msgspec.json.encode(wire.embeddings.write_request(call.request, call.model))
        url = self._url_for(self._url(self._kind.embeddings_path), call.model)
        response = await self._post(url, body, call.model, call.timeout, call.headers)
        vectors, usage = self._read(wire.embeddings.read_reply, response.body, response.headers)
        if len(vectors) != len(call.request.inputs):
            raise failures.from_malformed(self.name, f"{len(vectors)} vectors for {len(call.request.inputs)} inputs")
        return EmbedReply(vectors, usage, failures.passed_on(response.headers))

    async def count_tokens(self, call: ChatCall) -> int:
        """The input's tokens: by the provider where it offers that, else estimated."""
        if not self._kind.count_path:
            return wire.count_input(call.request)
        url = self._url(self._kind.count_path)
        response = await self._post(url, self.count_body(call), call.model, call.timeout, call.headers)
        return self._read(_read_count, response.body, response.headers)

    async def models(self) -> list[Json]:
        url = self._url(self._kind.models_path)
        index = self._keys.choose("")
        try:
            response = await self._client.get(url, self._headers[index], _MODELS_TIMEOUT, allow_private=self._private)
        except (outbound.OutboundError, outbound.Refused) as error:
            raise failures.from_outbound(self.name, error, streaming=False) from error
        if response.status != 200:
            raise self.failure_of(response.status, response.headers, response.body, index)
        return self._read(_read_models, response.body, response.headers)

    # --- what the wires differ in --------------------------------------------------------------------------------

    def body(self, call: ChatCall, *, stream: bool) -> bytes:
        """The request's body in the provider's wire."""
        return msgspec.json.encode(self._codec.write_request(call.request, call.model, stream=stream))

    def count_body(self, call: ChatCall) -> bytes:
        """The body of a request to count tokens."""
        return self.body(call, stream=False)

    # --- how -----------------------------------------------------------------------------------------------------

    async def _post(
        self, url: str, body: bytes, model: str, seconds: float, headers: Mapping[str, str]
    ) -> outbound.Response:
        """A successful answer, with one key after the other if need be; else ``ProviderFailure``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        tried: frozenset[int] = frozenset()
        while True:
            index = self._keys.choose(model, tried)
            try:
                response = await self._client.post(
                    url,
                    body,
                    self.headers_for(index, headers),
                    max(until - loop.time(), _SHORTEST),
                    allow_private=self._private,
                    max_bytes=self._settings.max_response_bytes,
                )
            except (outbound.OutboundError, outbound.Refused) as error:
                raise failures.from_outbound(self.name, error, streaming=False) from error
            if 200 <= response.status < 300:
                self._keys.worked(index, model)
                return response
            failure = self.failure_of(response.status, response.headers, response.body, index)
            tried = self.after_failure(index, model, failure, tried)

    def after_failure(self, index: int, model: str, failure: ProviderFailure, tried: frozenset[int]) -> frozenset[int]:
        """The keys that were tried so far, if another one is worth trying; else raises ``failure``."""
        tried |= {index}
        if self._keys.failed(index, model, failure) and self._keys.spare(model, tried):
            return tried
        raise failure

    def failure_of(self, status: int, headers: Mapping[str, str], body: bytes, index: int) -> ProviderFailure:
        return failures.from_response(
            self.name,
            status,
            headers,
            body,
            now=self._clock.now(),
            secret=self._keys.key(index).reveal(),
            wire=self.wire,
        )

    def headers_for(self, index: int, forwarded: Mapping[str, str]) -> Mapping[str, str]:
        """Our headers with key ``index``, and those of the caller's that this kind of provider understands."""
        if not forwarded or not self._kind.forwarded:
            return self._headers[index]
        ours = self._headers[index]
        return {
            **ours,
            **{
                name: value
                for name, value in forwarded.items()
                if name.startswith(self._kind.forwarded) and name not in _OURS
            },
        }

    def open_stream(
        self, call: ChatCall, body: bytes, index: int
    ) -> AbstractAsyncContextManager[outbound.StreamedResponse]:
        """The exchange under a stream (for the stream itself)."""
        return self._client.stream(
            self._url_for(self._chat_url, call.model),
            body,
            self.headers_for(index, call.headers),
            call.timeout,
            allow_private=self._private,
        )

    def choose_key(self, model: str, tried: frozenset[int]) -> int:
        return self._keys.choose(model, tried)

    def key_worked(self, index: int, model: str) -> None:
        self._keys.worked(index, model)

    def stream_reader(self) -> StreamReader:
        return self._codec.stream_reader()

    def read_whole(self, body: bytes, headers: Mapping[str, str]) -> list[Event]:
        """The events of a complete answer that came where a stream was asked for."""
        return list(self._read(self._codec.read_answer, body, headers).events)

    @property
    def max_frame_bytes(self) -> int:
        return self._settings.max_frame_bytes

    @property
    def max_response_bytes(self) -> int:
        return self._settings.max_response_bytes

    def _read(self, read: Callable[[bytes], T], body: bytes, headers: Mapping[str, str]) -> T:
        if not body:
            raise failures.from_malformed(self.name, "the body is empty")
        try:
            return read(body)
        except Malformed as error:
            raise failures.from_malformed(self.name, error) from error
        except ErrorInStream as error:
            raise failures.from_error_in_stream(self.name, error, headers, self.wire) from error

    def _headers_with(self, index: int) -> dict[str, str]:
        kind, key = self._kind, self._keys.key(index)
        headers = {"content-type": "application/json", **kind.headers}
        headers |= {name.lower(): value for name, value in self._settings.headers.items()}
        if key:
            headers[kind.key_header] = kind.key_format.format(key.reveal())
        return headers

    def _url(self, path: str) -> str:
        return f"{self._base_url}{path}{self._query}"

    def _url_for(self, url: str, model: str) -> str:
        return url.replace("{model}", quote(model, safe="")) if "{model}" in self._kind.chat_path else url


class HttpStream:
    """A stream, and the block in which it is open. Leaving the block closes the connection unless it has ended."""

    def __init__(self, provider: HttpProvider, call: ChatCall) -> None:
        self._provider = provider
        self._call = call
        self._whole: list[Event] | None = None
        self.wire: str = provider.wire
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> ChatStream:
        provider, call = self._provider, self._call
        body = provider.body(call, stream=True)
        tried: frozenset[int] = frozenset()
        while True:
            index = provider.choose_key(call.model, tried)
            self._exchange = provider.open_stream(call, body, index)
            try:
                response = await self._exchange.__aenter__()
            except (outbound.OutboundError, outbound.Refused) as error:
                raise failures.from_outbound(provider.name, error, streaming=False) from error
            try:
                failure = await self._check(response, index)
            except BaseException:
                await self._exchange.__aexit__(None, None, None)
                raise
            if failure is None:
                provider.key_worked(index, call.model)
                return self
            await self._exchange.__aexit__(None, None, None)
            tried = provider.after_failure(index, call.model, failure, tried)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)

    async def _check(self, response: outbound.StreamedResponse, index: int) -> ProviderFailure | None:
        """Whether a stream has begun; the failure that another key may mend is returned, any other raised."""
        provider = self._provider
        self._response = response
        self.headers = failures.passed_on(response.headers)
        if not 200 <= response.status < 300:
            body = await self._rest(failures.MAX_ERROR_BODY)
            return provider.failure_of(response.status, response.headers, body, index)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            # Some servers answer in one piece, or with an error inside a 200, though a stream was asked for.
            self._whole = provider.read_whole(await self._rest(provider.max_response_bytes), response.headers)
        elif kind != "text/event-stream":
            raise failures.from_malformed(provider.name, f"{kind[:64] or 'no content-type'} instead of a stream")
        return None

    async def _rest(self, limit: int) -> bytes:
        try:
            return await self._response.read(limit)
        except outbound.OutboundError as error:
            raise failures.from_outbound(self._provider.name, error, streaming=False) from error

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        if self._whole is not None:
            yield self._whole
            return
        provider = self._provider
        reader = provider.stream_reader()
        feed, bound = reader.feed, provider.max_frame_bytes
        pending = 0
        try:
            async for chunk in self._response:
                events = feed(chunk)
                if events:
                    pending = 0
                    yield events
                else:
                    pending += len(chunk)
                    if pending > bound:
                        raise failures.from_malformed(provider.name, f"an event of more than {bound} bytes")
                if reader.finished:
                    self._response.finish()
                    return
        except outbound.OutboundError as error:
            raise failures.from_outbound(provider.name, error, streaming=True) from error
        except (Malformed, ErrorInStream) as error:
            if error.events:
                yield list(error.events)
            if isinstance(error, Malformed):
                raise failures.from_malformed(provider.name, error) from error
            raise failures.from_error_in_stream(provider.name, error, self._response.headers, self.wire) from error
        raise failures.cut(provider.name)


def _read_count(body: bytes) -> int:
    try:
        return int(msgspec.json.decode(body, type=dict[str, Any])["input_tokens"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise Malformed("no count of tokens") from error


def _read_models(body: bytes) -> list[Json]:
    try:
        return msgspec.json.decode(body, type=_Models).data
    except msgspec.DecodeError as error:
        raise Malformed("no list of models") from error


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]
