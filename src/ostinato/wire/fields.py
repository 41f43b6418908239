"""Reading a caller's fields: each gives the value in its own type, or an ``Invalid`` that names the field."""

import math
from typing import Any

from ostinato.core.errors import Invalid
from ostinato.wire.jsons import is_array, is_integer, is_object
from ostinato.wire.model import Json, WireName

MAX_TOKENS = 100_000_000
"""More than any model's window: a number above it is a mistake."""
MAX_STOPS = 64
MAX_MODEL = 512
"""Characters of a model's name."""


def invalid(param: str, problem: str, hint: str = "") -> Invalid:
    """An ``Invalid`` that says ``problem`` of the field ``param`` (dotted path)."""
    return Invalid(f"`{param}` {problem}.", param=param, hint=hint)


def untranslatable(param: str, source: str, target: WireName, hint: str = "") -> Invalid:
    """An ``Invalid`` for a part of a ``source`` request that has no counterpart at a ``target`` provider."""
    way_out = hint or f"Leave it out, or send the request to a model whose provider speaks {source}."
    return Invalid(
        f"`{param}` has no counterpart at a provider that speaks {target}.",
        param=param,
        code="untranslatable",
        hint=way_out,
    )


def number(value: object, param: str, low: float, high: float) -> float:
    """A finite number between ``low`` and ``high``, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(param, "must be a number")
    if not low <= value <= high or not math.isfinite(value):
        raise invalid(param, f"must be between {low:g} and {high:g}")
    return float(value)


def integer(value: object, param: str, low: int, high: int) -> int:
    """A JSON integer between ``low`` and ``high``, both included."""
    if not is_integer(value):
        raise invalid(param, "must be an integer")
    if not low <= value <= high:
        raise invalid(param, f"must be between {low} and {high}")
    return value


def boolean(value: object, param: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(param, "must be true or false")
    return value


def string(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise invalid(param, "must be a string")
    return value


def obj(value: object, param: str) -> Json:
    if not is_object(value):
        raise invalid(param, "must be an object")
    return value


def array(value: object, param: str) -> list[Any]:
    if not is_array(value):
        raise invalid(param, "must be an array")
    return value


def stops(value: object, param: str) -> tuple[str, ...]:
    """Stop sequences: one string or an array of them."""
    if isinstance(value, str):
        return (value,)
    items = array(value, param)
    if len(items) > MAX_STOPS:
        raise invalid(param, f"must hold at most {MAX_STOPS} sequences")
    for index, item in enumerate(items):
        string(item, f"{param}.{index}")
    return tuple(items)


def model(body: Json) -> str:
    """The ``model`` field: a name of 1 to 512 characters."""
    value = body.get("model")
    if not isinstance(value, str) or not value:
        raise invalid("model", "must be a non-empty string" if "model" in body else "is missing")
    if len(value) > MAX_MODEL:
        raise invalid("model", f"must have at most {MAX_MODEL} characters")
    return value


def messages(body: Json, key: str = "messages") -> list[Any]:
    """The conversation; it may be absent where a prompt is named, whose template then makes it."""
    value = body.get(key)
    if value is None or value == []:
        name: object = body.get("model")
        if body.get("prompt") is not None or (isinstance(name, str) and name.startswith("prompt:")):
            return []
        raise invalid(key, "must hold at least one message")
    return array(value, key)


def stream(body: Json) -> bool:
    value = body.get("stream")
    return value if isinstance(value, bool) else value is not None and boolean(value, "stream")


def prompt(body: Json) -> Json | None:
    """Our own control: ``{"variables": {...}}``."""
    value = body.get("prompt")
    if value is None:
        return None
    control = obj(value, "prompt")
    variables = control.get("variables")
    if variables is not None:
        obj(variables, "prompt.variables")
    return control
