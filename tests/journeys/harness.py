"""The running server, as its users meet it: ``ostinato serve`` in a process of its own, models on real sockets.

Models are served by ``ostinato.providers.fake_server``, whose answers are a function of the question and whose
misbehaviour is named by the model (``fake-500``, ``fake-cut=3``): see ``ostinato.providers.fake_script``.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

STARTS_WITHIN = 60.0

MODELS = """
[models.plain]
targets = ["openai/plain"]
[models.claude]
targets = ["anthropic/plain"]
[models.inside]
targets = ["fake/plain"]
[models.vectors]
targets = ["openai/vectors"]
kind = "embedding"
[prices."openai/plain"]
input = 1.0
output = 4.0
[prices."anthropic/plain"]
input = 3.0
output = 15.0
[prices."fake/plain"]
input = 1.0
output = 4.0
[prices."openai/vectors"]
input = 0.1
output = 0.0
"""


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
        time.sleep(0.05)
    raise AssertionError(f"{url} does not answer:\n{log.read_text()[-4000:]}")


class Upstream:
    """A fake model server, both wires."""

    def __init__(self, directory: Path, spec: str = "") -> None:
        self.port = free_port()
        self.log = directory / f"upstream-{self.port}.log"
        self.url = f"http://127.0.0.1:{self.port}"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ostinato.providers.fake_server", "--port", str(self.port), "--spec", spec],
                stdout=out,
                stderr=out,
            )
        wait_for(f"{self.url}/count", self.process, self.log)

    def count(self) -> int:
        """Calls answered or refused so far."""
        with urllib.request.urlopen(f"{self.url}/count", timeout=5) as reply:
            return int(json.loads(reply.read())["calls"])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Running:
    """A server process, its address and its administrator's key."""

    def __init__(self, directory: Path, upstream: Upstream, extra: str = "", key: str = "", **environment: str) -> None:
        self.directory = directory
        self.upstream = upstream
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "serve.log"
        self.config = directory / "ostinato.toml"
        self.environment = {**os.environ, "OSTINATO_URL": self.url, **environment}
        base = "" if "[storage]" in extra else f'[storage]\ndirectory = "{directory / "data"}"\n'
        server = "" if "[server]" in extra else f"[server]\nport = {self.port}\n"
        access = "" if "[access]" in extra else "[access]\nrequests_per_minute = 1000000\n"
        self.config.write_text(
            f"""{server}{base}{access}{extra}
[providers.openai]
kind = "openai-compatible"
base_url = "{upstream.url}/v1"
[providers.anthropic]
kind = "anthropic-compatible"
base_url = "{upstream.url}/v1"
[providers.fake]
kind = "fake"
{MODELS}
"""
        )
        self.key = key or json.loads(self.cli("init", "--config", str(self.config), "--json"))["key"]
        self.environment["OSTINATO_KEY"] = self.key
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ostinato.cli", "serve", "--config", str(self.config), "--port", str(self.port)],
                stdout=out,
                stderr=out,
                env=self.environment,
                cwd=self.directory,
            )
        wait_for(f"{self.url}/healthz", self.process, self.log)

    def stop(self, how: int = signal.SIGTERM, within: float = 40.0) -> int:
        """End it; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(within)

    def cli(self, *arguments: str, check: bool = True) -> str:
        """What a command prints on standard output."""
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
