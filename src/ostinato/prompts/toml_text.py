"""Writing TOML that people edit and git compares: the standard library reads it, and only reads it.

Equal values give equal bytes. Texts of several lines stay readable: as they are between ``'''`` where that can be, with
escapes between quotation marks where not.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ostinato.core.errors import Invalid

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
"""Control characters but tab and line feed: TOML knows them only as escapes, and reads CR LF as LF."""
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def key(name: str) -> str:
    """A key, quoted if it must be."""
    return name if _BARE.fullmatch(name) else _quoted(name)


def text(value: str) -> str:
    """A string: on one line, or as a block that begins on a line of its own."""
    if "\n" not in value:
        return _quoted(value)
    if "'''" not in value and not value.endswith("'") and not _UNSAFE.search(value):
        return f"'''\n{value}'''"
    escaped = "".join(character if character == "\n" else _escaped(character) for character in value)
    return f'"""\n{escaped}"""'


def inline(value: object) -> str:
    """A value on one line. Raises ``Invalid`` on what TOML cannot say (``null``)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # 1.0, 1e-05, 1e+22: TOML reads each back as the same number
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key(name)} = {inline(item)}" for name, item in cast("Mapping[str, Any]", value).items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(inline(item) for item in cast('Sequence[Any]', value))}]"
    raise Invalid("TOML has no null.", code="not_toml")


def has_null(value: object) -> bool:
    """Whether ``null`` stands anywhere in a JSON value."""
    if isinstance(value, Mapping):
        return any(has_null(item) for item in cast("Mapping[str, Any]", value).values())
    if isinstance(value, list | tuple):
        return any(has_null(item) for item in cast("Sequence[Any]", value))
    return value is None


def _quoted(value: str) -> str:
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    found = _ESCAPES.get(character)
    if found is not None:
        return found
    return f"\\u{ord(character):04X}" if _UNSAFE.match(character) else character
