"""Keeps the child process that computes a local model: starts it, waits for it, starts it again when it dies."""

import asyncio
import contextlib
import json
import sys

from ostinato.core.clock import Clock
from ostinato.core.errors import Unavailable
from ostinato.providers.settings import LocalSettings
from ostinato.providers.weights import Located

_TAIL = 4096
_LONGEST_DELAY = 30.0
_CACHE_MIB = 256


class LocalProcess:
    """One child. ``key`` is what it wants as its API key: loopback is open to every user of the machine."""

    def __init__(self, settings: LocalSettings, threads: int, clock: Clock, key: str) -> None:
        self._settings = settings
        self._threads = threads
        self._clock = clock
        self._key = key
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._errors: asyncio.Task[None] | None = None
        self._tail = b""
        self._closing = False
        self.address = ""
        """Where it listens, another place after every restart; empty: nowhere."""
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, located: Located) -> None:
        """Return when the model is loaded; raise ``Unavailable`` if that fails or takes too long."""
        self._closing = False
        try:
            await self._spawn(located)
        except BaseException:
            await self.close()
            raise
        self._watcher = asyncio.create_task(self._watch(located), name="ostinato-local-model")

    async def close(self) -> None:
        """End the child."""
        self._closing = True
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await self._end()

    async def _end(self) -> None:
        self.address = ""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._errors is not None:
            self._errors.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._errors
            self._errors = None

    async def _spawn(self, located: Located) -> None:
        settings, weights = self._settings, located.weights
        self._tail = b""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ostinato.providers.local_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._errors = asyncio.create_task(self._keep_tail(process.stderr))
        config = {
            "path": str(located.path),
            "name": weights.name,
            "key": self._key,
            "parallel": settings.parallel,
            "context": settings.context,
            "threads": self._threads,
            "cache_mib": _CACHE_MIB,
            "full_attention_cache": weights.full_attention_cache,
            "template": weights.template,
        }
        # By standard input: arguments and environment of a process can be read by others.
        process.stdin.write(json.dumps(config).encode() + b"\n")
        try:
            async with asyncio.timeout(settings.start_timeout):
                while line := await process.stdout.readline():
                    if line.startswith(b'{"address"'):
                        self.address = json.loads(line)["address"]
                        return
                await process.wait()
        except TimeoutError as error:
            raise Unavailable(
                f"The local model {weights.title} was not loaded within {settings.start_timeout:g} s.",
                hint="Raise local.start_timeout, or is the machine busy?",
            ) from error
        raise Unavailable(
            f"The local model {weights.title} could not be loaded: {self._reason()}.",
            hint="Is the weights file whole, and is there enough memory?",
        )

    async def _watch(self, located: Located) -> None:
        delay = self._settings.restart_delay
        while True:
            assert self._process is not None
            began = self._clock.monotonic()
            await self._process.wait()
            await self._end()
            if self._clock.monotonic() - began > _LONGEST_DELAY:
                delay = self._settings.restart_delay
            while True:
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                self.restarts += 1
                try:
                    await self._spawn(located)
                    break
                except Unavailable:
                    await self._end()

    async def _keep_tail(self, stream: asyncio.StreamReader) -> None:
        while block := await stream.read(4096):
            self._tail = (self._tail + block)[-_TAIL:]

    def _reason(self) -> str:
        lines = [line.strip() for line in self._tail.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "the process ended without a word"
