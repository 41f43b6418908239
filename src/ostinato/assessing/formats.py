"""From records to recorded requests: which format a record is in, and what it says.

A record may be a request alone, a request with its answer, a line of a batch, an observation of Langfuse, or spans of
OpenTelemetry; it is told by its keys. Each reader gives :class:`Raw`, which :func:`exchange` puts through the codec of
its wire. Whatever cannot be used raises ``Unusable`` with a reason that holds nothing of the texts.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec

from ostinato import wire
from ostinato.assessing import moments, of_langfuse, of_otlp
from ostinato.assessing.model import Exchange
from ostinato.assessing.raw import Raw, Unusable, as_object, part, string
from ostinato.core.errors import OstinatoError
from ostinato.wire.model import Answer, Finish, Json, WireName
from ostinato.wire.usage import read_anthropic, read_openai, read_responses

T = TypeVar("T")

_WIRES: dict[str, WireName] = {
    "openai": "openai.chat",
    "anthropic": "anthropic.messages",
    "responses": "openai.responses",
}
_NAMES: dict[str, str] = {wire_name: name for name, wire_name in _WIRES.items()}
_PROVIDERS: dict[WireName, str] = {
    "openai.chat": "openai",
    "openai.responses": "openai",
    "anthropic.messages": "anthropic",
}
_USAGE = {"openai.chat": read_openai, "openai.responses": read_responses, "anthropic.messages": read_anthropic}
_REQUEST = ("request", "request_body", "requestBody", "req", "input_body")
_RESPONSE = ("response", "response_body", "responseBody", "answer", "res", "completion")
_EMBEDDING = "it is a request for vectors, not a chat"


def raws(record: Json, form: str, now: int, batch: "Batch") -> Iterator[tuple[str, Raw | Unusable]]:
    """What a record holds, with the format it is in. ``form``: what it must be read as; empty: look."""
    found = form or detect(record)
    if not found:
        raise Unusable("it is in no format that is known; say --format if it is")
    if found == "langfuse":
        for one in of_langfuse.observations(record):
            yield found, _tried(partial(of_langfuse.read, one, now))
    elif found == "otlp":
        for span in of_otlp.spans(record):
            told = _tried(partial(of_otlp.read, span, now))
            if told is not None:
                yield found, told
    elif found == "openai-batch":
        for told in batch.line(record, now):
            yield found, told
    else:
        yield found, _tried(partial(_plain, record, _WIRES[found], now))


def _tried(read: Callable[[], T]) -> T | Unusable:
    try:
        return read()
    except Unusable as error:
        return error


def detect(record: Json) -> str:
    """The format of a record, by its keys; empty: none that is known."""
    if of_otlp.looks_like(record):
        return "otlp"
    if isinstance(record.get("custom_id"), str):
        return "openai-batch"
    if of_langfuse.looks_like(record):
        return "langfuse"
    body, answer = _parts(record)
    if body is None:
        return ""
    return _NAMES[_wire_of(body, as_object(answer))]


def _parts(record: Json) -> tuple[Json | None, Any]:
    """The request's body and the answer of a record that holds both, or the first alone."""
    for name in _REQUEST:
        body = as_object(record.get(name))
        if body:
            body = part(body, "body") or body
            answer = next((record[key] for key in _RESPONSE if record.get(key) is not None), None)
            return body, _body(answer)
    if "messages" in record or ("model" in record and "input" in record):
        inner = next((record[key] for key in _RESPONSE if isinstance(record.get(key), dict)), None)
        if inner is None:
            return record, None
        ours = (*_RESPONSE, "timestamp")
        return {name: value for name, value in record.items() if name not in ours}, _body(inner)
    return None, None


def _body(answer: Any) -> Any:
    """The answer itself, where it is wrapped as an HTTP response is."""
    return part(answer, "body") or answer


def _wire_of(body: Json, answer: Json) -> WireName:
    if answer.get("type") == "message" or "anthropic_version" in body:
        return "anthropic.messages"
    if "choices" in answer:
        return "openai.chat"
    if "messages" not in body and "input" in body:
        return "openai.responses"
    model = body.get("model")
    if "system" in body or (isinstance(model, str) and model.startswith("claude") and "max_tokens" in body):
        return "anthropic.messages"
    return "openai.chat"


def _plain(record: Json, name: WireName, now: int) -> Raw:
    body, answer = _parts(record)
    if body is None:
        raise Unusable("it holds no request")
    apart = body is not record
    empty: Json = {}
    response = next((found for key in _RESPONSE if (found := part(record, key))), empty)
    return Raw(
        wire=name,
        body=body if apart else _bare(body),
        answer=answer,
        at=moments.of(record, now) or moments.of(as_object(answer), now),
        provider=string(record, "provider") if apart else "",
        user=string(record, "user", "user_id", "userId", "end_user") if apart else string(record, "user_id", "userId"),
        session=string(record, "session", "session_id", "sessionId", "conversation_id", "thread_id"),
        intent=string(record, "intent"),
        status=_status(record, response),
        us=moments.duration(record),
    )


_OURS = frozenset({"timestamp", "time", "at", "ts", "created_at", "createdAt", "session_id", "sessionId", "user_id"})


