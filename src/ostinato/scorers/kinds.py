"""What a kind of scorer is, and what its makers are handed. The table of all kinds is ``catalog.KINDS``."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from ostinato import outbound
from ostinato.calls.model import Asked, Called, Purpose
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.embeddings.model import Embedder
from ostinato.scorers.model import Subject
from ostinato.scorers.settings import Hook


class Said(msgspec.Struct, frozen=True):
    """What a kind says of one answer; ``score`` puts the scorer's id to it."""

    value: float | None
    """From 0 to 1; ``None``: unscored, and ``rationale`` says why."""
    label: str = ""
    rationale: str = ""
    confidence: float | None = None
    cost: int = 0
    """Nano-dollars."""


Pure: TypeAlias = Callable[[Subject], Said]
"""Says it at once: a few microseconds, no waiting."""
Asking: TypeAlias = Callable[[Subject], Awaitable[Said]]
"""Has to ask somebody: a model, a server, a thread."""


class Asker(Protocol):
    """Makes calls to models; ``calls.Calls`` is one."""

    async def ask(
        self,
        asked: Asked,
        budget: Any = None,
        *,
        timeout: float = 60,  # noqa: ASYNC109 - the shape of ``calls.Calls.ask``
    ) -> Called: ...


Function: TypeAlias = Callable[..., Any]
"""A user's: ``f(subject)`` gives a number from 0 to 1, a truth value, ``None``, or a :class:`Said`; plain or async."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What scorers may use, and for whom they work."""

    clock: Clock
    calls: Asker | None = None
    """``None``: there are no judges here."""
    embedder: Embedder | None = None
    client: outbound.Client | None = None
    org: str = ""
    project: str = ""
    budget: Any = None
    """A ``calls.Budget`` that judges spend of; ``None``: not limited."""
    namespace: str = ""
    """Id of the run or experiment whose journal the judges' calls belong to."""
    purpose: Purpose = "judge"
    fallbacks: bool = True
    """Whether another target of its route may stand in for a judge's model: not where answers are proven by it."""
    functions: Mapping[str, Function] = {}
    """Users' Python functions by name: from the configuration and from entry points, never from the API."""
    hooks: Mapping[str, Hook] = {}
    """HTTP hooks with their secrets, by name, from the configuration."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of scorer."""

    name: str
    title: str
    """One line for people."""
    config: type[msgspec.Struct]
    make: Callable[[Any, Context], Pure | Asking]
    """``make(config, context)``. Raises ``Invalid`` for what cannot work, and for what the context lacks."""
    code: int = 1
    """Raised whenever the same configuration may give another score than before: part of every version."""
    asking: bool = False
    """Whether ``make`` gives an :data:`Asking`."""
    patient: bool = False
    """Whether it asks models through ``calls``, which have time-outs and patience of their own: a model that goes away
    for ten minutes must not leave ten minutes of answers unscored."""
    needs: tuple[str, ...] = ()
    """Of the subject: ``reference``, ``passages``, ``retrieved``, ``usage`` ..."""
    identity: Callable[[Any, Context], object] | None = None
    """What else decides its scores, beside the configuration: part of the version."""


UNREFERENCED = Said(None, rationale="The example has no reference.")


def references(subject: Subject) -> tuple[str, ...]:
    """The texts of which any one is right; empty where there is no reference. What is no text is written as JSON."""
    reference = subject.reference
    if reference is None:
        return ()
    if isinstance(reference, str):
        return (reference,)
    if isinstance(reference, list | tuple) and reference and all(isinstance(one, str) for one in reference):  # pyright: ignore[reportUnknownVariableType]: JSON of unknown shape
        return tuple(reference)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]: all are texts
    return (msgspec.json.encode(reference, order="deterministic").decode(),)


def wrong(field: str, message: str, hint: str = "") -> Invalid:
    """The error for a configuration that cannot work."""
    return Invalid(message, code="invalid_scorer", param=f"config.{field}", hint=hint)


def missing(what: str, kind: str, hint: str) -> Invalid:
    """The error for a kind that needs what this place does not have."""
    return Invalid(f"A scorer of the kind {kind} needs {what}, and there is none here.", code="scorer_needs", hint=hint)
