"""What a request says in its headers: who asks, and our own controls. Read once, in one pass.

Our controls never leak upstream; ``anthropic-*`` headers are an open list and do.
"""

import re
from collections.abc import Iterable

import msgspec

from ostinato.core.errors import Invalid

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_LONGEST_VALUE = 512

_DEFAULT_ANTHROPIC_VERSION = b"2023-06-01"

_TOKEN, _KEY, _CACHE, _REQUEST, _TRACE, _ENCODING, _VERSION = range(7)
_NAMED = {
    b"authorization": _TOKEN,
    b"x-api-key": _KEY,
    b"cache-control": _CACHE,
    b"x-request-id": _REQUEST,
    b"traceparent": _TRACE,
    b"content-encoding": _ENCODING,
    b"anthropic-version": _VERSION,
}
_OURS = frozenset({b"ostinato-user", b"ostinato-session", b"ostinato-tags", b"ostinato-intent", b"ostinato-context"})


class Controls(msgspec.Struct, gc=False):
    """The headers that matter, still as bytes: most requests never look at most of them."""

    token: bytes = b""
    """The API key as sent, without ``Bearer``."""
    cache_control: bytes = b""
    client_request_id: bytes = b""
    """Their ``x-request-id``, if it is well-formed; echoed."""
    traceparent: bytes = b""
    encoding: bytes = b""
    narrowing: bytes = b""
    """Every header beside the key that can change the answer or its scope, in the order sent: part of the raw key."""
    ours: dict[bytes, bytes] | None = None
    """``ostinato-*`` headers."""
    forwarded: dict[bytes, bytes] | None = None
    """``anthropic-*`` headers for the provider."""


def read(headers: Iterable[tuple[bytes, bytes]]) -> Controls:
    """Pick what matters from lower-case ASGI headers. ``Authorization`` wins over ``x-api-key``."""
    found = Controls()
    key = b""
    for name, value in headers:
        which = _NAMED.get(name)
        if which is None:
            first = name[:1]
            if first == b"o" and name in _OURS:
                if found.ours is None:
                    found.ours = {}
                found.ours[name] = value
                found.narrowing += name + b"\x00" + value + b"\x00"
            elif first == b"a" and name.startswith(b"anthropic-"):
                if found.forwarded is None:
                    found.forwarded = {}
                found.forwarded[name] = value
                found.narrowing += name + b"\x00" + value + b"\x00"
        elif which == _TOKEN:
            found.token = value[7:].strip() if value[:7].lower() == b"bearer " else value
        elif which == _KEY:
            key = value
        elif which == _CACHE:
            found.cache_control = found.cache_control + b"," + value if found.cache_control else value
        elif which == _REQUEST:
            if _REQUEST_ID.fullmatch(value):
                found.client_request_id = value
        elif which == _TRACE:
            if _TRACEPARENT.fullmatch(value):
                found.traceparent = value
        elif which == _VERSION:
            if value != _DEFAULT_ANTHROPIC_VERSION:
                if found.forwarded is None:
                    found.forwarded = {}
                found.forwarded[name] = value
                found.narrowing += name + b"\x00" + value + b"\x00"
        elif value != b"identity":
            found.encoding = value
            found.narrowing += name + b"\x00" + value + b"\x00"
    if not found.token:
        found.token = key
    return found


def text(controls: Controls, name: bytes) -> str:
    """The value of one of our headers as text; ``""`` where absent. Raises ``Invalid`` if it is long or not UTF-8."""
    if controls.ours is None:
        return ""
    value = controls.ours.get(name, b"")
    if len(value) > _LONGEST_VALUE:
        raise Invalid(
            f"The header {name.decode()} is longer than {_LONGEST_VALUE} bytes.", hint="Send a digest of it instead."
        )
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Invalid(f"The header {name.decode()} is not UTF-8.") from None


def echoed(controls: Controls, request_id: str) -> list[tuple[bytes, bytes]]:
    """Response headers by which the caller finds this request again: their own id if they sent one, else ours."""
    headers = [(b"x-request-id", controls.client_request_id or request_id.encode())]
    if controls.traceparent:
        headers.append((b"traceparent", controls.traceparent))
    return headers


def forwarded(controls: Controls) -> dict[str, str]:
    """Headers to send to the provider."""
    if controls.forwarded is None:
        return {}
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in controls.forwarded.items()}
