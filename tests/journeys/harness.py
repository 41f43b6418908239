"""The running server, as its users meet it: ``ostinato serve`` in a process of its own, models on real sockets.

Models are served by ``ostinato.providers.fake_server``, whose answers are a function of the question and whose
misbehaviour is named by the model (``fake-500``, ``fake-cut=3``): see ``ostinato.providers.fake_script``. What a model
shall say word for word is told to :meth:`Upstream.say`.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from ostinato.providers.fake_server import FakeServer

STARTS_WITHIN = 60.0

_MOODS = {
    "tools": "tools=1",
    "parallel": "tools=2",
    "thinks": "reasoning",
    "long": "words=60",
    "400": "400",
    "401": "401",
    "403": "403",
    "404": "404",
    "422": "422",
    "429": "429,retry-after=7",
    "500": "500",
    "503": "503",
    "529": "529",
    "flaky": "flaky=1",
    "cut": "cut=3",
    "reset": "reset=3",
    "broken": "error200",
    "html": "html",
    "half": "half",
    "empty": "empty",
    "garbage": "garbage",
    "gone": "reset=0",
    "slow": "gap=20ms,words=40",
    "hangs": "hang=3",
}

ALIASES = {
    "plain": "openai/plain",
    "claude": "anthropic/plain",
    "inside": "fake/plain",
    # The same model behind either wire, in some mood.
    **{f"openai-{mood}": f"openai/fake-{knobs}" for mood, knobs in _MOODS.items()},
    **{f"claude-{mood}": f"anthropic/fake-{knobs}" for mood, knobs in _MOODS.items()},
    "openai-said": "openai/said",
    "claude-said": "anthropic/said",
}
"""Alias -> target."""

VECTORS = {"vectors": "openai/vectors"}


def _declared() -> str:
    lines: list[str] = []
    for alias, target in (*ALIASES.items(), *VECTORS.items()):
        lines += [f'[models."{alias}"]', f'targets = ["{target}"]']
        if alias in VECTORS:
            lines += ['kind = "embedding"']
    for target in dict.fromkeys((*ALIASES.values(), *VECTORS.values())):
        dear = target.startswith("anthropic")
        lines += [f'[prices."{target}"]', f"input = {3.0 if dear else 1.0}", f"output = {15.0 if dear else 4.0}"]
    return "\n".join(lines)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        if answers(url):
            return
        if process.poll() is not None:
            break
        time.sleep(0.03)
    raise AssertionError(f"{url} does not answer:\n{log.read_text()[-4000:]}")


def eventually(true: Callable[[], Any], within: float = 10.0) -> Any:
    """What ``true`` gives as soon as that is true; fails after ``within`` seconds."""
    end = time.monotonic() + within
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not true within {within:g} seconds: {found!r}")
        time.sleep(0.02)


class Upstream:
    """A fake model server, both wires, in a thread of the test's process: what it was sent can be looked at."""

    def __init__(self, spec: str = "", port: int = 0) -> None:
        self.fake = FakeServer(spec)
        self._said: dict[str, tuple[int, str, list[bytes]]] = {}
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        self.port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer, interface="asgi3", log_level="critical", access_log=False, timeout_graceful_shutdown=1
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        eventually(lambda: answers(f"{self.url}/count"))

    def say(self, model: str, *parts: bytes, kind: str = "application/json", status: int = 200) -> None:
        """Let ``model`` answer with exactly these parts, one packet each; with none, as usual."""
        if parts:
            self._said[model] = (status, kind, list(parts))
        else:
            self._said.pop(model, None)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self._said:
            parts, more = [], True
            while more:
                message = await receive()
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            body = b"".join(parts)
            said = self._said.get(json.loads(body).get("model", ""))
            if said is not None:
                self.fake.gate.calls += 1
                self.fake.last_body = json.loads(body)
                status, kind, chunks = said
                await send(
                    {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]}
                )
                for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    await asyncio.sleep(0)
                await send({"type": "http.response.body", "body": b""})
                return
            whole = iter([{"type": "http.request", "body": body, "more_body": False}])
            inner = receive

            async def receive_again() -> Any:
                return next(whole, None) or await inner()

            receive = receive_again
        await self.fake(scope, receive, send)

    def count(self) -> int:
        """Calls answered or refused so far."""
        return self.fake.gate.calls

    @property
    def disconnects(self) -> int:
        """Calls that their caller has left."""
        return self.fake.disconnects

    @property
    def last_body(self) -> dict[str, Any]:
        return dict(self.fake.last_body)

    @property
    def last_headers(self) -> dict[str, str]:
        return self.fake.last_headers

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


