"""A whole Responses answer, read into events and written from them."""

from collections.abc import Mapping

from ostinato.wire.errors import Malformed
from ostinato.wire.failures import reported
from ostinato.wire.jsons import encode, is_array, is_object, parse_object, part, string, without
from ostinato.wire.model import (
    Answer,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Identity,
    Json,
    Start,
    Usage,
)
from ostinato.wire.openai_responses.items import Output, conclude, response_object, usage_object
from ostinato.wire.openai_responses.request_reader import NAME
from ostinato.wire.usage import read_responses

_REASONS: Mapping[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_CHANGING = frozenset({"id", "created_at", "model", "output", "usage", "object", "status", "completed_at"})


def read_answer(body: bytes) -> Answer:
    """See ``Codec.read_answer``."""
    return answer_of(parse_object(body))


def answer_of(value: Json) -> Answer:
    """The events of a complete ``response`` object."""
    output: object = value.get("output")
    if value.get("error") is not None and (not output or value.get("status") == "failed"):
        raise reported(value["error"])
    if not is_array(output):
        raise Malformed("The provider's answer holds no output.")
    events: list[Event] = [start_of(value)]
    for item in output:
        events.extend(item_events(item, sum(isinstance(event, BlockStart) for event in events)))
    events.extend(ending(value, events))
    return Answer(NAME, tuple(events))


def start_of(value: Json) -> Start:
    top = without(value, _CHANGING)
    return Start(string(value.get("model")), {"top": top} if top else None, NAME)


def ending(value: Json, events: list[Event]) -> list[Event]:
    """Finish and usage of a complete ``response`` object whose other events are ``events``."""
    kinds = {event.kind for event in events if isinstance(event, BlockStart)}
    why = string(part(value, "incomplete_details").get("reason"))
    status = string(value.get("status"))
    reason: FinishReason
    if status == "incomplete":
        reason = _REASONS.get(why, "other")
    else:
        reason = "tool_use" if "tool_use" in kinds else "refusal" if "refusal" in kinds else "stop"
    usage: object = value.get("usage")
    extra = {"top": {"incomplete_details": value.get("incomplete_details"), "status": status}}
    return [
        Finish(reason, why or status, None, extra),
        read_responses(usage) if is_object(usage) else Usage(),
    ]


def item_events(item: object, index: int) -> list[Event]:
    """The blocks of one output item, the first of which is numbered ``index``."""
    if not is_object(item):
        raise Malformed("The provider's output holds an item that is no object.")
    kind: object = item.get("type")
    if kind == "message":
        return _message(item, index)
    if kind == "function_call":
        rest = without(item, frozenset({"call_id", "name", "arguments"}))
        start = BlockStart(index, "tool_use", string(item.get("call_id")), string(item.get("name")), {"item": rest})
        return [start, Delta(index, string(item.get("arguments"))), BlockStop(index)]
    if kind == "reasoning":
        texts: list[str] = []
        summary: object = item.get("summary")
        for entry in summary if is_array(summary) else []:
            texts.append(string(part({"entry": entry}, "entry").get("text")))
        return [
            BlockStart(index, "thinking", "", "", {"item": item}),
            Delta(index, "\n\n".join(texts)),
            BlockStop(index),
        ]
    return [BlockStart(index, "opaque", "", "", {"value": item}), BlockStop(index)]


def _message(item: Json, index: int) -> list[Event]:
    content: object = item.get("content")
    rest = without(item, frozenset({"content"}))
    events: list[Event] = []
    joins = False
    for piece in content if is_array(content) else []:
        if not is_object(piece):
            raise Malformed("The provider's message holds a part that is no object.")
        refusal = piece.get("type") == "refusal"
        field = "refusal" if refusal else "text"
        extra: Json = {"item": rest, "part": {**piece, field: ""}}
        if joins:
            extra["joins"] = True
        joins = True
        events.append(BlockStart(index, "refusal" if refusal else "text", "", "", extra))
        events.append(Delta(index, string(piece.get(field))))
        events.append(BlockStop(index))
        index += 1
    return events


def write_answer(answer: Answer, identity: Identity) -> bytes:
    """See ``Codec.write_answer``."""
    output = Output(identity)
    output.source = answer.wire
    native = output.native
    top: Json = {}
    finish: Finish | None = None
    usage: Usage | None = None
    begun: list[int] = []
    for event in answer.events:
        if type(event) is Delta:
            output.add(event)
        elif type(event) is BlockStart:
            if output.begin(event) is not None:
                begun.append(event.index)
        elif isinstance(event, Usage):
            usage = event
        elif isinstance(event, Finish):
            finish = event
        elif isinstance(event, Start) and native:
            top = part(event.extra, "top")
    for index in begun:
        output.complete(index)
    response = response_object(identity, "completed", output.items, top)
    conclude(response, finish, usage_object(usage, native), identity)
    if native and finish is not None:
        response.update({key: item for key, item in part(finish.extra, "top").items() if item != ""})
    return encode(response)
