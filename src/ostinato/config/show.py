"""The configuration as people may see it: secrets and what may hold them are masked."""

from typing import Any, cast

import msgspec

from ostinato.config.model import Config
from ostinato.providers import ApiKey

_MASK = "********"
_SECRET_TABLES = ("headers", "query")
_URLS = ("url", "valkey")


def shown(config: Config) -> dict[str, Any]:
    """Every section with its values, defaults included. Keys, headers and passwords in URLs are masked."""
    return _masked(cast("dict[str, Any]", msgspec.to_builtins(config, enc_hook=_key)))


def _key(value: object) -> object:
    if isinstance(value, ApiKey):
        return _MASK
    raise TypeError(f"{type(value).__name__} cannot be shown")


def _masked(table: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            result[name] = dict.fromkeys(inner, _MASK) if name in _SECRET_TABLES else _masked(inner)
        elif name in _URLS and isinstance(value, str):
            result[name] = without_password(value)
        else:
            result[name] = value
    return result


def without_password(url: str) -> str:
    """``url`` with the password between user and host masked."""
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    who, _, where = rest.rpartition("@")
    user, colon, _ = who.partition(":")
    return f"{scheme}://{user}{':' + _MASK if colon else ''}@{where}"
