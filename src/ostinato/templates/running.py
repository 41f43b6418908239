"""The small machine that renders: what is put out, the scopes that names are looked up in, and the counts that end it.

A compiled template is a list of *steps*; each takes the :class:`Run` and puts text out. Names are looked up in
dictionaries only, from the innermost scope outwards; nothing here touches an attribute of a value.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from ostinato.templates.model import LARGEST_OUTPUT, MOST_STEPS, MOST_WORK, Unrenderable

_EVALUATION: Final = 32
"""What working out a part of an expression counts for, in characters that are gone through in the same time."""

_encode = msgspec.json.Encoder().encode


class Undefined:
    """What a name stands for that has no value: empty text, false, nothing to loop over."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


UNDEFINED: Final = Undefined()


class Run:
    """One rendering."""

    __slots__ = ("out", "scopes", "size", "steps", "work")

    def __init__(self, values: object) -> None:
        self.out: list[str] = []
        self.scopes: list[Any] = [values]
        self.size = 0
        self.steps = MOST_STEPS
        self.work = MOST_WORK

    def put(self, text: str) -> None:
        """Put text out."""
        self.size += len(text)
        if self.size > LARGEST_OUTPUT:
            raise too_large()
        self.out.append(text)

    def step(self) -> None:
        """Count one step."""
        self.steps -= 1
        if self.steps < 0:
            raise Unrenderable(
                f"Rendering this takes more than {MOST_STEPS:,} steps.",
                code="render_too_long",
                hint="Send shorter lists, or loop over less.",
            )

    def look_at(self, value: object) -> None:
        """Count what a filter or a comparison goes through."""
        self.work -= len(value) if isinstance(value, str | list | dict) else 1  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
        if self.work < 0:
            raise Unrenderable(
                "Filters and comparisons of this template go through too much text.",
                code="render_too_long",
                hint="Send shorter values, or filter them before they are sent.",
            )

    def evaluate(self) -> None:
        """Count one name, literal or list of an expression: each costs time, whatever it comes to."""
        self.work -= _EVALUATION
        if self.work < 0:
            raise Unrenderable(
                "The expressions of this template are too many to work out.",
                code="render_too_long",
                hint="Loop over less, or use fewer conditions and lists.",
            )

    def find(self, path: tuple[str, ...]) -> Any:
        """The value of a dotted name; :data:`UNDEFINED` where there is none."""
        first = path[0]
        for scope in reversed(self.scopes):
            if type(scope) is dict and first in scope:
                value = cast("Any", scope[first])
                for key in path[1:]:
                    value = _key(value, key)
                return value
        return UNDEFINED


def _key(value: object, key: str) -> Any:
    return cast("dict[str, Any]", value).get(key, UNDEFINED) if type(value) is dict else UNDEFINED


Step: TypeAlias = Callable[[Run], None]
Expression: TypeAlias = Callable[[Run], Any]


def too_large() -> Unrenderable:
    """The refusal of a text above the limit."""
    return Unrenderable(
        f"The rendered text is larger than {LARGEST_OUTPUT:,} bytes.",
        code="render_too_large",
        hint="Send shorter values.",
    )


def run(steps: Sequence[Step], values: object) -> str:
    """Render ``steps``. Raises :class:`Unrenderable`."""
    state = Run(values)
    for step in steps:
        step(state)
    return checked("".join(state.out))


def checked(text: str) -> str:
    """``text``, if it is not too large in bytes either."""
    if 4 * len(text) > LARGEST_OUTPUT and not text.isascii() and len(text.encode("utf-8", "replace")) > LARGEST_OUTPUT:
        raise too_large()
    return text


def text_of(value: object) -> str:
    """A value as text: a string as it is, nothing for ``null``, anything else as JSON."""
    if type(value) is str:
        return value
    if value is None or value is UNDEFINED:
        return ""
    return json_of(value)


def json_of(value: object) -> str:
    """A value as compact JSON."""
    try:
        return _encode(None if value is UNDEFINED else value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        raise Unrenderable(
            "A value cannot be written as JSON.", code="value_not_json", hint="Send JSON values: text, numbers, lists."
        ) from None
