"""A routed stream: open until the first content, then one target's for good.

Before the first content event another target may take over, so everything that comes before it is held back; from there
on batches pass through as they arrive, and a failure is raised, never hidden.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from ostinato.providers.model import ChatCall, ChatStream, Provider, ProviderFailure
from ostinato.routing.attempts import CANCELLED, Asked, Asker, attach
from ostinato.routing.model import Target
from ostinato.traces.model import AttemptRow
from ostinato.wire.model import BlockStart, ChatRequest, Delta, Event, Finish

_FRAGMENTS = ("text", "thinking", "refusal")


class Opened(msgspec.Struct):
    """A provider's stream that has brought content."""

    context: AbstractAsyncContextManager[ChatStream]
    stream: ChatStream
    rest: AsyncIterator[list[Event]]
    held: list[Event]
    first_byte: float
    """Monotonic seconds."""


def has_content(events: list[Event]) -> bool:
    """Whether a caller would see something of the answer, so that no other target may take over."""
    for event in events:
        if isinstance(event, Delta):
            if event.text or event.extra:
                return True
        elif isinstance(event, BlockStart):
            if event.kind not in _FRAGMENTS:
                return True
        elif isinstance(event, Finish):
            return True
    return False


async def open_stream(provider: Provider, call: ChatCall, deadline: float, monotonic: Callable[[], float]) -> Opened:
    """Open a stream and read up to its first content. Closes it again on any failure."""
    context = provider.chat_stream(call)
    stream = await context.__aenter__()
    try:
        rest = aiter(stream)
        held: list[Event] = []
        first_byte: float | None = None
        async for batch in rest:
            if first_byte is None:
                first_byte = monotonic()
            held.extend(batch)
            if has_content(batch):
                return Opened(context, stream, rest, held, first_byte)
            if monotonic() >= deadline:
                raise ProviderFailure("The deadline passed before the stream brought content.", failure="timeout")
        raise ProviderFailure("The stream ended without an answer.", failure="malformed")
    except BaseException as error:
        await context.__aexit__(type(error), error, error.__traceback__)
        raise


class RoutedStream:
    """An open answer. Iterating gives batches of events; the end comes only after the terminal event."""

    __slots__ = ("_asked", "_ended", "_monotonic", "_reported", "_rows", "_started", "is_fallback")

    def __init__(
        self,
        asked: Asked[Opened],
        rows: list[AttemptRow],
        started: float,
        monotonic: Callable[[], float],
        *,
        is_fallback: bool,
    ) -> None:
        self._asked = asked
        self._rows = rows
        self._started = started
        self._monotonic = monotonic
        self._ended: float | None = None
        self._reported = False
        self.is_fallback = is_fallback
        """Whether another than the first of the asked targets answers."""
        if asked.lane.breaker.state == "half-open":
            # A probe's word is needed now: a long stream must not keep others from their turn.
            asked.lane.answered(asked.permit, monotonic())
            self._reported = True

    @property
    def target(self) -> Target:
        return self._asked.target

    @property
    def wire(self) -> str:
        """The provider's wire."""
        return self._asked.result.stream.wire

    @property
    def headers(self) -> Mapping[str, str]:
        """Rate-limit headers of the provider."""
        return self._asked.result.stream.headers

    @property
    def attempts(self) -> tuple[AttemptRow, ...]:
        """Every attempt; the one that streams is there once it has ended."""
        return tuple(self._rows)

    @property
    def first_byte_us(self) -> int:
        """From the first attempt to the first byte of this answer, microseconds."""
        return int((self._asked.result.first_byte - self._started) * 1_000_000)

    @property
    def upstream_us(self) -> int:
        """From the first attempt to the end of the stream, or to now, microseconds."""
        until = self._monotonic() if self._ended is None else self._ended
        return int((until - self._started) * 1_000_000)

    def __aiter__(self) -> "RoutedStream":
        return self

    async def __anext__(self) -> list[Event]:
        opened = self._asked.result
        if opened.held:
            held, opened.held = opened.held, []
            return held
        try:
            return await anext(opened.rest)
        except StopAsyncIteration:
            self._end("ok", None)
            raise
        except ProviderFailure as failure:
            self._end(failure.failure, failure)
            attach(failure, self._rows)
            raise

    def _end(self, outcome: str, failure: ProviderFailure | None) -> None:
        """Report how it went, once."""
        if self._ended is not None:
            return
        asked = self._asked
        now = self._ended = self._monotonic()
        status = failure.upstream_status if failure is not None else None
        self._rows.append(AttemptRow(asked.target.name, int((now - asked.begun) * 1_000_000), outcome, status))
        if self._reported:
            if failure is not None:
                asked.lane.broke_off(now, failure)
        elif failure is not None:
            asked.lane.failed(asked.permit, now, failure, fair=True)
        elif outcome == "ok":
            asked.lane.answered(asked.permit, now)
        else:
            asked.lane.breaker.leave(asked.permit, now, None)

    async def close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the provider's stream, which cancels the upstream call if it is still going on."""
        try:
            self._end(CANCELLED, None)
        finally:
            try:
                await self._asked.result.context.__aexit__(kind, error, trace)
            finally:
                self._asked.lane.places.give_back()


class StreamContext:
    """``async with router.chat_stream(...) as stream``: entered, the first content is there."""

    __slots__ = ("_asker", "_deadline", "_headers", "_monotonic", "_request", "_stream", "_targets")

    def __init__(
        self,
        asker: Asker,
        monotonic: Callable[[], float],
        *,
        targets: tuple[Target, ...],
        request: ChatRequest,
        deadline: float,
        headers: Mapping[str, str],
    ) -> None:
        self._asker = asker
        self._monotonic = monotonic
        self._targets = targets
        self._request = request
        self._deadline = deadline
        self._headers = headers
        self._stream: RoutedStream | None = None

    async def __aenter__(self) -> RoutedStream:
        rows: list[AttemptRow] = []
        started = self._monotonic()
        asked = await self._asker.ask(self._targets, self._deadline, self._open, rows)
        first = self._targets[0]
        self._stream = RoutedStream(
            asked, rows, started, self._monotonic, is_fallback=asked.target is not first and asked.target != first
        )
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.close(kind, error, trace)

    async def _open(self, provider: Provider, target: Target, allotted: float) -> Opened:
        call = ChatCall(request=self._request, model=target.model, timeout=allotted, headers=self._headers)
        return await open_stream(provider, call, self._deadline, self._monotonic)
