"""The filters, tests and comparisons of Jinja2 templates: functions on JSON values, bounded in what they make.

They mean what Jinja2's own of the same name mean, except: ``tojson`` escapes nothing, and a value is put out as JSON
where Python would write ``True`` or ``None``.
"""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from ostinato.templates.model import LARGEST_OUTPUT, Unrenderable
from ostinato.templates.running import UNDEFINED, json_of, text_of, too_large

_WIDEST = 100
_MOST_DIGITS = 12
_LONGEST_NUMBER = 400


class Filter(msgspec.Struct, frozen=True):
    function: Callable[..., Any]
    least: int = 0
    """Arguments."""
    most: int = 0


def wrong(problem: str) -> Unrenderable:
    """A value that a filter or a comparison cannot take."""
    return Unrenderable(problem, code="value_not_usable", hint="Send another type of value, or change the template.")


def compare(operator: str, left: Any, right: Any) -> bool:
    """One comparison; lists and objects are not compared, only looked into by ``in``."""
    if operator in ("in", "notin"):
        return _contains(left, right) is (operator == "in")
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise wrong("A list or an object cannot be compared.")
    if operator in ("eq", "ne"):
        return _equal(left, right) is (operator == "eq")
    both_texts = isinstance(left, str) and isinstance(right, str)
    if not both_texts and not (_is_number(left) and _is_number(right)):
        raise wrong("Only two numbers, or two texts, have an order.")
    if operator == "lt":
        return bool(left < right)
    if operator == "lteq":
        return bool(left <= right)
    return bool(left > right) if operator == "gt" else bool(left >= right)


def _equal(left: Any, right: Any) -> bool:
    return left is right if left is UNDEFINED or right is UNDEFINED else bool(left == right)


def _contains(item: Any, container: Any) -> bool:
    if isinstance(item, list | dict):
        raise wrong("A list or an object cannot be looked for.")
    if isinstance(container, str):
        return isinstance(item, str) and item in container
    if isinstance(container, list):
        return any(_equal(item, one) for one in cast("list[Any]", container) if not isinstance(one, list | dict))
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    if container is UNDEFINED or container is None:
        return False
    raise wrong("One can look into texts, lists and objects only.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _text(value: Any) -> str:
    return text_of(value)


def _capitalize(value: Any) -> str:
    return _text(value).capitalize()


def _lower(value: Any) -> str:
    return _text(value).lower()


def _title(value: Any) -> str:
    return _text(value).title()


def _trim(value: Any) -> str:
    return _text(value).strip()


def _upper(value: Any) -> str:
    return _text(value).upper()


def _default(value: Any, instead: Any = "", empty: Any = False) -> Any:
    return instead if value is UNDEFINED or (empty is True and not value) else value


def _length(value: Any) -> int:
    if value is UNDEFINED:
        return 0
    if not isinstance(value, str | list | dict):
        raise wrong("Only texts, lists and objects have a length.")
    return len(value)  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape


def _join(value: Any, between: Any = "") -> str:
    separator = _text(between)
    texts = [_text(one) for one in _list(value)]
    if sum(map(len, texts)) + len(separator) * max(0, len(texts) - 1) > LARGEST_OUTPUT:
        raise too_large()
    return separator.join(texts)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, gone, come = _text(value), _text(old), _text(new)
    if len(text) + text.count(gone) * (len(come) - len(gone)) > LARGEST_OUTPUT:
        raise too_large()
    return text.replace(gone, come)


def _round(value: Any, digits: Any = 0) -> Any:
    if not _is_number(value) or isinstance(value, bool):
        raise wrong("Only a number can be rounded.")
    if not isinstance(digits, int) or not -_MOST_DIGITS <= digits <= _MOST_DIGITS:
        raise wrong(f"A number is rounded to at most {_MOST_DIGITS} digits.")
    try:
        return round(float(value), digits)
    except OverflowError:
        raise wrong("This number is too large to be rounded.") from None


def _list(value: Any) -> list[Any]:
    if value is UNDEFINED or value is None:
        return []
    if isinstance(value, list | dict):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]: JSON of unknown shape
    raise wrong("This filter takes a list.")


def _first(value: Any) -> Any:
    items = value if isinstance(value, str) else _list(value)
    return items[0] if items else UNDEFINED


def _last(value: Any) -> Any:
    items = value if isinstance(value, str) else _list(value)
    return items[-1] if items else UNDEFINED


def _int(value: Any, instead: Any = 0) -> Any:
    try:
        return int(float(value)) if isinstance(value, str) and "." in value[:_LONGEST_NUMBER] else int(_short(value))
    except (TypeError, ValueError, OverflowError):
        return instead


def _float(value: Any, instead: Any = 0.0) -> Any:
    try:
        return float(_short(value))
    except (TypeError, ValueError, OverflowError):
        return instead


def _short(value: Any) -> Any:
    # Python's own conversions take quadratic time on long texts of digits.
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        raise ValueError
    return value


def _indent(value: Any, width: Any = 4, first: Any = False) -> str:
    if not isinstance(width, int) or not 0 <= width <= _WIDEST:
        raise wrong(f"Text is indented by at most {_WIDEST} blanks.")
    text = _text(value)
    if len(text) + width * (text.count("\n") + 1) > LARGEST_OUTPUT:
        raise too_large()
    lines = text.split("\n")
    blanks = " " * width
    rest = [blanks + line if line else line for line in lines[1:]]
    return "\n".join([(blanks if first is True else "") + lines[0], *rest])


def _items(value: Any) -> list[list[Any]]:
    if value is UNDEFINED:
        return []
    if not isinstance(value, dict):
        raise wrong("Only an object has items.")
    return [[key, inner] for key, inner in cast("dict[str, Any]", value).items()]


FILTERS: dict[str, Filter] = {
    "capitalize": Filter(_capitalize),
    "count": Filter(_length),
    "d": Filter(_default, 0, 2),
    "default": Filter(_default, 0, 2),
    "first": Filter(_first),
    "float": Filter(_float, 0, 1),
    "indent": Filter(_indent, 0, 2),
    "int": Filter(_int, 0, 1),
    "items": Filter(_items),
    "join": Filter(_join, 0, 1),
    "last": Filter(_last),
    "length": Filter(_length),
    "list": Filter(_list),
    "lower": Filter(_lower),
    "replace": Filter(_replace, 2, 2),
    "round": Filter(_round, 0, 1),
    "string": Filter(_text),
    "title": Filter(_title),
    "tojson": Filter(json_of),
    "trim": Filter(_trim),
    "upper": Filter(_upper),
}

TESTS: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: value is not UNDEFINED,
    "mapping": lambda value: isinstance(value, dict),
    "none": lambda value: value is None,
    "number": _is_number,
    "sequence": lambda value: isinstance(value, str | list | dict),
    "string": lambda value: isinstance(value, str),
    "undefined": lambda value: value is UNDEFINED,
}
