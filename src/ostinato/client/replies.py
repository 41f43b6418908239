"""What a model call gives: the answer in typed form, and what Ostinato's headers tell about it."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, cast

import msgspec

from ostinato import wire
from ostinato.client.refusals import malformed, refusal
from ostinato.core.errors import UpstreamFailed
from ostinato.wire.model import Answer, BlockStart, Delta, Event, FinishReason, Json, Usage, WireName


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the model wants made."""

    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it."""


class Provenance(msgspec.Struct, frozen=True):
    """Where an answer came from. Fields are empty where the server did not say."""

    request_id: str = ""
    """For ``ostinato explain``, and for support."""
    cache: str = ""
    """``hit-exact``, ``miss``, ``stale`` or ``bypass``."""
    reason: str = ""
    """Why, in one word, where ``cache`` is not plain."""
    age: int | None = None
    """Seconds since the answer was first given; on a hit."""
    entry: str = ""
    """Opaque name of the cache entry."""
    target: str = ""
    """The provider and model that really answered."""
    intent: str = ""
    prompt: str = ""
    version: int | None = None
    release: str = ""
    arm: str = ""
    """``stable``, ``canary`` or ``control`` while a canary runs."""
    cost: Decimal | None = None
    """Dollars; ``None`` where unknown, as at the begin of a stream."""
    saved: Decimal | None = None
    """Dollars that the call would have cost without the cache."""
    held: str = ""
    """Id of the answer that waits for somebody to look at it, where the text is the intent's own for the meantime."""

    @property
    def hit(self) -> bool:
        """Whether the answer was a repetition."""
        return self.cache.startswith("hit") or self.cache == "stale"


class Reply(msgspec.Struct, frozen=True):
    """One answer of a model."""

    text: str
    """What it said; empty where it only calls tools."""
    tool_calls: tuple[ToolCall, ...]
    finish: FinishReason | None
    """``None``: a stream that was left before its end."""
    usage: Usage | None
    model: str
    """What was asked for, as the server repeats it."""
    provenance: Provenance
    answer: Answer
    """Everything that came, as events: reasoning, refusals, log probabilities."""
    body: Json
    """The body as it came; empty for a stream."""


def provenance(headers: Mapping[str, str]) -> Provenance:
    """What the headers of a reply tell."""
    cache, _, reason = headers.get("ostinato-cache", "").partition(";")
    prompt = _fields(headers.get("ostinato-prompt", ""))
    age = headers.get("age", "")
    return Provenance(
        request_id=headers.get("x-request-id", ""),
        cache=cache.strip(),
        reason=reason.strip().removeprefix("reason="),
        age=int(age) if age.isascii() and age.isdigit() else None,
        entry=headers.get("ostinato-entry", ""),
        target=headers.get("ostinato-target", ""),
        intent=headers.get("ostinato-intent", ""),
        prompt=prompt.get("", ""),
        version=int(prompt["version"]) if prompt.get("version", "").isdecimal() else None,
        release=prompt.get("release", ""),
        arm=prompt.get("arm", ""),
        cost=_dollars(headers.get("ostinato-cost")),
        saved=_dollars(headers.get("ostinato-saved")),
        held=headers.get("ostinato-held", ""),
    )


def read(name: WireName, headers: Mapping[str, str], body: bytes, address: str) -> Reply:
    """A complete reply in the wire ``name``. Raises ``Unavailable`` where it is none."""
    try:
        answer = wire.codec(name).read_answer(body)
        told: object = msgspec.json.decode(body)
    except (wire.Malformed, msgspec.DecodeError) as error:
        raise malformed(address) from error
    except wire.ErrorInStream as error:
        _fail(error, headers)
    plain = cast("Json", told) if isinstance(told, dict) else {}
    return assemble(answer, headers, plain)


def assemble(answer: Answer, headers: Mapping[str, str], body: Json) -> Reply:
    """A reply from the events of an answer."""
    told = wire.summary(answer)
    model = body.get("model")
    return Reply(
        text=wire.text_of(answer),
        tool_calls=tuple(_tool_calls(answer.events)),
        finish=told.finish,
        usage=told.usage,
        model=model if isinstance(model, str) else told.model,
        provenance=provenance(headers),
        answer=answer,
        body=body,
    )


class Incoming:
    """A stream as it arrives: feed it bytes, it gives pieces of text."""

    def __init__(self, name: WireName, headers: Mapping[str, str]) -> None:
        self._name = name
        self._reader = wire.codec(name).stream_reader()
        self._headers = headers
        self._events: list[Event] = []
        self._texts: set[int] = set()
        """Blocks that are text, and neither reasoning nor arguments."""

    def feed(self, data: bytes) -> list[str]:
        """The text that ``data`` completes. Raises ``UpstreamFailed`` where the server tells an error."""
        try:
            events = self._reader.feed(data)
        except wire.ErrorInStream as error:
            _fail(error, self._headers)
        except wire.Malformed as error:
            raise UpstreamFailed(f"The stream broke: {error.message}", code="stream_broken") from error
        self._events += events
        pieces: list[str] = []
        for event in events:
            if isinstance(event, Delta):
                if event.text and event.index in self._texts:
                    pieces.append(event.text)
            elif isinstance(event, BlockStart) and event.kind == "text":
                self._texts.add(event.index)
        return pieces

    def end(self) -> None:
        """The connection ended. Raises ``UpstreamFailed`` if the answer had not."""
        if not (self._reader.finished or self._reader.answered):
            raise UpstreamFailed(
                "The stream ended before the answer did.",
                code="stream_broken",
                hint="What had come is in reply().",
            )

    def reply(self) -> Reply:
        """What has come so far."""
        return assemble(Answer(self._name, tuple(self._events)), self._headers, {})


def _tool_calls(events: Iterable[Event]) -> Iterable[ToolCall]:
    calls: dict[int, tuple[BlockStart, list[str]]] = {}
    for event in events:
        if isinstance(event, BlockStart) and event.kind == "tool_use":
            calls[event.index] = (event, [])
        elif isinstance(event, Delta) and event.index in calls:
            calls[event.index][1].append(event.text)
    return (ToolCall(start.id, start.name, "".join(pieces)) for start, pieces in calls.values())


def _fail(error: wire.ErrorInStream, headers: Mapping[str, str]) -> NoReturn:
    body: dict[str, Any] = {"message": error.message, "code": error.kind}
    raise refusal(error.status or 502, headers, msgspec.json.encode(body)) from None


def _fields(value: str) -> dict[str, str]:
    """``name; version=3; release=...``; the first part under the empty name."""
    first, *rest = value.split(";")
    pairs = (part.partition("=") for part in rest)
    return {"": first.strip(), **{name.strip(): text.strip() for name, _, text in pairs}}


def _dollars(value: str | None) -> Decimal | None:
    try:
        return Decimal(value) if value else None
    except InvalidOperation:
        return None
