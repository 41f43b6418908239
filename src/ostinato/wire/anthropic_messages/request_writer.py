"""The canonical request, written as a Messages body for a provider."""

from collections.abc import Sequence
from typing import Any

from ostinato.wire.anthropic_messages.request_reader import NAME
from ostinato.wire.fields import invalid, untranslatable
from ostinato.wire.jsons import is_object, part
from ostinato.wire.model import (
    Block,
    ChatRequest,
    Image,
    Json,
    Message,
    Opaque,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    changed,
)
from ostinato.wire.translation import (
    DEFAULT_MAX_TOKENS,
    MESSAGE_HINTS,
    MIN_THINKING_BUDGET,
    PART_HINTS,
    TOOL_HINTS,
    arguments_object,
    budget_of,
    refuse_top_level,
    refuse_unknown,
    tool_id,
)

_CHOICES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}


def write_request(request: ChatRequest, model: str, *, stream: bool) -> Json:
    """See ``Codec.write_request``."""
    if request.wire == NAME and request.original is not None:
        if any(_is_unsigned(block) for message in request.messages for block in message.content):
            # An answer of another provider, sent back: Anthropic refuses thinking that it did not sign.
            body = _build(_without_unsigned(request), model)
        else:
            body = dict(request.original)
            body.pop("prompt", None)
            body["model"] = model
    else:
        body = _build(request, model)
    if stream:
        body["stream"] = True
    elif "stream" in body:
        body["stream"] = False
    return body


