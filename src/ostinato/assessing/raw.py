"""What a reader of a format gives: bodies in one wire's shape, and what stood beside them."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ostinato.wire.model import Json, WireName


class Unusable(Exception):
    """A record cannot be used. The message says why, in words of ours: nothing of the record's texts."""


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """A request's body as a client would have sent it, and the answer's as a provider would have."""

    wire: WireName
    body: Json
    answer: Any = None
    """The decoded body, or the text of a stream; ``None``: it is not there."""
    usage: Json | None = None
    """As the wire tells it, where the answer does not."""
    at: int = 0
    """UTC microseconds; 0: not told."""
    provider: str = ""
    user: str = ""
    session: str = ""
    intent: str = ""
    status: int = 200
    us: int = 0
    ended: bool = True


def as_object(value: object) -> Json:
    """``value`` if it is an object of JSON; else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """``value`` if it is a list of JSON; else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def part(value: object, name: str) -> Json:
    """A member that is an object; empty where there is none."""
    return as_object(as_object(value).get(name))


def string(record: Mapping[str, Any], *names: str) -> str:
    """The first text under one of these names, at most 256 characters; empty where there is none."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value:
            return value[:256]
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def decoded(value: object) -> Any:
    """What a text of JSON holds; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            return value
    return value


def count(record: Mapping[str, Any], *names: str) -> int:
    """The first count under one of these names; 0 where there is none."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return 0
