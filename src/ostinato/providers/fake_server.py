"""The fake behind real HTTP: ``python -m ostinato.providers.fake_server --port 9100``.

Speaks OpenAI's chat completions, embeddings and models, and Anthropic's messages and count_tokens, streamed and not,
at any prefix of the path. The knobs are those of :mod:`ostinato.providers.fake_script`, in the model's name or with
``--spec``. An API key that ends with ``-401``, ``-402``, ``-403`` or ``-429`` is answered with that status.
``GET /count`` tells what was called.
"""

import argparse
import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Literal, TypeAlias, cast

import msgspec

from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import Invalid
from ostinato.providers import fake_answers, fake_script, fake_wires
from ostinato.providers.fake_answers import Answered
from ostinato.providers.fake_script import Gate, Script
from ostinato.wire.model import Json

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Wire: TypeAlias = Literal["openai", "anthropic"]

_BAD_KEY = re.compile(r"-(401|402|403|429)$")
_MAX_BODY = 64 * 1024 * 1024


class _GoneError(Exception):
    """The caller has hung up."""


class FakeServer:
    """A raw ASGI application."""

    def __init__(self, spec: str = "", clock: Clock | None = None, wire: Wire | None = None) -> None:
        self._base = fake_script.read(spec)
        self._clock = clock or SystemClock()
        self._wire = wire
        self.gate = Gate()
        self.disconnects = 0
        self.last_headers: dict[str, str] = {}
        self.last_body: Json = {}
        self.keys: dict[str, int] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        exchange = _Exchange(receive, send)
        try:
            await self._answer(str(scope["path"]), scope, exchange)
        except _GoneError:
            self.disconnects += 1
        finally:
            exchange.close()

    def counts(self) -> Json:
        """What ``GET /count`` tells."""
        return {"calls": self.gate.calls, "by_model": self.gate.by_model, "disconnects": self.disconnects}

    async def _answer(self, path: str, scope: Message, exchange: "_Exchange") -> None:
        if path.endswith("/count"):
            await exchange.reply(200, msgspec.json.encode(self.counts()))
            return
        wire: Wire = "anthropic" if "/messages" in path else "openai"
        if self._wire not in (None, wire):
            await exchange.reply(404, fake_wires.openai_error(Script(status=404)))
            return
        if path.endswith("/models"):
            models: Json = {"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "ostinato"}]}
            await exchange.reply(200, msgspec.json.encode(models))
            return
        raw = await exchange.read()
        try:
            body = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            await exchange.reply(400, _error(wire, Script(status=400)))
            return
        self._remember(scope, body)
        await self._model_call(path, wire, body, exchange)

    async def _model_call(self, path: str, wire: Wire, body: Json, exchange: "_Exchange") -> None:
        model = str(body.get("model", ""))
        try:
            script = fake_script.for_model(model, self._base)
        except Invalid as error:
            text = error.sentence
            await exchange.reply(
                404, msgspec.json.encode({"error": {"message": text, "type": "invalid_request_error"}})
            )
            return
        script = self.gate.admit(model, script, self._clock.monotonic())
        refused = _BAD_KEY.search(_key(self.last_headers))
        if refused:
            script = msgspec.structs.replace(script, status=int(refused[1]))
        exchange.watch()
        if script.hang == 0:
            await exchange.wait(None)
        await exchange.wait(script.latency)
        if script.reset == 0:
            exchange.drop()
            return
        headers = _headers(script)
        if script.status != 200:
            await exchange.reply(script.status, _error(wire, script), headers)
        elif path.endswith("/embeddings"):
            await self._embeddings(script, body, exchange)
        elif path.endswith("/count_tokens"):
            await exchange.reply(200, msgspec.json.encode({"input_tokens": max(1, _input_bytes(body) // 4)}))
        else:
            said = _said(script, body)
            if body.get("stream"):
                await _stream(script, wire, _events(script, wire, said, body), exchange, headers)
            else:
                write = fake_wires.openai_answer if wire == "openai" else fake_wires.anthropic_answer
                await exchange.wait(script.gap * said.chunks)
                await _plain(script, wire, write(script, said, model), exchange, headers)

    async def _embeddings(self, script: Script, body: Json, exchange: "_Exchange") -> None:
        if script.shape != "ok":
            await exchange.reply(200, _spoilt(script, "openai", b'{"object":"list","data":['))
            return
        given: Any = body.get("input", "")
        inputs: list[Any] = [given] if isinstance(given, str) else list(given)
        data: list[Json] = []
        for index, item in enumerate(inputs):
            key = item if isinstance(item, str) else tuple(int(token) for token in item)
            raw = fake_answers.vector(key, str(body["model"]), int(body.get("dimensions") or 8))
            floats = list(memoryview(raw).cast("f"))
            data.append({"object": "embedding", "index": index, "embedding": _encoded(raw, floats, body)})
        tokens = sum(max(1, len(item) // 4) for item in inputs)
        usage: Json = {"prompt_tokens": tokens, "total_tokens": tokens}
        reply: Json = {"object": "list", "data": data, "model": body["model"], "usage": usage}
        await exchange.reply(200, msgspec.json.encode(reply))

    def _remember(self, scope: Message, body: Json) -> None:
        self.last_headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.last_body = body
        key = _key(self.last_headers)
        if len(self.keys) < 1000:
            self.keys[key] = self.keys.get(key, 0) + 1


class _Exchange:
    """One request and its answer, with an eye on the caller's presence."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._gone = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while size <= _MAX_BODY:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body"):
                break
        return b"".join(parts)

    def watch(self) -> None:
        """Notice from now on when the caller hangs up."""
        self._watcher = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    async def wait(self, seconds: float | None) -> None:
        """Sleep (``None``: for ever), unless the caller hangs up first."""
        if seconds is None or seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._gone.wait()
            except TimeoutError:
                return
        if self._gone.is_set():
            raise _GoneError

    def drop(self) -> None:
        """Reset the connection. Works on uvicorn, whose ``send`` belongs to an object that knows the transport."""
        transport: Any = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is None:
            raise RuntimeError("the fake was told to break the connection")
        transport.abort()

    async def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, kind: str = "") -> None:
        await self.begin(status, kind or "application/json", {**(headers or {}), "content-length": str(len(body))})
        await self.send(body, more=False)

    async def begin(self, status: int, kind: str, headers: dict[str, str]) -> None:
        pairs = [(b"content-type", kind.encode())]
        pairs += [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def send(self, data: bytes, *, more: bool = True) -> None:
        if self._gone.is_set():
            raise _GoneError
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def send_slowly(self, data: bytes, speed: int) -> None:
        """At most ``speed`` bytes per second; 0: at once."""
        if not speed:
            await self.send(data)
            return
        step = max(1, speed // 10)
        for at in range(0, len(data), step):
            await self.send(data[at : at + step])
            await self.wait(0.1)


async def _plain(script: Script, wire: Wire, body: bytes, exchange: _Exchange, headers: dict[str, str]) -> None:
    """An answer in one piece."""
    if script.cut is not None or script.reset or script.hang:
        await exchange.begin(200, "application/json", {**headers, "content-length": str(len(body))})
        await exchange.send(body[: len(body) // 2])
        if script.hang:
            await exchange.wait(None)
        await exchange.wait(0.01)
        exchange.drop()
    elif script.shape != "ok":
        kind = "text/html" if script.shape == "html" else ""
        await exchange.reply(200, _spoilt(script, wire, body), headers, kind)
    elif script.speed:
        await exchange.begin(200, "application/json", {**headers, "content-length": str(len(body))})
        await exchange.send_slowly(body, script.speed)
        await exchange.send(b"", more=False)
    else:
        await exchange.reply(200, body, headers)


async def _stream(
    script: Script, wire: Wire, events: Iterator[tuple[bytes, bool]], exchange: _Exchange, headers: dict[str, str]
) -> None:
    """An answer as server-sent events."""
    if script.shape == "html":
        await exchange.reply(200, _spoilt(script, wire, b""), headers, "text/html")
        return
    await exchange.begin(200, "text/event-stream", headers)
    if script.shape in ("empty", "garbage"):
        garbage = b'data: {"hello": "world"}\n\n' if script.shape == "garbage" else b""
        await exchange.send(garbage, more=False)
        return
    index = 0
    for data, is_fragment in events:
        if is_fragment:
            if script.hang is not None and index >= script.hang:
                await exchange.wait(None)
            if script.reset is not None and index >= script.reset:
                await exchange.wait(0.01)
                exchange.drop()
                return
            if script.cut is not None and index >= script.cut:
                break
            if index == 1 and script.shape != "ok":
                await exchange.send(_spoilt_event(script, wire, data))
                break
            if index:
                await exchange.wait(script.gap)
            if script.pings:
                await exchange.send(fake_wires.openai_ping() if wire == "openai" else fake_wires.anthropic_ping())
            index += 1
        await exchange.send_slowly(data, script.speed)
    await exchange.send(b"", more=False)


def _spoilt_event(script: Script, wire: Wire, data: bytes) -> bytes:
    if script.shape == "half":
        return data[: len(data) // 2]
    return fake_wires.anthropic_error_event(script) if wire == "anthropic" else _error_event(script)


def _events(script: Script, wire: Wire, said: Answered, body: Json) -> Iterator[tuple[bytes, bool]]:
    model = str(body["model"])
    if wire == "anthropic":
        return fake_wires.anthropic_stream(script, said, model)
    options: Any = body.get("stream_options")
    include = bool(isinstance(options, dict) and cast("Json", options).get("include_usage"))
    return fake_wires.openai_stream(script, said, model, include_usage=include)


def _error_event(script: Script) -> bytes:
    return b"data: " + msgspec.json.encode({"error": fake_answers.error_in_stream(script).raw}) + b"\n\n"


def _spoilt(script: Script, wire: Wire, body: bytes) -> bytes:
    if script.shape == "html":
        return b"<!doctype html><title>Bad gateway</title><p>The page you are looking for is not here."
    if script.shape == "half":
        return body[: len(body) // 2]
    if script.shape == "garbage":
        return b'{"hello": "world"}'
    if script.shape == "error200":
        error: Json = {"error": fake_answers.error_in_stream(script).raw}
        return msgspec.json.encode({"type": "error", **error} if wire == "anthropic" else error)
    return b""


def _error(wire: Wire, script: Script) -> bytes:
    return fake_wires.openai_error(script) if wire == "openai" else fake_wires.anthropic_error(script)


def _headers(script: Script) -> dict[str, str]:
    headers = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "999"}
    if script.retry_after is not None:
        headers["retry-after"] = str(max(1, round(script.retry_after)))
        headers["retry-after-ms"] = str(int(script.retry_after * 1000))
    return headers


def _key(headers: dict[str, str]) -> str:
    return headers.get("x-api-key") or headers.get("api-key") or headers.get("authorization", "")


def _said(script: Script, body: Json) -> Answered:
    asked = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    tools: list[Any] = body.get("tools") or []
    names = tuple(str(name) for tool in tools if (name := (tool.get("function") or tool).get("name")))
    return fake_answers.answer(script, asked, _input_bytes(body), names)


def _input_bytes(body: Json) -> int:
    return len(msgspec.json.encode([body.get("messages"), body.get("system")]))


def _encoded(raw: bytes, floats: list[float], body: Json) -> str | list[float]:
    import base64  # noqa: PLC0415 - rare

    return base64.b64encode(raw).decode() if body.get("encoding_format") == "base64" else floats


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def main() -> None:
    """Serve until interrupted."""
    import uvicorn  # noqa: PLC0415 - an extra

    parser = argparse.ArgumentParser(description="A deterministic model server for tests and benchmarks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--wire", choices=("openai", "anthropic"), help="serve this wire only")
    parser.add_argument("--spec", default="", help="knobs for every call, e.g. latency=50ms,gap=10ms")
    options = parser.parse_args()
    app = FakeServer(options.spec, wire=options.wire)
    uvicorn.run(cast("Any", app), host=options.host, port=options.port, log_level="critical", access_log=False)


if __name__ == "__main__":
    main()
