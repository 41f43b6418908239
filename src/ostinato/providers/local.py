"""A model on this machine: llama.cpp in child processes, spoken to like any OpenAI-compatible server."""

import asyncio
import itertools
import os
import secrets

import msgspec

from ostinato import outbound, wire
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.providers import weights
from ostinato.providers.catalog import Kind
from ostinato.providers.credentials import ApiKey
from ostinato.providers.local_process import LocalProcess
from ostinato.providers.model import ChatCall
from ostinato.providers.openai import OpenAI
from ostinato.providers.settings import Settings

_KIND = Kind(name="local", title="llama.cpp on this machine", embeddings_path="", count_path="/messages/count_tokens")
_NOWHERE = "http://127.0.0.1:9/v1"
"""Where calls go while no child listens: the discard port, so that they fail at once."""
_RANGES = (("parallel", 1, 64), ("context", 256, 1_048_576), ("threads", 0, 1024), ("processes", 1, 64))


class Local(OpenAI):
    """llama.cpp's own server on loopback, with a key that only this process knows. Several take calls in turn."""

    def __init__(self, name: str, settings: Settings, client: outbound.Client, clock: Clock) -> None:
        local = settings.local
        for field, low, high in _RANGES:
            if not low <= getattr(local, field) <= high:
                raise Invalid(f"Provider {name}: local.{field} must be from {low} to {high}.", param=f"local.{field}")
        self._local = local
        cores = os.cpu_count() or 1
        threads = local.threads or max(1, (cores - 1 if local.processes == 1 else cores) // local.processes)
        key = secrets.token_urlsafe(24)
        self.processes = tuple(LocalProcess(local, threads, clock, key) for _ in range(local.processes))
        self._turns = itertools.cycle(self.processes)
        own = msgspec.structs.replace(settings, base_url=_NOWHERE, api_keys=(ApiKey(key),), allow_private=True)
        super().__init__(name, _KIND, own, client, clock)
        self._stops: tuple[str, ...] = ()
        self._located: weights.Located | None = None

    @property
    def address(self) -> str:
        """The model, since the port is another one at each start."""
        return f"local:{self._local.model}"

    async def start(self) -> None:
        """Find the weights, start the child, wait until the model is loaded (seconds)."""
        await super().start()
        if any(process.pid is not None for process in self.processes):
            return
        located = await asyncio.to_thread(weights.locate, self._local.model, self._local.directory)
        self._located = located
        self._stops = located.weights.stops
        try:
            async with asyncio.TaskGroup() as starting:
                for process in self.processes:
                    starting.create_task(process.start(located))
        except* Exception as failed:
            await self.close()
            raise failed.exceptions[0] from None

    async def close(self) -> None:
        for process in self.processes:
            await process.close()

    def body(self, call: ChatCall, *, stream: bool) -> bytes:
        body = self._codec.write_request(call.request, call.model, stream=stream)
        body["model"] = self._local.model
        body["cache_prompt"] = True
        if not body.get("stop") and self._stops:
            body["stop"] = list(self._stops)
        if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
            # A small model may never come to an end by itself.
            body["max_tokens"] = self._local.max_tokens
        return msgspec.json.encode(body)

    def count_body(self, call: ChatCall) -> bytes:
        """llama.cpp counts in Anthropic's wire, template included."""
        codec = wire.codec("anthropic.messages")
        return msgspec.json.encode(codec.write_request(call.request, call.model, stream=False))

    def _url(self, path: str) -> str:
        """At the next child that listens; each call's way to say where it goes."""
        for process in itertools.islice(self._turns, len(self.processes)):
            if process.address:
                return f"{process.address}/v1{path}"
        return f"{_NOWHERE}{path}"

    def _url_for(self, url: str, model: str) -> str:
        return self._url(self._kind.chat_path)
