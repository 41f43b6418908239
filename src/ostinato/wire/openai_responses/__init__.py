"""OpenAI's Responses, the stateless part: every lifecycle event, but no memory and no hosted tools.

What would need either is refused, naming the way out. The answer repeats fields of the request: ``echo`` gives them for
``Identity.echo``.
"""

from ostinato.core.errors import OstinatoError
from ostinato.wire import failures
from ostinato.wire.model import Answer, ChatRequest, Identity, Json, WireName
from ostinato.wire.openai_responses.answer import read_answer, write_answer
from ostinato.wire.openai_responses.items import PREFIX, echo
from ostinato.wire.openai_responses.request_reader import NAME, read_request
from ostinato.wire.openai_responses.request_writer import write_request
from ostinato.wire.openai_responses.stream_reader import Reader
from ostinato.wire.openai_responses.stream_writer import Writer

__all__ = ["OpenAIResponses", "echo"]


class OpenAIResponses:
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
        return failures.openai_body(error)
