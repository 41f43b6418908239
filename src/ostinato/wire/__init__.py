"""The shapes that cross the network, each read into one canonical form and written from it.

A *request* in any wire becomes a ``ChatRequest``; an *answer* in any wire, streamed or whole, becomes a list of events
(see ``model``). A ``Codec`` per wire does both ways; ``CODECS`` lists them. On its own wire a request or an answer
keeps everything, unknown fields included; on another wire it is translated, or refused by the field's name. Embeddings
have no second wire and live in ``embeddings``. Nothing here does I/O.

Who changes a request uses ``changed``: otherwise the body as it came is forwarded. Who changes an answer's text drops
the ``extra`` beside it, which may repeat the text's tokens.
"""

from collections.abc import Mapping

from ostinato.wire import anthropic_messages, embeddings, model, openai_responses
from ostinato.wire.anthropic_messages import AnthropicMessages
from ostinato.wire.codec import CONTENT_TYPE, STREAM_CONTENT_TYPE, Codec, StreamReader, StreamWriter
from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.model import (
    NOT_IN_FINGERPRINT,
    Answer,
    Block,
    BlockKind,
    BlockStart,
    BlockStop,
    ChatRequest,
    Delta,
    EmbeddingRequest,
    Event,
    Finish,
    FinishReason,
    Identity,
    Image,
    Json,
    Message,
    Note,
    Opaque,
    Start,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Usage,
    WireName,
    changed,
)
from ostinato.wire.openai_chat import OpenAIChat
from ostinato.wire.openai_responses import OpenAIResponses
from ostinato.wire.storage_form import decode_answer, encode_answer
from ostinato.wire.summary import Summary, count_input, input_text, is_content, summary, text_of

CODECS: Mapping[WireName, Codec] = {
    "openai.chat": OpenAIChat(),
    "anthropic.messages": AnthropicMessages(),
    "openai.responses": OpenAIResponses(),
}


def codec(name: WireName) -> Codec:
    """The codec of a wire. Raises ``KeyError`` for a name that is none."""
    return CODECS[name]


__all__ = [
    "CODECS",
    "CONTENT_TYPE",
    "NOT_IN_FINGERPRINT",
    "STREAM_CONTENT_TYPE",
    "Answer",
    "Block",
    "BlockKind",
    "BlockStart",
    "BlockStop",
    "ChatRequest",
    "Codec",
    "Delta",
    "EmbeddingRequest",
    "ErrorInStream",
    "Event",
    "Finish",
    "FinishReason",
    "Identity",
    "Image",
    "Json",
    "Malformed",
    "Message",
    "Note",
    "Opaque",
    "Start",
    "StreamReader",
    "StreamWriter",
    "Summary",
    "Text",
    "Thinking",
    "Tool",
    "ToolChoice",
    "ToolResult",
    "ToolUse",
    "Usage",
    "WireName",
    "anthropic_messages",
    "changed",
    "codec",
    "count_input",
    "decode_answer",
    "embeddings",
    "encode_answer",
    "input_text",
    "is_content",
    "model",
    "openai_responses",
    "summary",
    "text_of",
]
