"""Events, written as a Responses stream: every lifecycle event, numbered, and no ``[DONE]``."""

from typing import Any

from ostinato.core.errors import OstinatoError
from ostinato.wire.failures import openai_error
from ostinato.wire.jsons import encode, part
from ostinato.wire.model import BlockStart, BlockStop, Delta, Event, Finish, Identity, Json, Start, Usage
from ostinato.wire.openai_responses.items import Output, conclude, response_object, text_part, usage_object
from ostinato.wire.sequence import Sequence
from ostinato.wire.sse import event as sse_event

_FRAGMENTS = {
    "text": ("response.output_text.delta", "content_index"),
    "refusal": ("response.refusal.delta", "content_index"),
    "thinking": ("response.reasoning_summary_text.delta", "summary_index"),
    "tool_use": ("response.function_call_arguments.delta", ""),
}


class Writer:
    """``StreamWriter`` of this wire."""

    def __init__(self, identity: Identity, *, include_usage: bool) -> None:
        del include_usage  # This wire always tells its usage.
        self._identity = identity
        self._output = Output(identity)
        self._top: Json = {}
        self._number = 0
        self._begun = False
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._prefixes: dict[int, bytes] = {}
        """Block -> the bytes before a fragment's text."""
        self._sequence = Sequence()
        self._open: int | None = None
        self._message: int | None = None
        """Position of the message item that is still open."""

    def write(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for event in self._sequence.arrange(events):
            if type(event) is Delta:
                self._output.add(event)
                prefix = self._prefixes.get(event.index)
                if prefix is not None and event.text:
                    out += (prefix, encode(event.text), b',"sequence_number":%d}\n\n' % self._number)
                    self._number += 1
            elif isinstance(event, BlockStart):
                self._block(event, out)
            elif isinstance(event, BlockStop):
                self._stop(event.index, out)
            elif isinstance(event, Start):
                self._start(event, out)
            elif isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Finish):
                self._finish = event
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._close(out)
        response = response_object(self._identity, "completed", self._output.items, self._top)
        usage = usage_object(self._usage, self._output.native)
        status = conclude(response, self._finish, usage, self._identity)
        self._send(f"response.{status}", {"response": response}, out)
        return b"".join(out)

    def fail(self, error: OstinatoError) -> bytes:
        out: list[bytes] = []
        if self._begun:
            response = response_object(self._identity, "failed", self._output.items, self._top)
            code = "rate_limit_exceeded" if error.status == 429 else "server_error"
            response["error"] = {"code": code, "message": error.sentence}
            self._send("response.failed", {"response": response}, out)
        else:
            body = openai_error(error)
            self._send("error", {"code": body["code"], "message": body["message"], "param": body["param"]}, out)
        return b"".join(out)

    def ping(self) -> bytes:
        return b": ping\n\n"

    # --- the parts -------------------------------------------------------------------------------------------

    def _send(self, kind: str, rest: Json, out: list[bytes]) -> None:
        out.append(sse_event(kind.encode(), encode({"type": kind, **rest, "sequence_number": self._number})))
        self._number += 1

    def _start(self, event: Start, out: list[bytes]) -> None:
        self._begun = True
        self._output.source = event.wire
        if self._output.native:
            self._top = part(event.extra, "top")
        response = response_object(self._identity, "in_progress", [], self._top)
        self._send("response.created", {"response": response}, out)
        self._send("response.in_progress", {"response": response}, out)

    def _block(self, event: BlockStart, out: list[bytes]) -> None:
        extra: Json = (event.extra or {}) if self._output.native else {}
        if event.kind not in ("text", "refusal") or ("item" in extra and "joins" not in extra):
            self._close(out)
        place = self._output.begin(event)
        if place is None:
            return
        position, piece = place
        item = self._output.items[position]
        self._open = event.index
        if piece == 0:
            self._send("response.output_item.added", {"output_index": position, "item": _begun_item(item)}, out)
        where: Json = {"item_id": item.get("id", ""), "output_index": position}
        if event.kind in ("text", "refusal"):
            self._message = position
            self._part_event("content_part.added", where, piece, text_part(event.kind, ""), out)
        elif event.kind == "thinking":
            self._summary_event("added", where, "", out)
        words = _FRAGMENTS.get(event.kind)
        if words is not None:
            kind, counter = words
            head: Json = {"type": kind, **where}
            if counter:
                head[counter] = piece
            if event.kind == "text":
                head["logprobs"] = []
            self._prefixes[event.index] = b'event: %b\ndata: %b,"delta":' % (kind.encode(), encode(head)[:-1])

    def _part_event(self, name: str, where: Json, piece: int, value: Json, out: list[bytes]) -> None:
        self._send(f"response.{name}", {**where, "content_index": piece, "part": value}, out)

    def _summary_event(self, name: str, where: Json, text: str, out: list[bytes]) -> None:
        value = {"type": "summary_text", "text": text}
        self._send(f"response.reasoning_summary_part.{name}", {**where, "summary_index": 0, "part": value}, out)

    def _stop(self, index: int, out: list[bytes]) -> None:
        place = self._output.place(index)
        if place is None or index != self._open:
            return
        self._open = None
        position, piece = place
        kind = self._output.kind(index)
        text = self._output.text(index)
        item = self._output.complete(index)
        where: Json = {"item_id": item.get("id", ""), "output_index": position}
        if kind in ("text", "refusal"):
            value: Any = item["content"][piece]
            done: Json = {**where, "content_index": piece}
            if kind == "text":
                self._send("response.output_text.done", {**done, "text": text, "logprobs": []}, out)
            else:
                self._send("response.refusal.done", {**done, "refusal": text}, out)
            self._part_event("content_part.done", where, piece, value, out)
            return  # The item stays open: another part may follow.
        if kind == "thinking":
            done = {**where, "summary_index": 0, "text": text}
            self._send("response.reasoning_summary_text.done", done, out)
            self._summary_event("done", where, text, out)
        elif kind == "tool_use":
            done = {**where, "name": item["name"], "arguments": text}
            self._send("response.function_call_arguments.done", done, out)
        self._send("response.output_item.done", {"output_index": position, "item": item}, out)

    def _close(self, out: list[bytes]) -> None:
        """Ends what is open, the message item included."""
        if self._open is not None:
            self._stop(self._open, out)
        if self._message is not None:
            position = self._message
            self._message = None
            item = self._output.items[position]
            self._send("response.output_item.done", {"output_index": position, "item": item}, out)


def _begun_item(item: Json) -> Json:
    """An item as it is announced: without content."""
    begun = {**item, "status": "in_progress"}
    kind: object = item.get("type")  # a provider's own item may have none
    if kind == "message":
        begun["content"] = []
    elif kind == "reasoning":
        begun["summary"] = []
        begun.pop("status")
    return begun
