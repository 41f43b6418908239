"""What a provider is asked and what it gives: calls, replies, and the particulars of a failure."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, TypeAlias

import msgspec

from ostinato.core.errors import UpstreamFailed
from ostinato.wire.model import Answer, ChatRequest, EmbeddingRequest, Event, Json, Usage

FailureClass: TypeAlias = Literal[
    "credential",  # 401: this credential is refused
    "forbidden",  # 402, 403: this credential may not use this model
    "rate",  # 429
    "request",  # 400, 404, 413, 422: the caller's own mistake; passes unmodified
    "server",  # 5xx, 529
    "timeout",
    "network",
    "malformed",  # HTML, half a JSON, an empty body, an error inside a 200
    "cut",  # a stream that ended without its terminal event
]


class ProviderFailure(UpstreamFailed):
    """One attempt failed. ``routing`` decides by ``failure`` what to do next; ``web`` by ``status`` what to answer."""

    def __init__(
        self,
        message: str,
        *,
        failure: FailureClass,
        upstream_status: int | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        hint: str = "",
        wire: str = "",
    ) -> None:
        super().__init__(message, code=f"upstream_{failure}", hint=hint, retry_after=retry_after)
        self.failure: FailureClass = failure
        self.upstream_status = upstream_status
        self.body = body
        """The provider's own error body, kept only for ``failure == "request"`` (at most 64 KiB)."""
        self.content_type = content_type
        self.headers: Mapping[str, str] = headers or {}
        """``retry-after``, ``retry-after-ms`` and rate-limit headers only."""
        self.wire = wire
        """The wire that ``body`` is written in."""


class ChatCall(msgspec.Struct, frozen=True):
    request: ChatRequest
    model: str
    """The provider's name for the model."""
    timeout: float
    """Seconds for the whole attempt; for a stream, to the first byte and between bytes."""
    headers: Mapping[str, str] = {}
    """Open-list headers to forward (``anthropic-*``); never credentials or our own controls."""


class ChatReply(msgspec.Struct, frozen=True):
    answer: Answer
    headers: Mapping[str, str] = {}
    """Rate-limit headers to pass on."""
    first_byte: float = 0.0
    """Seconds from sending to the first byte."""


class ChatStream(Protocol):
    """An open stream. Iterating yields batches of events as they arrive, never buffered.

    Ends normally only after the terminal event; otherwise raises ``ProviderFailure`` (``cut``, ``timeout``, ...).
    """

    wire: str
    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[list[Event]]: ...


class EmbedCall(msgspec.Struct, frozen=True):
    request: EmbeddingRequest
    model: str
    timeout: float
    headers: Mapping[str, str] = {}


class EmbedReply(msgspec.Struct, frozen=True):
    vectors: tuple[bytes, ...]
    """One per input, in order: little-endian float32."""
    usage: Usage
    headers: Mapping[str, str] = {}


class Provider(Protocol):
    """Somebody who answers. Implementations: ``openai`` (any compatible URL), ``anthropic``, ``local``, ``fake``."""

    name: str
    wire: str

    async def start(self) -> None:
        """Build clients and child processes now, so that the first request does not pay for it."""
        ...

    async def chat(self, call: ChatCall) -> ChatReply: ...

    def chat_stream(self, call: ChatCall) -> AbstractAsyncContextManager[ChatStream]:
        """Opened: the provider has answered 200 and begun to stream. Leaving the block cancels the upstream call."""
        ...

    async def embed(self, call: EmbedCall) -> EmbedReply: ...

    async def count_tokens(self, call: ChatCall) -> int: ...

    async def models(self) -> list[Json]:
        """The provider's own model list, for health probes and ``targets`` pages."""
        ...

    async def close(self) -> None: ...
