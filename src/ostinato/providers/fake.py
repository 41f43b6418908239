"""A deterministic provider inside the process: for tests, demonstrations and benchmarks, without any network."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.providers import failures, fake_answers, fake_script
from ostinato.providers.fake_answers import Answered
from ostinato.providers.fake_script import Gate, Script
from ostinato.providers.model import (
    ChatCall,
    ChatReply,
    ChatStream,
    EmbedCall,
    EmbedReply,
    ProviderFailure,
)
from ostinato.wire.model import Answer, ChatRequest, Delta, Event, Json, Text, Usage

_DIMENSIONS = 8
_SAME_ANSWER: Json = {"wire": "openai.chat", "stream": False, "include_usage": False, "user": None, "original": None}
"""What may differ between two requests without making their answers differ."""


class Fake:
    """Answers as its script and the model's name say; see :mod:`ostinato.providers.fake_script` for the knobs."""

    wire = "openai.chat"

    def __init__(self, name: str, spec: str, clock: Clock) -> None:
        self.name = name
        self._base = fake_script.read(spec)
        self._clock = clock
        self.gate = Gate()
        self.cancelled = 0
        """Calls that were given up by the caller before their end."""

    @property
    def credentials(self) -> int:
        return 1

    @property
    def calls(self) -> int:
        """Calls so far, of every sort."""
        return self.gate.calls

    async def start(self) -> None:
        """Nothing to build."""

    async def close(self) -> None:
        """Nothing to close."""

    async def chat(self, call: ChatCall) -> ChatReply:
        try:
            script = await self._pass(call.model, call.timeout)
            if script.shape == "half" or script.cut is not None or script.reset or script.hang:
                # Without a stream, each of these means that the body never becomes whole.
                if script.hang:
                    await self._say_nothing(call.timeout)
                raise self._broken(script)
            _raise_for_shape(self.name, script)
            said = _said(script, call)
            if script.gap:
                await self._clock.sleep(script.gap * said.chunks)
            return ChatReply(
                Answer(self.wire, fake_answers.events(script, said, call.model)), _headers(script), script.latency
            )
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def chat_stream(self, call: ChatCall) -> AbstractAsyncContextManager[ChatStream]:
        return _FakeStream(self, call)

    async def open(self, call: ChatCall) -> tuple[Script, tuple[Event, ...]]:
        """What a stream of ``call`` will give (for the stream itself)."""
        script = await self._pass(call.model, call.timeout)
        if script.shape != "error200":
            _raise_for_shape(self.name, script)
        return script, fake_answers.events(script, _said(script, call), call.model)

    async def embed(self, call: EmbedCall) -> EmbedReply:
        script = await self._pass(call.model, call.timeout)
        _raise_for_shape(self.name, script)
        size = call.request.dimensions or _DIMENSIONS
        vectors = tuple(fake_answers.vector(item, call.model, size) for item in call.request.inputs)
        tokens = sum(max(1, len(item) // 4) if isinstance(item, str) else len(item) for item in call.request.inputs)
        return EmbedReply(vectors, Usage(input=tokens, raw={"prompt_tokens": tokens, "total_tokens": tokens}))

    async def count_tokens(self, call: ChatCall) -> int:
        await self._pass(call.model, call.timeout)
        return max(1, _input_bytes(call.request) // 4)

    async def models(self) -> list[Json]:
        return [{"id": "fake", "object": "model", "created": 0, "owned_by": "ostinato"}]

    async def pause(self, script: Script, index: int, seconds: float) -> None:
        """What lies between two chunks of a stream; raises where the script ends it."""
        if script.hang is not None and index >= script.hang:
            await self._say_nothing(seconds)
        if script.reset is not None and index >= script.reset:
            raise failures.cut(self.name)
        if script.cut is not None and index >= script.cut:
            raise failures.cut(self.name)
        if script.gap and index:
            await self._clock.sleep(script.gap)

    async def _pass(self, model: str, seconds: float) -> Script:
        try:
            script = fake_script.for_model(model, self._base)
        except Invalid as error:
            raise self._unknown(error) from error
        script = self.gate.admit(model, script, self._clock.monotonic())
        if script.hang == 0 or script.latency > seconds:
            await self._say_nothing(seconds)
        if script.latency:
            await self._clock.sleep(script.latency)
        if script.reset == 0:
            raise self._broken(script)
        if script.status != 200:
            body = fake_answers.error_body(script)
            raise failures.from_response(self.name, script.status, _headers(script), body, now=self._clock.now())
        return script

    async def _say_nothing(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        raise ProviderFailure(f"{self.name} did not answer in time.", failure="timeout")

    def _broken(self, script: Script) -> ProviderFailure:
        if script.shape == "half":
            return failures.from_malformed(self.name, "half a JSON")
        return ProviderFailure(f"{self.name} closed the connection.", failure="network")

    def _unknown(self, error: Invalid) -> ProviderFailure:
        body = msgspec.json.encode(
            {"error": {"message": error.sentence, "type": "invalid_request_error", "param": "model", "code": None}}
        )
        return failures.from_response(self.name, 404, {}, body, now=self._clock.now())


class _FakeStream:
    """One stream, and the block in which it is open."""

    wire = "openai.chat"

    def __init__(self, fake: Fake, call: ChatCall) -> None:
        self._fake = fake
        self._call = call
        self._ended = False
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> ChatStream:
        try:
            self._script, self._events = await self._fake.open(self._call)
        except asyncio.CancelledError:
            self._fake.cancelled += 1
            raise
        self.headers = _headers(self._script)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self._fake.cancelled += 1

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        script, fake = self._script, self._fake
        index = 0
        for batch in fake_answers.batches(self._events):
            if any(isinstance(event, Delta) for event in batch):
                try:
                    await fake.pause(script, index, self._call.timeout)
                except ProviderFailure:
                    self._ended = True
                    raise
                if script.shape == "error200" and index == 1:
                    self._ended = True
                    raise failures.from_error_in_stream(fake.name, fake_answers.error_in_stream(script), self.headers)
                index += 1
            yield batch
        self._ended = True


def _raise_for_shape(name: str, script: Script) -> None:
    if script.shape in ("html", "half", "empty", "garbage"):
        raise failures.from_malformed(
            name, {"html": "HTML", "half": "half a JSON", "empty": "nothing"}.get(script.shape, "another shape")
        )
    if script.shape == "error200":
        raise failures.from_error_in_stream(name, fake_answers.error_in_stream(script), {})


def _headers(script: Script) -> dict[str, str]:
    headers = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "999"}
    if script.retry_after is not None:
        headers["retry-after-ms"] = str(int(script.retry_after * 1000))
        headers["retry-after"] = str(max(1, round(script.retry_after)))
    return headers


def _said(script: Script, call: ChatCall) -> Answered:
    request = call.request
    asked = msgspec.structs.replace(request, model=call.model, **_SAME_ANSWER)
    names = tuple(tool.name for tool in request.tools if tool.name)
    return fake_answers.answer(script, asked, _input_bytes(request), names)


def _input_bytes(request: ChatRequest) -> int:
    return sum(len(block.text) if isinstance(block, Text) else 40 for m in request.messages for block in m.content)
