"""The rooms that see, decide and act, built and started as one: families, triage, KPIs, savings, detectors, cases.

``app`` hands over what they lean on (:class:`Parts`). They stand before the gateway does, which asks some of them in a
request's path; what works in the background starts when everything stands.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from ostinato.config import Config
from ostinato.core.clock import Clock

Later = Callable[[str, Callable[[], Awaitable[None]]], None]
"""``later(name, undo)``: what is to be undone when the process stops, in reverse order."""


class Parts(Protocol):
    """What they lean on: a part of ``app``, by its shape."""

    config: Config
    clock: Clock


class Governing:
    """Built once by ``app``; what it holds is used as ``app.governing.NAME``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self, later: Later) -> None:
        """Before the first request: what the gateway asks is loaded."""

    async def go_on(self, later: Later) -> None:
        """When everything stands: background work begins."""
