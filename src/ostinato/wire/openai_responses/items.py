"""The output items and the response object around them, as this wire shows them."""

from typing import Any

from ostinato.wire.jsons import is_array, is_object, part, string
from ostinato.wire.model import BlockStart, ChatRequest, Delta, Finish, Identity, Json, Usage
from ostinato.wire.openai_responses.request_reader import NAME, SIGNED
from ostinato.wire.usage import write_responses

PREFIX = "resp_"

_ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "tool_choice",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)


def echo(request: ChatRequest) -> Json:
    """The fields of a request that this wire repeats in its answer, for ``Identity.echo``."""
    original = request.original or {}
    value = {key: original[key] for key in _ECHOED if original.get(key) is not None}
    tools: object = original.get("tools")
    if is_array(tools):
        value["tools"] = [
            {"parameters": None, "strict": True, **tool} if is_object(tool) and tool.get("type") == "function" else tool
            for tool in tools
        ]
    return value


def response_object(identity: Identity, status: str, output: list[Json], top: Json) -> Json:
    """The ``response``: ``top`` is what a provider of this wire said, else what the request said."""
    return {
        "id": PREFIX + identity.id,
        "object": "response",
        "created_at": identity.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": identity.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
        **(top or identity.echo or {}),
        "store": False,
    }


def usage_object(usage: Usage | None, native: bool) -> Json | None:
    """The provider's own words on its own wire, else from the buckets."""
    if usage is None:
        return None
    if native:
        return usage.raw
    return write_responses(usage)


def conclude(response: Json, finish: Finish | None, usage: Json | None, identity: Identity) -> str:
    """Fills in how the response ended; returns its status."""
    reason = finish.reason if finish is not None else "other"
    if reason == "length":
        status, why = "incomplete", "max_output_tokens"
    elif reason in ("content_filter", "refusal") and not _has_refusal(response["output"]):
        status, why = "incomplete", "content_filter"
    else:
        status, why = "completed", ""
    response["status"] = status
    response["incomplete_details"] = {"reason": why} if why else None
    response["completed_at"] = identity.created if status == "completed" else None
    response["usage"] = usage
    return status


def _has_refusal(output: list[Json]) -> bool:
    return any(item.get("type") == "refusal" for entry in output for item in entry.get("content") or ())


def message_item(identifier: str, status: str, content: list[Json]) -> Json:
    return {"id": identifier, "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(kind: str, text: str) -> Json:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def call_item(identifier: str, status: str, start: BlockStart, arguments: str, identity: Identity) -> Json:
    return {
        "id": identifier,
        "type": "function_call",
        "status": status,
        "call_id": start.id or f"call_{identity.id}_{start.index}",
        "name": start.name,
        "arguments": arguments,
    }


def reasoning_item(identifier: str, text: str, signature: str) -> Json:
    item: Json = {"id": identifier, "type": "reasoning", "summary": []}
    if text:
        item["summary"] = [{"type": "summary_text", "text": text}]
    if signature:
        item["encrypted_content"] = SIGNED + signature
    return item


class Output:
    """Puts blocks together into items; the stream writer asks it for positions. One per answer."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.source = ""
        """The wire that the events came from."""
        self.items: list[Json] = []
        self._starts: dict[int, BlockStart] = {}
        self._texts: dict[int, list[str]] = {}
        self._places: dict[int, tuple[int, int]] = {}
        """Block -> position of its item, position of its part."""
        self._signatures: dict[int, str] = {}

    @property
    def native(self) -> bool:
        return self.source == NAME

    def begin(self, start: BlockStart) -> tuple[int, int] | None:
        """Where the block goes; ``None`` where this wire has no place for it. A part of 0 begins a new item."""
        extra: Json = (start.extra or {}) if self.native else {}
        kind = start.kind
        item: Json
        if kind in ("text", "refusal"):
            last = self.items[-1] if self.items else None
            joins = last is not None and last.get("type") == "message" and ("item" not in extra or extra.get("joins"))
            if last is not None and joins:
                place = (len(self.items) - 1, len(last["content"]))
                last["content"].append(dict(extra.get("part") or text_part(kind, "")))
                return self._put(start, place)
            given = extra.get("item")
            item = message_item(self._name("msg"), "in_progress", []) if given is None else {**given, "content": []}
            item["content"].append(dict(extra.get("part") or text_part(kind, "")))
        elif kind == "thinking":
            item = dict(extra["item"]) if "item" in extra else reasoning_item(self._name("rs"), "", "")
        elif kind == "tool_use":
            given = extra.get("item")
            item = call_item(self._name("fc"), "in_progress", start, "", self._identity)
            item.update(given or {})
        elif kind == "opaque" and "value" in extra:
            item = dict(extra["value"])
        else:
            return None
        self.items.append(item)
        return self._put(start, (len(self.items) - 1, 0))

    def _put(self, start: BlockStart, place: tuple[int, int]) -> tuple[int, int]:
        self._starts[start.index] = start
        self._texts[start.index] = []
        self._places[start.index] = place
        # Anthropic's signature goes back with the next turn; see SIGNED.
        block = part(start.extra, "block")
        if self.source == "anthropic.messages" and block.get("signature"):
            self._signatures[start.index] = string(block["signature"])
        return place

    def _name(self, prefix: str) -> str:
        return f"{prefix}_{self._identity.id}_{len(self.items)}"

    def add(self, event: Delta) -> None:
        texts = self._texts.get(event.index)
        if texts is None:
            return
        texts.append(event.text)
        if event.extra is not None and self.source == "anthropic.messages" and "signature" in event.extra:
            self._signatures[event.index] = string(event.extra["signature"])

    def place(self, index: int) -> tuple[int, int] | None:
        return self._places.get(index)

    def kind(self, index: int) -> str:
        return self._starts[index].kind

    def text(self, index: int) -> str:
        return "".join(self._texts[index])

    def complete(self, index: int) -> Json:
        """Fills the block's text into its item and returns the item."""
        item = self.items[self._places[index][0]]
        kind = self.kind(index)
        text = self.text(index)
        if kind in ("text", "refusal"):
            piece: Any = item["content"][self._places[index][1]]
            piece["refusal" if kind == "refusal" else "text"] = text
        elif kind == "tool_use":
            item["arguments"] = text
        elif kind == "thinking":
            if not self.native:
                item.update(reasoning_item(item["id"], text, self._signatures.get(index, "")))
            return item
        elif kind == "opaque":
            return item
        given = part(self._starts[index].extra, "item") if self.native else {}
        item["status"] = given.get("status") or "completed"
        return item
