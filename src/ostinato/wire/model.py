"""The canonical request and the canonical answer: what every wire is read into and written from.

A request is a :class:`ChatRequest`. An answer is a list of *events*, whether it was streamed or not: that list is what
a provider yields, what the cache stores, and what a codec replays in any wire. Nothing is lost on the way: a part or
a field that we do not know travels as :class:`Opaque` or in ``extra`` and makes the request more specific.
"""

from typing import Any, Literal, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

WireName: TypeAlias = Literal["openai.chat", "anthropic.messages", "openai.responses"]

# --- request ----------------------------------------------------------------------------------------------------


class Text(msgspec.Struct, frozen=True, tag="text", gc=False, omit_defaults=True):
    text: str
    extra: Json | None = None
    """Unknown siblings, such as Anthropic's ``cache_control`` or ``citations``."""


class Image(msgspec.Struct, frozen=True, tag="image", gc=False, omit_defaults=True):
    """Either ``url`` or (``media_type`` and base64 ``data``)."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""
    extra: Json | None = None


class ToolUse(msgspec.Struct, frozen=True, tag="tool_use", gc=False, omit_defaults=True):
    """A call that the model made in an earlier turn; ``arguments`` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str
    extra: Json | None = None


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", gc=False, omit_defaults=True):
    tool_use_id: str
    content: tuple["Text | Image | Opaque", ...] = ()
    is_error: bool = False
    extra: Json | None = None


class Thinking(msgspec.Struct, frozen=True, tag="thinking", gc=False, omit_defaults=True):
    """Reasoning of an earlier turn, with the provider's signature; ``redacted`` holds an encrypted block instead."""

    text: str = ""
    signature: str = ""
    redacted: str = ""
    extra: Json | None = None


class Opaque(msgspec.Struct, frozen=True, tag="opaque", gc=False):
    """A part that we do not know: forwarded verbatim to a provider of the same wire, refused towards another."""

    wire: str
    value: Json


Block: TypeAlias = Text | Image | ToolUse | ToolResult | Thinking | Opaque


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: tuple[Block, ...]
    name: str = ""
    extra: Json | None = None


