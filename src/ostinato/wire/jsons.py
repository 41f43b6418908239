"""JSON in and out: one encoder and one decoder for the room, and what to say of bytes that are no JSON."""

from typing import Any, TypeGuard

import msgspec

from ostinato.wire.errors import Malformed
from ostinato.wire.model import Json

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()
_STRING_DECODER = msgspec.json.Decoder(str)

encode = _ENCODER.encode
decode = _DECODER.decode
decode_string = _STRING_DECODER.decode

_SANE = 1 << 53

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that ``decode`` raises on bytes that are no JSON."""


def is_object(value: object) -> TypeGuard[Json]:
    """Whether a decoded value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a decoded value is a JSON array."""
    return isinstance(value, list)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a decoded value is a JSON integer; Python's booleans are integers, JSON's are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def part(value: Json | None, key: str) -> Json:
    """The object under ``key``; anything else is empty."""
    inner: object = value.get(key) if value else None
    return inner if is_object(inner) else {}


def parse_object(data: bytes) -> Json:
    """A provider's JSON object. Raises ``Malformed`` that tells what came instead, without repeating it."""
    try:
        value: object = decode(data)
    except DECODE_ERRORS as error:
        raise Malformed(_what_is(data)) from error
    if not is_object(value):
        raise Malformed("The provider sent JSON that is no object.")
    return value


def _what_is(data: bytes) -> str:
    head = data[:256].strip()
    if not head:
        return "The provider sent an empty body."
    if head.startswith(b"<"):
        return "The provider sent HTML or XML instead of JSON."
    if head.startswith(b"{"):
        return f"The provider's JSON is cut or broken ({len(data)} bytes)."
    return f"The provider sent something that is no JSON ({len(data)} bytes)."


def count(value: object) -> int:
    """A token count from a provider: anything but a sane positive integer is 0."""
    return value if type(value) is int and 0 < value < _SANE else 0


def string(value: object) -> str:
    """A text field from a provider: anything but a string is empty."""
    return value if isinstance(value, str) else ""


def without(value: Json, known: frozenset[str]) -> Json:
    """The fields of an object that are not ``known``."""
    return {key: item for key, item in value.items() if key not in known}