def _bare(body: Json) -> Json:
    """A body that a log has written its own fields into, without them: they are different in every line."""
    return {name: value for name, value in body.items() if name not in _OURS}


def _status(record: Json, response: Json) -> int:
    for value in (record.get("status"), record.get("status_code"), response.get("status_code"), response.get("status")):
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
            return value
    failed = record.get("error") or ("choices" not in response and part(response, "error"))
    return 500 if failed else 200


def exchange(raw: Raw, number: int, at: int, *, timed: bool) -> Exchange:
    """A recorded request in canonical form. Raises ``Unusable``."""
    codec = wire.codec(raw.wire)
    try:
        request = codec.read_request(raw.body)
    except OstinatoError as error:
        named = getattr(error, "param", "") or ""
        raise Unusable(f"a gateway refuses its request{f': {named[:60]}' if named else ''}") from None
    except (RecursionError, TypeError, ValueError, KeyError, AttributeError):
        raise Unusable("a gateway refuses its request") from None
    answer, status = _answer(raw)
    model = ""
    if answer is not None:
        model = wire.summary(answer).model
    return Exchange(
        at=at,
        number=number,
        request=msgspec.structs.replace(request, original=None),
        answer=None if answer is None else wire.encode_answer(answer),
        usage=_USAGE[raw.wire](raw.usage) if raw.usage else None,
        provider=raw.provider or ("" if "/" in request.model else _PROVIDERS[raw.wire]),
        model=model,
        user=raw.user or request.user or "",
        session=raw.session,
        intent=raw.intent,
        status=status,
        us=raw.us,
        timed=timed,
        ended=raw.ended,
    )


def _answer(raw: Raw) -> tuple[Answer | None, int]:
    """The answer, and the status; one that cannot be read is as none, and not kept."""
    if raw.answer is None or raw.status >= 400:
        return None, raw.status
    codec = wire.codec(raw.wire)
    try:
        if isinstance(raw.answer, str):
            if not raw.answer.lstrip().startswith(("data:", "event:")):
                return None, raw.status
            reader = codec.stream_reader()
            events = tuple(reader.feed(raw.answer.encode() + b"\n\n"))
            if not any(isinstance(event, Finish) for event in events):
                return None, 500
            return Answer(wire=raw.wire, events=events), raw.status
        return codec.read_answer(msgspec.json.encode(raw.answer)), raw.status
    except wire.ErrorInStream:
        return None, 500
    except (OstinatoError, wire.Malformed, RecursionError, TypeError, ValueError, KeyError):
        raise Unusable("its answer cannot be read") from None


class Batch:
    """Files of OpenAI's batches: requests in one, answers in another, joined by ``custom_id``. Bounded."""

    def __init__(self, room: int = 128 * 1_048_576) -> None:
        self._room = room
        self._size = 0
        self._asked: dict[str, Json] = {}
        self._answered: dict[str, tuple[Json, int]] = {}

    def line(self, record: Json, now: int) -> Iterator[Raw | Unusable]:
        """What this line completes."""
        name = str(record["custom_id"])
        body = part(record, "body") or part(record, "params")
        told = part(record, "response") or part(record, "result")
        if body:
            url = str(record.get("url", ""))
            if url and "chat/completions" not in url and "responses" not in url:
                yield Unusable(_EMBEDDING if "embedding" in url else "it is no chat request")
                return
            answer = self._answered.pop(name, None)
            if answer is not None:
                yield self._raw(body, answer[0], now)
                return
            self._asked[name] = body
            self._size += len(str(body))
        elif told or record.get("error"):
            known = self._asked.pop(name, None)
            if known is not None:
                self._size -= len(str(known))
                yield self._raw(known, record, now)
                return
            self._answered[name] = (record, now)
            self._size += len(str(record))
        else:
            yield Unusable("it is neither a request nor an answer of a batch")
        while self._size > self._room and (self._asked or self._answered):
            yield self._made_room(now)

    def rest(self, now: int) -> Iterator[Raw | Unusable]:
        """Requests that no answer came to, and answers to requests that are not there."""
        for body in self._asked.values():
            yield self._raw(body, {}, now)
        for _ in self._answered:
            yield Unusable("its request is not among the files: give those of the batch's input too")
        self._asked.clear()
        self._answered.clear()

    def _made_room(self, now: int) -> Raw | Unusable:
        if self._asked:
            body = self._asked.pop(next(iter(self._asked)))
            self._size -= len(str(body))
            return self._raw(body, {}, now)
        record, _ = self._answered.pop(next(iter(self._answered)))
        self._size -= len(str(record))
        return Unusable("its request is not among the files: give those of the batch's input too")

    @staticmethod
    def _raw(body: Json, record: Json, now: int) -> Raw:
        told = part(record, "response")
        answer = part(told, "body") or part(part(record, "result"), "message")
        status = told.get("status_code", 200)
        failed = bool(record) and not answer
        return Raw(
            wire=_wire_of(body, answer),
            body=body,
            answer=answer or None,
            at=moments.of(answer, now) if answer else 0,
            status=500 if failed else status if isinstance(status, int) else 200,
        )
