"""Scorers of your own in Python: functions named in the configuration, or brought by a package. Never by the API.

A function is given the :class:`Subject` and gives a number from 0 to 1, a truth value, ``None`` (unscored), a
:class:`Said`, or an object with ``value`` and perhaps ``label``, ``rationale``, ``confidence``. A plain function runs
in a thread of its own, so that it keeps nobody waiting; one that never returns keeps that thread, and there are few.
"""

import asyncio
import importlib
import importlib.metadata
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from ostinato.core.errors import Invalid
from ostinato.scorers.kinds import Asking, Context, Function, Kind, Said, wrong
from ostinato.scorers.model import Score, Subject

GROUP = "ostinato.scorers"
"""Entry points: functions, or a :class:`Kind`."""
_THREADS = 8


class Python(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    function: str
    """Its name in ``[scorers.functions]``, or of the entry point."""
    options: dict[str, Any] = {}
    """Handed to the function by name."""


def entry_points() -> dict[str, object]:
    """What installed packages bring, by name. Raises ``Invalid`` for one that cannot be loaded."""
    found: dict[str, object] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            found[point.name] = point.load()
        except Exception as error:
            raise _unloadable(point.name, point.value, error) from error
    return found


def load(declared: Mapping[str, str]) -> dict[str, Function]:
    """Functions by name: those of entry points, and over them those of the configuration.

    ``declared``: name -> ``package.module:function``. Raises ``Invalid`` for one that cannot be loaded.
    """
    functions = {
        name: cast("Function", one) for name, one in entry_points().items() if callable(one) and not _is_kind(one)
    }
    for name, where in declared.items():
        module, _, attribute = where.partition(":")
        if not module or not attribute:
            raise Invalid(
                f"The scorer function {name!r} is not named as `package.module:function`.",
                param=f"scorers.functions.{name}",
            )
        try:
            one: object = importlib.import_module(module)
            for part in attribute.split("."):
                one = getattr(one, part)
        except Exception as error:
            raise _unloadable(name, where, error) from error
        if not callable(one):
            raise Invalid(f"{where} is not a function.", param=f"scorers.functions.{name}")
        functions[name] = cast("Function", one)
    return functions


def _is_kind(one: object) -> bool:
    return isinstance(one, Kind)


def _unloadable(name: str, where: str, error: Exception) -> Invalid:
    return Invalid(
        f"The scorer {name!r} cannot be loaded from {where}: {type(error).__name__}: {str(error)[:200]}.",
        code="scorer_unloadable",
        param=f"scorers.functions.{name}",
        hint="Is the package installed where the server runs?",
    )


def read(given: object) -> Said:
    """What a function gave, as what it says. Raises ``TypeError`` for what is no score."""
    if given is None or isinstance(given, int | float):
        return Said(None if given is None else float(given))
    if isinstance(given, Said):
        return given
    if isinstance(given, Score):
        return Said(given.value, given.label, given.rationale, given.confidence, given.cost)
    if isinstance(given, Mapping):
        return msgspec.convert(dict(cast("Mapping[str, object]", given)), Said)
    raise TypeError(f"{type(given).__name__} is no score")


def _make(config: Python, context: Context) -> Asking:
    function = context.functions.get(config.function)
    if function is None:
        raise wrong(
            "function",
            f"There is no scorer function called {config.function[:80]!r}.",
            f"The configuration names: {', '.join(sorted(context.functions)) or 'none'}; see [scorers.functions].",
        )
    places = asyncio.Semaphore(_THREADS)
    options = config.options

    async def say(subject: Subject) -> Said:
        if inspect.iscoroutinefunction(function):
            return read(await function(subject, **options))
        await places.acquire()
        return read(await in_thread(lambda: function(subject, **options), places.release))

    return say


async def in_thread(work: Callable[[], Any], ended: Callable[[], None]) -> Any:
    """What ``work`` gives, done in a thread that does not keep the process from ending.

    ``ended`` is called on the loop when the thread has ended, whether or not anybody still waits.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def land(value: Any, error: BaseException | None) -> None:
        ended()
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def run() -> None:
        value: Any = None
        failure: BaseException | None = None
        try:
            value = work()
        except BaseException as error:
            # What is meant for a thread or a loop of its own must not end ours.
            passes = isinstance(error, Exception) and not isinstance(error, StopIteration)
            failure = error if passes else RuntimeError(type(error).__name__)
        if not loop.is_closed():
            loop.call_soon_threadsafe(land, value, failure)

    threading.Thread(target=run, name="ostinato-scorer", daemon=True).start()
    return await future


def _identity(config: Python, context: Context) -> object:
    """Where the code is, and its own version where it says one: ``__version__`` of the function or its module."""
    function = context.functions.get(config.function)
    module = inspect.getmodule(function)
    version = getattr(function, "__version__", None) or getattr(module, "__version__", "")
    return [getattr(function, "__module__", ""), getattr(function, "__qualname__", ""), str(version)]


KINDS = (
    Kind(
        name="python",
        title="A Python function of your own, named in the configuration.",
        config=Python,
        make=_make,
        asking=True,
        needs=("function",),
        identity=_identity,
    ),
)
