"""Walking JSON: the body of a request as it came, and the free data inside it.

A walk applies a function to every text that a model or a person wrote, and gives the very same object back where
nothing changed. In a *body* the names and ids that hold it together are passed over, and so is base64; in free data
(arguments of a tool) every value and every key is looked at, numbers too.
"""

from collections.abc import Callable
from typing import Any, cast

import msgspec

_STRUCTURE = frozenset(
    {"role", "type", "id", "name", "tool_use_id", "tool_call_id", "call_id", "signature", "encrypted_content", "format"}
)
_LINKS = frozenset({"url", "image_url"})
"""Needed as they are to fetch an image; ``data:`` URLs are base64."""
_ARGUMENTS = frozenset({"input", "arguments"})
_BASE64 = frozenset({"data", "file_data", "b64_json"})
_LEAST_NUMBER = 10**8
"""Smaller numbers are no card, account or telephone number."""

Apply = Callable[[str], str]


def body(value: Any, apply: Apply) -> Any:
    """``value``, a piece of a request's body, with ``apply`` done to its texts."""
    if isinstance(value, str):
        return apply(value)
    if isinstance(value, list):
        return _list(cast("list[Any]", value), lambda item: body(item, apply))
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return _dict(fields, lambda name, item: _field(fields, name, item, apply))
    return value


def _field(parent: dict[str, Any], name: str, value: Any, apply: Apply) -> Any:
    if name in _ARGUMENTS:
        if isinstance(value, dict):
            return free(value, apply)
        if isinstance(value, str) and name == "arguments":
            return arguments(value, apply)
    if isinstance(value, str) and (
        name in _STRUCTURE or name in _LINKS or (name in _BASE64 and parent.get("type") != "text")
    ):
        return value
    return body(value, apply)


def free(value: Any, apply: Apply) -> Any:
    """``value``, any JSON, with ``apply`` done to texts, keys, and numbers that are long enough to tell something."""
    if isinstance(value, str):
        return apply(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        if abs(value) < _LEAST_NUMBER:
            return value
        text = str(value)
        changed = apply(text)
        return value if changed == text else changed
    if isinstance(value, list):
        return _list(cast("list[Any]", value), lambda item: free(item, apply))
    if isinstance(value, dict):
        return _renamed(_dict(cast("dict[str, Any]", value), lambda _, item: free(item, apply)), apply)
    return value


def arguments(text: str, apply: Apply) -> str:
    """JSON text, as of a tool's arguments; what is no JSON is taken as plain text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return apply(text)
    changed = free(value, apply)
    return text if changed is value else msgspec.json.encode(changed).decode()


def is_json(text: str) -> bool:
    """Whether ``text`` is nothing, or JSON as a whole."""
    try:
        msgspec.json.decode(text or "null")
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _list(values: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    changed = [change(value) for value in values]
    return values if all(a is b for a, b in zip(values, changed, strict=True)) else changed


def _dict(values: dict[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    changed = {name: change(name, value) for name, value in values.items()}
    return values if all(changed[name] is value for name, value in values.items()) else changed


def _renamed(values: dict[str, Any], apply: Apply) -> dict[str, Any]:
    names = {name: apply(name) for name in values}
    if all(names[name] is name or names[name] == name for name in values):
        return values
    result: dict[str, Any] = {}
    for name, value in values.items():
        fresh, number = names[name], 2
        while fresh in result:
            fresh, number = f"{names[name]} {number}", number + 1
        result[fresh] = value
    return result
