"""A Responses stream, read into events.

Text and arguments come as they arrive; everything else (ids, annotations, sealed reasoning) is taken from the item when
it is done, and the counts from the response at the end.
"""

from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.failures import refuse_body, reported
from ostinato.wire.jsons import DECODE_ERRORS, decode, is_integer, is_object, string, without
from ostinato.wire.model import BlockKind, BlockStart, BlockStop, Delta, Event, Json, Note, Start
from ostinato.wire.openai_responses.answer import ending, item_events, start_of
from ostinato.wire.sse import Parser

_TEXT = {"response.output_text.delta": "text", "response.refusal.delta": "refusal"}
_SILENT = frozenset(
    {
        "response.queued",
        "response.in_progress",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.refusal.done",
        "response.function_call_arguments.done",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
    }
)


class Reader:
    """``StreamReader`` of this wire."""

    def __init__(self) -> None:
        self._sse = Parser()
        self._done = False
        self._started = False
        self._blocks: dict[tuple[int, int], int] = {}
        """Item and part -> block."""
        self._starts: list[Event] = []
        self._items: set[int] = set()

    @property
    def finished(self) -> bool:
        """Whether ``response.completed`` or ``response.incomplete`` was seen."""
        return self._done

    @property
    def answered(self) -> bool:
        return self._done

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        try:
            for _, payload in self._sse.feed(data):
                self._take(payload, events)
            if self._sse.untouched:
                refuse_body(self._sse.pending)
        except (Malformed, ErrorInStream) as error:
            error.events = tuple(events)
            raise
        return events

    def _take(self, payload: bytes, events: list[Event]) -> None:
        if self._done or not payload.strip():
            return
        try:
            value: object = decode(payload)
        except DECODE_ERRORS as error:
            raise Malformed("The provider's stream holds an event that is no JSON.") from error
        if not is_object(value):
            raise Malformed("The provider's stream holds an event that is no object.")
        kind = string(value.get("type"))
        if kind == "response.created":
            self._start(value, events)
        elif kind in _TEXT:
            self._text(value, "refusal" if _TEXT[kind] == "refusal" else "text", events)
        elif kind in ("response.function_call_arguments.delta", "response.reasoning_summary_text.delta"):
            self._fragment((self._place(value, "output_index"), 0), value, events)
        elif kind == "response.reasoning_summary_part.added":
            if self._place(value, "summary_index") > 0:
                self._fragment((self._place(value, "output_index"), 0), {"delta": "\n\n"}, events)
        elif kind == "response.output_item.added":
            self._begin(value, events)
        elif kind == "response.output_item.done":
            self._end(value, events)
        elif kind in ("response.completed", "response.incomplete"):
            response: object = value.get("response")
            if not is_object(response):
                raise Malformed("The provider's stream ends without a response.")
            events.extend(ending(response, self._starts))
            self._done = True
        elif kind in ("error", "response.failed") or value.get("error") is not None:
            response = value.get("response")
            raise reported(response.get("error") if is_object(response) else value)
        elif kind not in _SILENT:
            events.append(Note("event", {"name": kind, "event": value}))

    def _place(self, value: Json, key: str) -> int:
        position: object = value.get(key)
        if not is_integer(position):
            raise Malformed(f"The provider's stream holds an event without {key}.")
        return position

    def _start(self, value: Json, events: list[Event]) -> None:
        response: object = value.get("response")
        if not is_object(response) or self._started:
            raise Malformed("The provider's stream begins out of place.")
        self._started = True
        start = start_of(response)
        top = without((start.extra or {}).get("top") or {}, frozenset({"error", "incomplete_details"}))
        events.append(Start(start.model, {"top": top}, start.wire))

    def _block(self, place: tuple[int, int], start: BlockStart, events: list[Event]) -> int:
        self._blocks[place] = start.index
        self._starts.append(start)
        events.append(start)
        return start.index

    def _begin(self, value: Json, events: list[Event]) -> None:
        position = self._place(value, "output_index")
        item: object = value.get("item")
        if not is_object(item) or not self._started:
            raise Malformed("The provider's stream begins an item out of place.")
        kind: object = item.get("type")
        if kind == "function_call":
            rest = without(item, frozenset({"call_id", "name", "arguments", "status"}))
            start = BlockStart(
                len(self._starts), "tool_use", string(item.get("call_id")), string(item.get("name")), {"item": rest}
            )
            self._block((position, 0), start, events)
        elif kind == "reasoning":
            self._block((position, 0), BlockStart(len(self._starts), "thinking"), events)
        elif kind == "message":
            self._items.add(position)

    def _text(self, value: Json, kind: BlockKind, events: list[Event]) -> None:
        place = (self._place(value, "output_index"), self._place(value, "content_index"))
        if place not in self._blocks:
            if place[0] not in self._items:
                raise Malformed("The provider's stream names an item that it did not begin.")
            self._block(place, BlockStart(len(self._starts), kind), events)
        self._fragment(place, value, events)

    def _fragment(self, place: tuple[int, int], value: Json, events: list[Event]) -> None:
        block = self._blocks.get(place)
        text: object = value.get("delta")
        if block is None or not isinstance(text, str):
            raise Malformed("The provider's stream holds a fragment out of place.")
        if text:
            events.append(Delta(block, text))

    def _end(self, value: Json, events: list[Event]) -> None:
        position = self._place(value, "output_index")
        begun = [block for (item, _), block in self._blocks.items() if item == position]
        if begun:
            events.extend(BlockStop(block) for block in begun)
            return
        # Nothing of it was streamed: a hosted tool's item, or an empty message.
        for event in item_events(value.get("item"), len(self._starts)):
            if isinstance(event, BlockStart):
                self._starts.append(event)
            events.append(event)
