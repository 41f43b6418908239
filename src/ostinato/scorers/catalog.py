"""The table of kinds: our own, and those that packages bring by the entry-point group ``ostinato.scorers``."""

from collections.abc import Mapping
from types import MappingProxyType

from ostinato.core.errors import Invalid
from ostinato.scorers import texts
from ostinato.scorers.kinds import Kind

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in (*texts.KINDS,)})
"""By name."""


def find(name: str) -> Kind:
    """The kind of a name. Raises ``Invalid`` for one that there is not."""
    kind = KINDS.get(name)
    if kind is None:
        raise Invalid(
            f"There is no kind of scorer called {name[:80]!r}.",
            code="unknown_scorer_kind",
            param="kind",
            hint=f"There are: {', '.join(sorted(KINDS))}.",
        )
    return kind
