"""Starts and stops what is measured: each server a process of its own, pinned to a core."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

CHILDREN = Path(__file__).resolve().parent / "children"
"""Programs that run in processes of their own."""
STARTS_WITHIN = 90.0


class Missing(Exception):
    """Something that this machine does not have; the message says how to get it."""


def free_port() -> int:
    """A port on loopback that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command on one core; as it is where there is nothing to pin with or to."""
    if core is None or shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2:
        return command
    return ["taskset", "-c", str(core), *command]


class Process:
    """A server in a process group of its own; leaving the block ends the group."""

    def __init__(
        self,
        name: str,
        command: list[str],
        ready: str,
        log: Path,
        *,
        core: int | None = 0,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
        starts_within: float = STARTS_WITHIN,
    ) -> None:
        """``ready``: a URL that answers, with any status, once it serves."""
        self.name = name
        self.command = pinned(core, command)
        self.ready = ready
        self.log = log
        self.cwd = cwd
        self.environment = {**os.environ, **(environment or {})}
        self.starts_within = starts_within
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def launch(self) -> None:
        """Start without waiting."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=self.cwd,
                env=self.environment,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it answers; raises with the end of its log if it does not."""
        end = time.monotonic() + self.starts_within
        while time.monotonic() < end:
            if answers(self.ready):
                return
            if self.process is None or self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop(signal.SIGKILL)
        raise RuntimeError(f"{self.name} does not answer at {self.ready}:\n{self.log.read_text()[-1500:]}")

    def stop(self, how: int = signal.SIGTERM, within: float = 30.0) -> int | None:
        """End the whole group; gives the exit code."""
        process, self.process = self.process, None
        if process is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(process.pid, how)
        try:
            code = process.wait(within)
        except subprocess.TimeoutExpired:
            code = None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return code

    def __enter__(self) -> Self:
        self.launch()
        self.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def answers(url: str) -> bool:
    """Whether something serves there."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


class Gateway(Process):
    """Ostinato with everything on: authentication, scope, limits (raised), cache on both tiers, ledger, metrics."""

    def __init__(
        self, place: Path, upstream: str, *, core: int | None = 0, ledger: bool = True, more: str = ""
    ) -> None:
        """``upstream``: without ``/v1``. ``ledger=False``: the same server with its recorder taken out, to compare."""
        place.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.place = place
        self.data = place / "data"
        self.config = place / "ostinato.toml"
        self.config.write_text(CONFIG.format(port=self.port, data=self.data, upstream=upstream, more=more))
        self.key = self._first_key()
        module = ["-m", "ostinato.cli"] if ledger else [str(CHILDREN / "without_ledger.py")]
        command = [sys.executable, *module, "serve", "--config", str(self.config)]
        super().__init__("ostinato", command, f"{self.url}/healthz", place / "serve.log", core=core, cwd=place)

    def _first_key(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ostinato.cli", "init", "--config", str(self.config), "--json"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.place,
        )
        if done.returncode != 0:
            raise RuntimeError(f"ostinato init failed: {done.stderr[-800:]}")
        return json.loads(done.stdout)["key"]


CONFIG = """[server]
port = {port}
[storage]
directory = "{data}"
[savings]
holdout_share = 0.0
[access]
requests_per_minute = 100000000
concurrent_requests = 100000
keys_per_project = 1000000
[providers.mock]
kind = "openai-compatible"
base_url = "{upstream}/v1"
[providers.mocksse]
kind = "openai-compatible"
base_url = "{upstream}/s10/v1"
[models."gpt-4o-mini"]
targets = ["mock/gpt-4o-mini"]
[models."sse"]
targets = ["mocksse/gpt-4o-mini"]
[prices."mock/gpt-4o-mini"]
input = 0.15
output = 0.6
[prices."mocksse/gpt-4o-mini"]
input = 0.15
output = 0.6
{more}
"""


def mock(shared: Path, log: Path, core: int | None = 1) -> tuple[Process, str]:
    """The yardstick's upstream, not started, and its address."""
    granian = Path(sys.executable).with_name("granian")
    if not granian.exists():
        raise Missing("granian (the mock upstream's server): pip install 'ostinato[bench]'")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(granian), "--interface", "rsgi", "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"]
    command += ["--no-access-log", "--backlog", "4096", "mock_upstream:app"]
    # The yardstick lies where nothing may be written.
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    return Process("mock", command, f"{url}/count", log, core=core, cwd=shared, environment=environment), url


def companion(kind: str, *rest: str, log: Path, python: str = sys.executable, core: int | None = 0) -> "Companion":
    """One of ``children/apps.py``, not started."""
    return Companion(kind, rest, log, python, core)


class Companion(Process):
    """A server of ``children/apps.py``."""

    def __init__(self, kind: str, rest: tuple[str, ...], log: Path, python: str, core: int | None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [python, str(CHILDREN / "apps.py"), kind, str(port), *rest]
        super().__init__(kind, command, f"{self.url}/", log, core=core)

    def wait(self) -> None:
        """By connecting: a request would be sent on."""
        end = time.monotonic() + self.starts_within
        port = int(self.url.rsplit(":", 1)[1])
        while time.monotonic() < end and self.process is not None and self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.02)
        self.stop(signal.SIGKILL)
        raise RuntimeError(f"{self.name} does not listen:\n{self.log.read_text()[-1500:]}")


def nginx(shared: Path, place: Path, completion: bytes, core: int | None = 0) -> tuple[Process, str]:
    """nginx answering ``completion`` from its configuration, not started, and its address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Missing("nginx: apt-get install nginx-light")
    place.mkdir(parents=True, exist_ok=True)
    text = (shared / "nginx_mock.conf").read_text().replace("@@COMPLETION@@", completion.decode())
    for port in ("9101", "9102", "9103"):
        new = free_port()
        text = re.sub(rf"\b{port}\b", str(new), text)
        if port == "9101":
            url = f"http://127.0.0.1:{new}"
    (place / "nginx.conf").write_text(text)
    command = [program, "-p", str(place), "-c", "nginx.conf"]
    return Process("nginx", command, f"{url}/", place / "nginx.log", core=core), url