def write_count(request: ChatRequest, model: str) -> Json:
    """The body of a ``count_tokens`` call: the request without what only generating needs."""
    body = write_request(request, model, stream=False)
    for key in ("stream", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"):
        body.pop(key, None)
    return body


def _is_unsigned(block: Block) -> bool:
    return isinstance(block, Thinking) and not block.signature and not block.redacted


def _without_unsigned(request: ChatRequest) -> ChatRequest:
    messages: list[Message] = []
    for message in request.messages:
        kept = tuple([block for block in message.content if not _is_unsigned(block)])
        if kept or not message.content:
            messages.append(Message(message.role, kept, message.name, message.extra))
    return changed(request, messages=tuple(messages))


def _build(request: ChatRequest, model: str) -> Json:
    own = request.wire == NAME
    refuse_top_level(request.extra, NAME)
    extra = dict(part(request.extra, NAME))
    writer = _Messages(request.wire, own)
    messages = writer.write(request.messages)
    max_tokens = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    body: Json = {"model": model, "max_tokens": max_tokens, "messages": messages}
    system = writer.system
    if system:
        alone = len(system) == 1 and system[0].keys() == {"type", "text"}
        body["system"] = system[0]["text"] if alone else system
    if request.tools:
        body["tools"] = [_tool(tool, index, request.wire, own) for index, tool in enumerate(request.tools)]
    if choice := _tool_choice(request):
        body["tool_choice"] = choice
    _sampling(request, body)
    if own:
        _own_reasoning(request.reasoning, body, extra)
    else:
        _thinking(request, body)
    if request.response_format is not None:
        _response_format(request.response_format, request.wire, body)
    if request.user is not None:
        body["metadata"] = {"user_id": request.user, **extra.pop("metadata", {})}
    if "output_config" in extra:
        body["output_config"] = {**body.get("output_config", {}), **extra.pop("output_config")}
    body.update(extra)
    return body


def _sampling(request: ChatRequest, body: Json) -> None:
    if request.temperature is not None:
        # Anthropic's scale ends at 1, OpenAI's at 2.
        body["temperature"] = min(request.temperature, 1.0)
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.top_k is not None:
        body["top_k"] = request.top_k
    if request.stop:
        for index, sequence in enumerate(request.stop):
            if request.wire != NAME and not sequence.strip():
                raise untranslatable(
                    f"stop.{index}", request.wire, NAME, "Anthropic takes no stop sequence of white space alone."
                )
        body["stop_sequences"] = list(request.stop)


def _own_reasoning(reasoning: Json | None, body: Json, extra: Json) -> None:
    if reasoning and "budget_tokens" in reasoning:
        config = {"type": "enabled", "budget_tokens": reasoning["budget_tokens"]}
        body["thinking"] = {**config, **extra.pop("thinking", {})}
    if reasoning and "effort" in reasoning:
        body["output_config"] = {"effort": reasoning["effort"]}


def _thinking(request: ChatRequest, body: Json) -> None:
    """Another wire's reasoning as a thinking budget, where Anthropic's conditions allow thinking."""
    budget = budget_of(request.reasoning)
    forced = request.tool_choice is not None and request.tool_choice.mode in ("required", "named")
    if budget is None or forced or _continues_unsigned(request.messages):
        return
    if request.max_tokens is None:
        body["max_tokens"] = DEFAULT_MAX_TOKENS + budget
    else:
        # OpenAI's maximum includes reasoning, and so does Anthropic's; something must be left for the answer.
        budget = min(budget, request.max_tokens // 2)
    if budget < MIN_THINKING_BUDGET:
        return
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    # With thinking, Anthropic takes no other sampling.
    for key in ("temperature", "top_p", "top_k"):
        body.pop(key, None)


def _continues_unsigned(messages: Sequence[Message]) -> bool:
    """Whether the last assistant turn called tools without signed thinking before: it cannot go on thinking."""
    turn: list[Block] = []
    for message in reversed(messages):
        if message.role == "assistant":
            turn.extend(message.content)
        elif turn or (message.role == "user" and not any(isinstance(block, ToolResult) for block in message.content)):
            break
    signed = any(isinstance(block, Thinking) and block.signature for block in turn)
    return not signed and any(isinstance(block, ToolUse) for block in turn)


def _response_format(form: Json, source: str, body: Json) -> None:
    kind: object = form.get("type")
    schema: object = part(form, "json_schema").get("schema")
    if kind == "json_schema" and is_object(schema):
        config: Json = {"type": "json_schema", "schema": schema}
        body["output_config"] = {**body.get("output_config", {}), "format": config}
    elif kind != "text":
        raise untranslatable(
            "response_format", source, NAME, "Give a JSON schema (type json_schema), or ask for JSON in the prompt."
        )


def _tool(tool: Tool, index: int, source: str, own: bool) -> Json:
    if tool.opaque is not None:
        if tool.opaque.wire != NAME:
            raise untranslatable(f"tools.{index}", source, NAME)
        return tool.opaque.value
    value: Json = {"name": tool.name}
    if tool.description:
        value["description"] = tool.description
    value["input_schema"] = {"type": "object", "properties": {}} if tool.schema is None else tool.schema
    if tool.strict is not None and (own or tool.strict):
        value["strict"] = tool.strict
    if tool.extra:
        if own:
            value.update(tool.extra)
        else:
            refuse_unknown(tool.extra, TOOL_HINTS, f"tools.{index}", source, NAME)
    return value


def _tool_choice(request: ChatRequest) -> Json | None:
    choice = request.tool_choice
    parallel = request.parallel_tool_calls
    if choice is None:
        if parallel is None or parallel or not request.tools:
            return None
        return {"type": "auto", "disable_parallel_tool_use": True}
    value: Json = {"type": _CHOICES[choice.mode]}
    if choice.mode == "named":
        value["name"] = choice.name
    if parallel is not None and (choice.mode != "none" or request.wire == NAME):
        value["disable_parallel_tool_use"] = not parallel
    if choice.extra:
        if request.wire == NAME:
            value.update(choice.extra)
        else:
            refuse_unknown(choice.extra, frozenset(), "tool_choice", request.wire, NAME)
    return value


class _Messages:
    """Writes the conversation. One per request."""

    def __init__(self, source: str, own: bool) -> None:
        self._source = source
        self._own = own
        self.system: list[Json] = []
        self._written: list[Json] = []
        self._results = False
        """Whether the last turn is a user's that holds tool results only: what follows joins it."""

    def write(self, messages: Sequence[Message]) -> list[Json]:
        for index, message in enumerate(messages):
            at = f"messages.{index}"
            if not self._own:
                refuse_unknown(message.extra, MESSAGE_HINTS, at, self._source, NAME)
            if message.role in ("system", "developer") and not (self._own and message.extra is not None):
                self.system.extend(self._blocks(message.content, at))
            elif self._own:
                blocks = self._blocks(message.content, at)
                role = "user" if message.role == "tool" else message.role
                self._written.append({"role": role, "content": _compact(blocks), **(message.extra or {})})
            else:
                self._foreign(message, at)
        if not self._own:
            self._settle()
        return self._written

    def _foreign(self, message: Message, at: str) -> None:
        """A turn of another wire: results of one turn and the user's words after them are one turn here."""
        blocks = self._blocks(message.content, at)
        refusal = (message.extra or {}).get("refusal")
        if isinstance(refusal, str) and refusal:
            blocks.append({"type": "text", "text": refusal})
        blocks = [block for block in blocks if block.get("type") != "text" or block["text"]]
        if not blocks:
            return
        role = "assistant" if message.role == "assistant" else "user"
        previous = self._written[-1] if self._written else None
        joins = previous is not None and previous["role"] == role and (role == "assistant" or self._results)
        if previous is not None and joins:
            previous["content"] = [*_listed(previous["content"]), *blocks]
        else:
            self._written.append({"role": role, "content": _compact(blocks)})
        self._results = all(block["type"] == "tool_result" for block in blocks)

    def _settle(self) -> None:
        """Anthropic wants a user's turn, and no white space at the end of a turn to be continued."""
        if not self._written and self.system:
            last = self.system.pop()
            self._written.append({"role": "user", "content": [last]})
        elif not self._written:
            raise invalid("messages", "must hold at least one message with content")
        last = self._written[-1]
        if last["role"] == "assistant":
            content = last["content"]
            if isinstance(content, str):
                last["content"] = content.rstrip()
            elif content[-1]["type"] == "text":
                content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}

    def _blocks(self, blocks: Sequence[Block], at: str) -> list[Json]:
        written: list[Json] = []
        for block in blocks:
            value = self._block(block, at)
            if value is not None:
                written.append(value)
        return written

    def _block(self, block: Block, at: str) -> Json | None:
        if isinstance(block, Opaque):
            if block.wire != NAME:
                raise untranslatable(f"{at}.content ({block.value.get('type', 'unknown')})", self._source, NAME)
            return block.value
        if isinstance(block, Text):
            value: Json = {"type": "text", "text": block.text}
        elif isinstance(block, Image):
            value = self._image(block, at)
        elif isinstance(block, ToolUse):
            arguments = arguments_object(block.arguments)
            identifier = block.id if self._own else tool_id(block.id)
            value = {"type": "tool_use", "id": identifier, "name": block.name, "input": arguments}
        elif isinstance(block, ToolResult):
            value = self._result(block, at)
        elif block.redacted:
            value = {"type": "redacted_thinking", "data": block.redacted}
        elif block.signature or self._own:
            value = {"type": "thinking", "thinking": block.text, "signature": block.signature}
        else:
            # Thinking that Anthropic did not sign would be refused.
            return None
        if block.extra:
            if self._own:
                value.update(block.extra)
            else:
                refuse_unknown(block.extra, PART_HINTS, at, self._source, NAME)
        return value

    def _image(self, block: Image, at: str) -> Json:
        if block.url.startswith("data:"):
            raise untranslatable(f"{at}.content", self._source, NAME, "Give the image as base64 or by an https URL.")
        if block.url:
            return {"type": "image", "source": {"type": "url", "url": block.url}}
        return {"type": "image", "source": {"type": "base64", "media_type": block.media_type, "data": block.data}}

    def _result(self, block: ToolResult, at: str) -> Json:
        identifier = block.tool_use_id if self._own else tool_id(block.tool_use_id)
        value: Json = {"type": "tool_result", "tool_use_id": identifier}
        content = self._blocks(block.content, at)
        if not self._own:
            content = [item for item in content if item.get("type") != "text" or item["text"]]
        if content:
            value["content"] = _compact(content)
        if block.is_error:
            value["is_error"] = True
        return value


def _compact(blocks: list[Json]) -> Any:
    """A single plain text block as a string, which is what people write."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks


def _listed(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