class Running:
    """A server process, its address and its administrator's key."""

    def __init__(
        self,
        directory: Path,
        upstream: Upstream,
        extra: str = "",
        key: str = "",
        *,
        starts: bool = True,
        server: str = "",
        **environment: str,
    ) -> None:
        """``extra``: more TOML; ``server``: lines of ``[server]``; ``environment``: more variables."""
        self.directory = directory
        self.upstream = upstream
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "serve.log"
        self.data = directory / "data"
        self.config = directory / "ostinato.toml"
        self.environment = {**os.environ, "OSTINATO_URL": self.url, **environment}
        base = "" if "[storage]" in extra else f'[storage]\ndirectory = "{self.data}"\n'
        access = "" if "[access]" in extra else "[access]\nrequests_per_minute = 1000000\n"
        # Models that always fail must not be shut away while other tests want to see how they fail.
        patient = "" if "[routing]" in extra else "[routing]\nbreaker_row = 1000000\nbreaker_volume = 1000000\n"
        self.config.write_text(
            f"""[server]
port = {self.port}
{server}
{base}{access}{patient}{extra}
[providers.openai]
kind = "openai-compatible"
base_url = "{upstream.url}/v1"
rest = 0.01
[providers.anthropic]
kind = "anthropic-compatible"
base_url = "{upstream.url}/v1"
rest = 0.01
[providers.fake]
kind = "fake"
{_declared()}
"""
        )
        self.key = key or json.loads(self.cli("init", "--config", str(self.config), "--json"))["key"]
        self.environment["OSTINATO_KEY"] = self.key
        self.process: subprocess.Popen[bytes] | None = None
        self._executor: subprocess.Popen[bytes] | None = None
        if starts:
            self.start()

    def start(self, **options: Any) -> None:
        """Start the process and wait until it answers. ``options`` go to ``Popen``."""
        wait_for(f"{self.url}/healthz", self.launch(**options), self.log)

    def answers(self) -> bool:
        """Whether the process is up; fails if it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return answers(f"{self.url}/healthz")

    def launch(self, **options: Any) -> "subprocess.Popen[bytes]":
        """Start the process without waiting."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ostinato.cli", "serve", "--config", str(self.config), "--port", str(self.port)],
                stdout=out,
                stderr=out,
                env=self.environment,
                cwd=self.directory,
                **options,
            )
        # Ended with us, however we end: a killed test run leaves no server behind.
        self._executor = subprocess.Popen(
            ["sh", "-c", 'cat > /dev/null; kill -9 "$1"', "sh", str(self.process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self.process

    def stop(self, how: int = signal.SIGTERM, within: float = 40.0) -> int:
        """End it; gives the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(within)
        if self._executor is not None:
            self._executor.kill()
            self._executor.communicate()
            self._executor = None
        return code

    def cli(self, *arguments: str, check: bool = True) -> str:
        """Standard output of a command; with ``check=False``, of a failing one, its errors."""
        done = subprocess.run(
            [sys.executable, "-m", "ostinato.cli", *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.directory,
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done.stdout if done.returncode == 0 else done.stderr

    def api(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Status and decoded answer of a call of the control plane."""
        status, _, data = self.send(method, f"/api/v1{path}", body, key=key)
        return status, json.loads(data) if data else None

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of any call; ``body`` is sent as JSON unless it is bytes."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", "authorization": f"Bearer {key or self.key}", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def chat(self, text: str, model: str = "plain", headers: dict[str, str] | None = None, **fields: Any):
        """One chat completion; status, headers, decoded body."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        status, found, data = self.send("POST", "/v1/chat/completions", body, headers)
        return status, found, json.loads(data)

    def new_key(self, name: str = "other", **fields: Any) -> str:
        status, made = self.api("POST", "/keys", {"name": name, **fields})
        assert status == 201, made
        return made["secret"]

    def row(self, request_id: str) -> dict[str, Any]:
        """The ledger's row of a request, as soon as it is written."""
        return eventually(lambda: (found := self.api("GET", f"/traces/{request_id}"))[0] == 200 and found[1])[0]


class Raw:
    """What came back over a socket."""

    def __init__(self, data: bytes) -> None:
        head, self.whole, self.body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1]) if lines[0].startswith(b"HTTP/") else 0
        self.headers = {
            k.strip().lower().decode(): v.strip().decode("latin-1")
            for k, _, v in (line.partition(b":") for line in lines[1:])
        }
        self.lines = lines

    @property
    def length(self) -> int | None:
        return int(self.headers["content-length"]) if "content-length" in self.headers else None

    def json(self) -> Any:
        return json.loads(self.body)


def raw(port: int, *pieces: bytes, pause: float = 0.0, wait: float = 10.0) -> Raw:
    """Send bytes as they are and read one reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        received = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # refused before all was sent
        try:
            while True:
                found = Raw(received)
                if found.whole and found.length is not None and len(found.body) >= found.length:
                    return found
                data = connection.recv(1 << 16)
                if not data:
                    return found
                received += data
        except OSError as error:
            raise AssertionError(f"no whole reply: {error!r} after {received[:500]!r}") from None


def post(key: str, path: str, body: bytes, *headers: bytes, method: str = "POST", auth: bytes | None = None) -> bytes:
    """A request as bytes; ``headers`` go in as they are."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: ostinato", b"content-length: %d" % len(body)]
    lines += [b"authorization: Bearer " + key.encode()] if auth is None else [auth] if auth else []
    return b"\r\n".join((*lines, *headers)) + b"\r\n\r\n" + body
