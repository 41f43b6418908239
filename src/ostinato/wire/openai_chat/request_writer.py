"""The canonical request, written as a Chat Completions body for a provider."""

from collections.abc import Sequence
from typing import Any

from ostinato.wire.fields import untranslatable
from ostinato.wire.jsons import part
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
    ToolChoice,
    ToolResult,
    ToolUse,
)
from ostinato.wire.openai_chat.request_reader import NAME
from ostinato.wire.translation import (
    MESSAGE_HINTS,
    PART_HINTS,
    TOOL_HINTS,
    effort_of,
    refuse_top_level,
    refuse_unknown,
)


def write_request(request: ChatRequest, model: str, *, stream: bool) -> Json:
    """See ``Codec.write_request``."""
    if request.wire == NAME and request.original is not None:
        body = dict(request.original)
        body.pop("prompt", None)
        body["model"] = model
    else:
        body = _build(request, model)
    if stream:
        body["stream"] = True
        options = body.get("stream_options")
        body["stream_options"] = {**options, "include_usage": True} if options else {"include_usage": True}
    else:
        if "stream" in body:
            body["stream"] = False
        # A provider may refuse stream_options without stream.
        body.pop("stream_options", None)
    return body


def _build(request: ChatRequest, model: str) -> Json:
    own = request.wire == NAME
    refuse_top_level(request.extra, NAME)
    writer = _Messages(request.wire, own)
    body: Json = {"model": model, "messages": writer.write(request.messages)}
    if request.tools:
        body["tools"] = [_tool(tool, index, request.wire, own) for index, tool in enumerate(request.tools)]
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice, request.wire)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.top_k is not None and own:
        # A hint that OpenAI itself refuses.
        body["top_k"] = request.top_k
    if request.stop:
        body["stop"] = list(request.stop)
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    effort = effort_of(request.reasoning)
    if effort is not None:
        body["reasoning_effort"] = effort
    if request.user is not None:
        body["user"] = request.user
    extra = part(request.extra, NAME)
    if request.max_tokens is not None and "max_completion_tokens" not in extra:
        body["max_tokens"] = request.max_tokens
    body.update(extra)
    return body


def _response_format(form: Json) -> Json:
    """OpenAI wants a name for every schema; Anthropic's have none."""
    schema = form.get("json_schema")
    if isinstance(schema, dict) and "name" not in schema:
        return {**form, "json_schema": {"name": "response", **schema}}
    return form


def _tool(tool: Tool, index: int, source: str, own: bool) -> Json:
    if tool.opaque is not None:
        if tool.opaque.wire != NAME:
            raise untranslatable(f"tools.{index}", source, NAME)
        return tool.opaque.value
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    value: Json = {"type": "function", "function": function}
    if tool.extra:
        if own:
            rest = dict(tool.extra)
            function.update(rest.pop("function", {}))
            value.update(rest)
        else:
            refuse_unknown(tool.extra, TOOL_HINTS, f"tools.{index}", source, NAME)
    return value


def _tool_choice(choice: ToolChoice, source: str) -> object:
    refuse_unknown(choice.extra, frozenset(), "tool_choice", source, NAME)
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


