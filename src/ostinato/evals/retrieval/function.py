"""A retriever that an installed package brings: a function by the entry-point group ``ostinato.retrievers``."""

import asyncio
import inspect
from collections.abc import Callable
from importlib import metadata
from typing import Any, Final, cast

import msgspec

from ostinato.core import hashing
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.datasets.model import Passage
from ostinato.evals.retrieval.remote import failed, tidied
from ostinato.evals.retrieval.settings import Settings
from ostinato.scorers.functions import in_thread

GROUP: Final = "ostinato.retrievers"
_THREADS: Final = 8
"""At a time, of one function: those that never return keep nobody waiting but those who ask it."""


class Function:
    """A ``Retriever``: ``function(query, k)``, plain or a coroutine, giving passages, or objects with id and text."""

    def __init__(self, name: str, function: Callable[[str, int], Any], *, version: str = "", timeout: float = 10.0):
        self._name = name
        self._function = function
        self._version = version
        self._timeout = timeout
        self._places = asyncio.Semaphore(_THREADS)
        told = [getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__qualname__)]
        self._id = f"{name}@{hashing.digest_of(['python', *told]).hex()[:8]}"

    @property
    def id(self) -> str:
        return self._id

    @property
    def index_version(self) -> str:
        return self._version

    async def retrieve(self, query: str, k: int) -> tuple[Passage, ...]:
        """What the function finds; a plain one runs in a thread of its own. Raises ``UpstreamFailed`` where it fails or
        takes too long (the thread of a plain one then runs on, its answer is dropped, and few such threads there are).
        """
        try:
            async with asyncio.timeout(self._timeout):
                if inspect.iscoroutinefunction(self._function):
                    found = await self._function(query, k)
                else:
                    await self._places.acquire()
                    found = await in_thread(lambda: self._function(query, k), self._places.release)
            passages = msgspec.convert(found, list[Passage], from_attributes=True)
        except TimeoutError:
            raise failed(self._name, f"took longer than {self._timeout:g} seconds") from None
        except msgspec.ValidationError:
            raise failed(self._name, "gave something that is no list of passages") from None
        except OstinatoError:
            raise
        except Exception as error:
            raise failed(self._name, f"failed ({type(error).__name__})") from error
        return tidied(self._name, passages, k)


def load(name: str, settings: Settings) -> Function:
    """The function that ``settings`` name. Raises ``Invalid`` where no package brings it, or it cannot be loaded."""
    points = {point.name: point for point in metadata.entry_points(group=GROUP)}
    point = points.get(settings.function)
    if point is None:
        known = ", ".join(sorted(points)) or "none"
        raise Invalid(
            f"No installed package brings the retriever {settings.function[:80]!r}.",
            param=f"retrievers.{name}.function",
            hint=f"There are: {known}. A package names its functions in the entry-point group {GROUP}.",
        )
    try:
        loaded: Any = point.load()
    except Exception as error:
        raise Invalid(
            f"The retriever {point.name!r} of {point.value!r} cannot be loaded ({type(error).__name__}).",
            param=f"retrievers.{name}.function",
            hint="Repair or uninstall the package that brings it.",
        ) from error
    if not callable(loaded):
        raise Invalid(f"{point.value!r} is no function.", param=f"retrievers.{name}.function")
    return Function(name, cast("Callable[[str, int], Any]", loaded), version=settings.version, timeout=settings.timeout)
