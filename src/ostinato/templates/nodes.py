"""The tree that both formats are read into."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ostinato.templates.running import Expression


class Literal(msgspec.Struct, frozen=True):
    text: str
    at: int = 0


class Variable(msgspec.Struct, frozen=True):
    """A dotted name put out as it is. ``path`` is empty for ``{{.}}``, the current item."""

    path: tuple[str, ...]
    at: int = 0


class Section(msgspec.Struct, frozen=True):
    """Logic-less: once for something, once an item for a list, not at all for nothing; ``inverted``: only then."""

    path: tuple[str, ...]
    inverted: bool
    body: tuple["Node", ...]
    at: int = 0


class Partial(msgspec.Struct, frozen=True):
    name: str
    at: int = 0


class Output(msgspec.Struct, frozen=True):
    """An expression put out."""

    value: Expression
    names: tuple[str, ...] = ()
    """The variables in it, for the linter."""
    at: int = 0


class Choice(msgspec.Struct, frozen=True):
    """The first body whose condition holds (``None``: always)."""

    branches: tuple[tuple[Expression | None, tuple["Node", ...]], ...]
    at: int = 0


class Loop(msgspec.Struct, frozen=True):
    """Once an item. ``bind`` gives the scope of a turn from the item, its index, and how many there are."""

    items: Expression
    bind: Callable[[object, int, int], dict[str, object]]
    keep: Expression | None
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]
    at: int = 0


Node: TypeAlias = Literal | Variable | Section | Partial | Output | Choice | Loop
