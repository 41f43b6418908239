"""Anthropic's Messages: named events, typed content blocks, a system prompt beside the conversation.

``system`` stays an array in order, ``cache_control`` verbatim, thinking blocks untouched. ``count_tokens`` is the same
request without generating: ``read_count_request`` and its companions.
"""

from ostinato.core.errors import OstinatoError
from ostinato.wire import failures
from ostinato.wire.anthropic_messages.answer import PREFIX, read_answer, write_answer
from ostinato.wire.anthropic_messages.request_reader import NAME, read_request
from ostinato.wire.anthropic_messages.request_writer import write_count, write_request
from ostinato.wire.anthropic_messages.stream_reader import Reader
from ostinato.wire.anthropic_messages.stream_writer import Writer
from ostinato.wire.errors import Malformed
from ostinato.wire.jsons import encode, is_integer, parse_object
from ostinato.wire.model import Answer, ChatRequest, Identity, Json, WireName

__all__ = [
    "AnthropicMessages",
    "read_count_reply",
    "read_count_request",
    "write_count_reply",
    "write_count_request",
]


def read_count_request(body: Json) -> ChatRequest:
    """A ``count_tokens`` body; like a request, but ``max_tokens`` may be absent. Raises ``Invalid``."""
    return read_request(body, counting=True)


def write_count_request(request: ChatRequest, model: str) -> Json:
    """The ``count_tokens`` body for a provider, from a request of any wire."""
    return write_count(request, model)


def read_count_reply(body: bytes) -> int:
    """The count in a provider's reply. Raises ``Malformed``, or ``ErrorInStream`` for an error inside a 200."""
    value = parse_object(body)
    if value.get("type") == "error":
        raise failures.reported(value)
    tokens: object = value.get("input_tokens")
    if not is_integer(tokens) or tokens < 0:
        raise Malformed("The provider's reply holds no token count.")
    return tokens


def write_count_reply(tokens: int) -> bytes:
    """The reply to a ``count_tokens`` call."""
    return encode({"input_tokens": tokens})


class AnthropicMessages:
    """The codec; see ``wire.Codec``."""

    name: WireName = NAME
    prefix = PREFIX

    def read_request(self, body: Json) -> ChatRequest:
        return read_request(body)

    def write_request(self, request: ChatRequest, model: str, *, stream: bool) -> Json:
        return write_request(request, model, stream=stream)

    def read_answer(self, body: bytes) -> Answer:
        return read_answer(body)

    def stream_reader(self) -> Reader:
        return Reader()

    def write_answer(self, answer: Answer, identity: Identity) -> bytes:
        return write_answer(answer, identity)

    def stream_writer(self, identity: Identity, *, include_usage: bool) -> Writer:
        return Writer(identity, include_usage=include_usage)

    def write_error(self, error: OstinatoError) -> bytes:
        return failures.anthropic_body(error)
