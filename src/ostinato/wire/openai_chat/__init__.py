"""OpenAI's Chat Completions: the wire of most clients and of most providers.

Look-alikes (Azure, vLLM, Ollama, Mistral, Gemini's compatible endpoint, Groq, DeepSeek ...) are read with tolerance and
relayed in the shape in which they came.
"""

from ostinato.core.errors import OstinatoError
from ostinato.wire import failures
from ostinato.wire.model import Answer, ChatRequest, Identity, Json, WireName
from ostinato.wire.openai_chat.answer import PREFIX, read_answer, write_answer
from ostinato.wire.openai_chat.request_reader import NAME, read_request
from ostinato.wire.openai_chat.request_writer import write_request
from ostinato.wire.openai_chat.stream_reader import Reader
from ostinato.wire.openai_chat.stream_writer import Writer

__all__ = ["OpenAIChat"]


class OpenAIChat:
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