class _Messages:
    """Writes the conversation. One per request."""

    def __init__(self, source: str, own: bool) -> None:
        self._source = source
        self._own = own
        self._written: list[Json] = []

    def write(self, messages: Sequence[Message]) -> list[Json]:
        for index, message in enumerate(messages):
            at = f"messages.{index}"
            if not self._own:
                refuse_unknown(message.extra, MESSAGE_HINTS, at, self._source, NAME)
            if message.role == "assistant":
                self._assistant(message, at)
            else:
                self._other(message, at)
        return self._written

    def _append(self, body: Json, message: Message) -> None:
        if message.name:
            body["name"] = message.name
        if self._own and message.extra:
            body.update(message.extra)
        self._written.append(body)

    def _other(self, message: Message, at: str) -> None:
        """A system, user or tool message; Anthropic's user turns may hold tool results and go apart."""
        rest: list[Block] = []
        images: list[Block] = []
        for block in message.content:
            if isinstance(block, ToolResult):
                self._append(self._tool_message(block, images, at), message)
            elif isinstance(block, Opaque) and block.wire == NAME and "message" in block.value:
                self._written.append(dict(block.value["message"]))
            else:
                rest.append(block)
        rest = images + rest
        if rest or (not message.content and message.role != "tool"):
            role = message.role if message.role != "tool" else "user"
            content = self._content(rest, at)
            if role != "user" and not self._own:
                # Look-alikes' templates often take a system message as a string only.
                content = _joined(content, "\n\n")
            self._append({"role": role, "content": content}, message)

    def _tool_message(self, result: ToolResult, images: list[Block], at: str) -> Json:
        parts: list[Block] = list(result.content)
        if not self._own:
            refuse_unknown(result.extra, PART_HINTS, at, self._source, NAME)
            # A tool message takes text only: images follow in the user's turn.
            images.extend(block for block in parts if isinstance(block, Image))
            parts = [block for block in parts if not isinstance(block, Image)]
            if not parts and result.content:
                parts = [Text("The result is the image that follows.")]
            if result.is_error:
                parts = _as_error(parts)
        content = self._content(parts, at)
        return {
            "role": "tool",
            "tool_call_id": result.tool_use_id,
            "content": content if self._own else _joined(content, "\n"),
        }

    def _assistant(self, message: Message, at: str) -> None:
        body: Json = {"role": "assistant", "content": None}
        parts: list[Block] = []
        calls: list[Json] = []
        reasoning: list[str] = []
        for block in message.content:
            if isinstance(block, ToolUse):
                calls.append(self._call(block, at))
            elif isinstance(block, Thinking):
                if block.text or self._own:
                    reasoning.append(block.text)
            elif isinstance(block, Opaque) and block.wire == NAME and "type" not in block.value:
                if "tool_call" in block.value:
                    calls.append(block.value["tool_call"])
                else:
                    body.update(block.value)
            else:
                parts.append(block)
        if not self._own and message.extra and isinstance(message.extra.get("refusal"), str):
            parts.append(Text(message.extra["refusal"]))
        if parts:
            content = self._content(parts, at)
            body["content"] = content if self._own else _joined(content, "")
        if reasoning:
            body["reasoning_content"] = "".join(reasoning)
        if calls:
            body["tool_calls"] = calls
        previous = self._written[-1] if self._written else None
        if not self._own and previous is not None and previous["role"] == "assistant":
            _merge(previous, body)
        elif self._own or parts or calls:
            # A turn of which nothing is left (hidden reasoning) would be refused.
            self._append(body, message)

    def _call(self, block: ToolUse, at: str) -> Json:
        function: Json = {"name": block.name, "arguments": block.arguments}
        call: Json = {"id": block.id, "type": "function", "function": function}
        if block.extra:
            if self._own:
                rest = dict(block.extra)
                function.update(rest.pop("function", {}))
                call.update(rest)
            else:
                refuse_unknown(block.extra, PART_HINTS, at, self._source, NAME)
        return call

    def _content(self, blocks: Sequence[Block], at: str) -> str | list[Json]:
        if len(blocks) == 1 and isinstance(blocks[0], Text) and not (self._own and blocks[0].extra):
            refuse_unknown(blocks[0].extra, PART_HINTS, at, self._source, NAME)
            return blocks[0].text
        return [self._part(block, at) for block in blocks]

    def _part(self, block: Block, at: str) -> Json:
        if isinstance(block, Opaque):
            if block.wire != NAME:
                raise untranslatable(f"{at}.content ({block.value.get('type', 'unknown')})", self._source, NAME)
            return block.value
        if isinstance(block, Text):
            value: Json = {"type": "text", "text": block.text}
        elif isinstance(block, Image):
            url = block.url or f"data:{block.media_type};base64,{block.data}"
            value = {"type": "image_url", "image_url": {"url": url}}
            if block.detail:
                value["image_url"]["detail"] = block.detail
        else:
            raise untranslatable(f"{at}.content", self._source, NAME)
        if block.extra:
            if self._own:
                value.update(block.extra)
            else:
                refuse_unknown(block.extra, PART_HINTS, at, self._source, NAME)
        return value


def _as_error(parts: list[Block]) -> list[Block]:
    """OpenAI has no flag for a failed tool: the text says it, unless it does already."""
    text = "".join(block.text for block in parts if isinstance(block, Text))
    if text.lstrip().lower().startswith("error"):
        return parts
    return [Text(f"Error: {text}" if text else "Error"), *(b for b in parts if not isinstance(b, Text))]


def _merge(previous: Json, body: Json) -> None:
    """Adds an assistant turn to the one before: OpenAI wants all calls of a turn in one message."""
    if body["content"] is not None:
        previous["content"] = (
            body["content"] if previous["content"] is None else _parts(previous["content"]) + _parts(body["content"])
        )
    for key in ("reasoning_content", "tool_calls"):
        if key in body:
            previous[key] = previous[key] + body[key] if key in previous else body[key]


def _parts(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _joined(content: str | list[Json], separator: str) -> str | list[Json]:
    """Several plain text parts as one string; anything else as it is."""
    if isinstance(content, str) or any(part.get("type") != "text" for part in content):
        return content
    return separator.join([part["text"] for part in content])
