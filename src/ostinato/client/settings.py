"""Where the server is, and how long a prompt is good for."""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ostinato.core.errors import Denied, Invalid

ADDRESS: Final = "OSTINATO_URL"
KEY: Final = "OSTINATO_KEY"
DEFAULT_ADDRESS: Final = "http://127.0.0.1:8000"


class Settings(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What a client was told; times in seconds."""

    base_url: str = DEFAULT_ADDRESS
    api_key: str
    project: str = ""
    """Id or short name, for keys that reach several; empty: the key's own."""
    ttl: float = 60.0
    """How long a prompt is used before the server is asked again. Notices of changes shorten it."""
    max_stale: float = 3600.0
    """How long after its last confirmation a prompt is still used while the server cannot be reached."""
    timeout: float = 120.0
    """For model calls; in a stream, between two pieces."""
    prompt_timeout: float = 5.0
    """For fetching a prompt."""
    push: bool = True
    """Whether to listen for changes of prompts, from the first prompt that is asked for."""

    def __repr__(self) -> str:
        return f"Settings(base_url={self.base_url!r}, project={self.project!r})"


def settle(
    base_url: str | None,
    api_key: str | None,
    environment: Mapping[str, str] | None = None,
    **rest: float | bool | str,
) -> Settings:
    """Settings from arguments and, where these are left out, from ``OSTINATO_URL`` and ``OSTINATO_KEY``.

    Raises ``Denied`` without a key and ``Invalid`` where the address is none.
    """
    found = os.environ if environment is None else environment
    address = (base_url or found.get(ADDRESS) or DEFAULT_ADDRESS).rstrip("/").removesuffix("/v1")
    key = api_key or found.get(KEY) or ""
    if not key:
        raise Denied(
            "The client has no key.",
            authenticated=False,
            hint=f"Give Client(api_key=...), or set the environment variable {KEY}.",
        )
    if not key.isascii() or any(character <= " " for character in key):
        raise Invalid("The key holds characters that no key has: was it copied with a line end?", param="api_key")
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc:
        raise Invalid(f"{address!r} is no address of a server.", param="base_url", hint=f"Such as {DEFAULT_ADDRESS}.")
    settings = msgspec.convert({"base_url": address, "api_key": key, **rest}, Settings)
    for name in ("ttl", "max_stale", "timeout", "prompt_timeout"):
        if not getattr(settings, name) >= 0:
            raise Invalid(f"{name} is {getattr(settings, name)!r}, but it is a time in seconds.", param=name)
    return settings
