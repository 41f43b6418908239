"""What a codec of a wire can do. One module per wire implements it; ``wire.CODECS`` lists them."""

from typing import Protocol

from ostinato.core.errors import OstinatoError
from ostinato.wire.model import Answer, ChatRequest, Event, Identity, Json, WireName

CONTENT_TYPE = "application/json"
STREAM_CONTENT_TYPE = "text/event-stream; charset=utf-8"


class StreamReader(Protocol):
    """Turns a provider's stream into events. One per answer; not shared."""

    def feed(self, data: bytes) -> list[Event]:
        """Events completed by ``data`` (any split of the byte stream, also inside a character).

        Raises ``wire.Malformed`` on what is no stream of this wire, and ``wire.ErrorInStream`` on an error event;
        their ``events`` hold what the same bytes completed before.
        """
        ...

    @property
    def finished(self) -> bool:
        """Whether the terminal event (``[DONE]``, ``message_stop``, ``response.completed``) was seen."""
        ...

    @property
    def answered(self) -> bool:
        """Whether the answer itself is complete (a finish reason was seen), for providers that omit the rest."""
        ...


class StreamWriter(Protocol):
    """Turns events into a caller's stream. One per reply; not shared."""

    def write(self, events: list[Event]) -> bytes:
        """Bytes to send for these events; may be empty."""
        ...

    def end(self) -> bytes:
        """The terminal bytes after the last event."""
        ...

    def fail(self, error: OstinatoError) -> bytes:
        """An error event for a stream that has begun; nothing may follow it."""
        ...

    def ping(self) -> bytes:
        """A keep-alive that clients of this wire ignore."""
        ...


class Codec(Protocol):
    """One wire, both ways. Stateless; safe to share."""

    @property
    def name(self) -> WireName: ...

    @property
    def prefix(self) -> str:
        """What stands before ``Identity.id`` in an answer: ``chatcmpl-``, ``msg_``, ``resp_``."""
        ...

    def read_request(self, body: Json) -> ChatRequest:
        """Raises ``Invalid`` naming the field (``param``) that is wrong."""
        ...

    def write_request(self, request: ChatRequest, model: str, *, stream: bool) -> Json:
        """The body for a provider of this wire, asking for ``model``; usage is always asked for in streams.

        Same wire: the original body with ``model`` and ``stream`` replaced and our controls removed. Other wire:
        translated; raises ``Invalid`` where a part has no counterpart and leaving it out would change the meaning.
        """
        ...

    def read_answer(self, body: bytes) -> Answer:
        """A provider's complete answer.

        Raises ``wire.Malformed``, or ``wire.ErrorInStream`` for an error inside a 200.
        """
        ...

    def stream_reader(self) -> StreamReader: ...

    def write_answer(self, answer: Answer, identity: Identity) -> bytes: ...

    def stream_writer(self, identity: Identity, *, include_usage: bool) -> StreamWriter: ...

    def write_error(self, error: OstinatoError) -> bytes:
        """The body of an error reply in this wire's shape."""
        ...
