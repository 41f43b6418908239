"""The table of kinds: our own, and those that packages bring by the entry-point group ``ostinato.scorers``."""

import functools
from collections.abc import Mapping
from types import MappingProxyType

from ostinato.core.errors import Invalid
from ostinato.scorers import functions, hooks, judging, patterns, ranking, ready, resources, structures, texts, vicinity
from ostinato.scorers.kinds import Kind
from ostinato.scorers.model import Spec

_ROOMS = (texts, patterns, structures, ranking, vicinity, resources, judging, functions, hooks, ready)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for room in _ROOMS for kind in room.KINDS})
"""Our own, by name."""


@functools.cache
def plugins() -> Mapping[str, Kind]:
    """Kinds of installed packages, by name; ours cannot be replaced."""
    return {
        one.name: one for one in functions.entry_points().values() if isinstance(one, Kind) and one.name not in KINDS
    }


def model_of(spec: Spec) -> str:
    """Alias of the model that a scorer asks for its opinion: it is a judge; empty: it is none."""
    named: object = spec.config.get("model")
    return named if isinstance(named, str) and find(spec.kind).patient else ""


def find(name: str) -> Kind:
    """The kind of a name. Raises ``Invalid`` for one that there is not."""
    kind = KINDS.get(name) or plugins().get(name)
    if kind is None:
        raise Invalid(
            f"There is no kind of scorer called {name[:80]!r}.",
            code="unknown_scorer_kind",
            param="kind",
            hint=f"There are: {', '.join(sorted([*KINDS, *plugins()]))}.",
        )
    return kind