class Tool(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    name: str
    description: str = ""
    schema: Json | None = None
    """JSON Schema of the arguments."""
    strict: bool | None = None
    extra: Json | None = None
    opaque: Opaque | None = None
    """A hosted or otherwise unknown tool, verbatim; then the other fields are empty."""


class ToolChoice(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    mode: Literal["auto", "none", "required", "named"]
    name: str = ""
    extra: Json | None = None


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One conversation to answer, in no wire's terms.

    Every field takes part in the cache's fingerprint except those listed in ``NOT_IN_FINGERPRINT``.
    """

    model: str
    messages: tuple[Message, ...]
    """System messages included, in order."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    response_format: Json | None = None
    """OpenAI's shape: ``{"type": "json_schema", "json_schema": {...}}``."""
    reasoning: Json | None = None
    """``{"effort": "low"}`` or ``{"budget_tokens": 2048}``; other spellings stay in ``extra``."""
    extra: Json | None = None
    """Unknown or wire-specific top-level fields, verbatim, under the wire's name: ``{"openai.chat": {"seed": 1}}``."""
    wire: WireName = "openai.chat"
    stream: bool = False
    include_usage: bool = False
    """Whether the caller asked for usage in an OpenAI stream."""
    user: str | None = None
    """The end user named in the body (``user``, or ``metadata.user_id``)."""
    prompt: Json | None = None
    """Our own control (``prompt: {variables: ...}``); never forwarded."""
    original: Json | None = None
    """The decoded body as it came, for verbatim forwarding on the same wire."""


NOT_IN_FINGERPRINT = frozenset({"wire", "stream", "include_usage", "user", "original"})
"""``model`` is replaced by the route's digest and the alias; see ``cache.fingerprint``."""


def changed(request: ChatRequest, **fields: Any) -> ChatRequest:
    """``request`` with other ``fields``, and without ``original``: the provider must get what was changed to, and the
    body as it came would be forwarded verbatim."""
    return msgspec.structs.replace(request, **fields, original=None)


# --- answer -----------------------------------------------------------------------------------------------------
#
# ``extra`` of an event belongs to the wire that ``Start.wire`` names: what that wire's writer needs to say the same
# thing in the same shape again (unknown fields, odd chunk shapes, log probabilities). Other writers leave it alone.
# It may repeat tokens of the text (``logprobs``): whoever changes a text drops the ``extra`` beside it.

FinishReason: TypeAlias = Literal[
    "stop", "stop_sequence", "length", "tool_use", "content_filter", "refusal", "pause", "other"
]
BlockKind: TypeAlias = Literal["text", "thinking", "redacted_thinking", "tool_use", "refusal", "opaque"]


class Start(msgspec.Struct, frozen=True, array_like=True, tag="s", gc=False):
    """First event. ``model`` is the provider's own name for what answered."""

    model: str
    extra: Json | None = None
    """``{"top": {...}}``: unknown top-level fields, e.g. ``system_fingerprint``, ``service_tier``; and shapes."""
    wire: str = ""
    """The wire that the events were read from; empty where a provider makes them itself."""


class BlockStart(msgspec.Struct, frozen=True, array_like=True, tag="b", gc=False):
    index: int
    kind: BlockKind
    id: str = ""
    """Of a tool call."""
    name: str = ""
    extra: Json | None = None


class Delta(msgspec.Struct, frozen=True, array_like=True, tag="d", gc=False):
    """A fragment of the block: text, reasoning, refusal, or JSON text of a tool call's arguments."""

    index: int
    text: str
    extra: Json | None = None
    """E.g. ``logprobs`` of this fragment, or a thinking block's ``signature``."""


class BlockStop(msgspec.Struct, frozen=True, array_like=True, tag="e", gc=False):
    index: int
    extra: Json | None = None


class Usage(msgspec.Struct, frozen=True, array_like=True, tag="u", gc=False):
    """Tokens in disjoint buckets, and the provider's own words.

    ``input`` excludes what was read from or written to the provider's prefix cache; ``output`` excludes ``reasoning``.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    raw: Json | None = None

    @property
    def total(self) -> int:
        return self.input + self.cache_read + self.cache_write + self.output + self.reasoning


class Finish(msgspec.Struct, frozen=True, array_like=True, tag="f", gc=False):
    """Last event but for usage: why the model stopped."""

    reason: FinishReason
    raw: str = ""
    """The provider's own word for it."""
    stop_sequence: str | None = None
    extra: Json | None = None


class Note(msgspec.Struct, frozen=True, array_like=True, tag="n", gc=False):
    """A piece of the provider's stream that says nothing of the answer: a ping, a heartbeat, an unknown event.

    Kept so that a stream is relayed as it came; everybody else ignores it.
    """

    kind: str
    extra: Json | None = None


Event: TypeAlias = Start | BlockStart | Delta | BlockStop | Usage | Finish | Note
"""Order: Start, then blocks (BlockStart, Delta*, BlockStop), Finish and at least one Usage; a later Usage replaces an
earlier. A Usage may also follow Start directly, and Notes may stand anywhere after it. Blocks of parallel tool calls
may overlap: a Delta names its block."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A complete answer as it was recorded. ``wire`` is the provider's, so that ``extra`` can be replayed there."""

    wire: str
    events: tuple[Event, ...]


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What is new in every reply, hit or miss."""

    id: str
    """32 characters; the codec puts its wire's prefix before it (``chatcmpl-``, ``msg_``, ``resp_``)."""
    created: int
    """Unix seconds."""
    model: str
    """Echo of what the caller asked for."""
    echo: Json | None = None
    """Fields of the request that the Responses wire repeats in its answer; see ``wire.openai_responses.echo``."""


# --- embeddings -------------------------------------------------------------------------------------------------


class EmbeddingRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    """Texts, or token lists, in order; at least one."""
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None
    extra: Json | None = None
