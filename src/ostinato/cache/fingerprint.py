"""Fingerprints and keys: what makes two requests the same one.

A fingerprint takes *every* field of the canonical request except a short, named list, so that a field nobody here has
heard of makes a request more specific, never less. A key binds a fingerprint to its scope, alias, route and generation.
Raise ``VERSION`` whenever equal requests would get another fingerprint, or different ones the same.
"""

import functools

import msgspec
from blake3 import blake3

from ostinato.cache.model import Scope
from ostinato.wire.model import NOT_IN_FINGERPRINT, ChatRequest, Json

VERSION: int = 2

_PREFIX = f"ostinato fingerprint {VERSION}".encode()
_DEFAULTS: Json = {
    field.name: field.default
    for field in msgspec.structs.fields(ChatRequest)
    if field.name in NOT_IN_FINGERPRINT and not field.required
} | {"model": "", "messages": (), "prompt": None, "tools": (), "response_format": None}
"""What is left out takes its default, and defaults are not encoded. ``model`` goes into the key as alias and route
digest; the others are encoded apart."""

_SORTED = msgspec.json.Encoder(order="deterministic")
_AS_WRITTEN = msgspec.json.Encoder()
_PACK = msgspec.msgpack.Encoder()


def said(request: ChatRequest) -> bytes:
    """BLAKE3 of what was said: messages and prompt variables, whatever the model and its parameters. 32 bytes.

    The long part of a request, encoded and hashed once for its fingerprint and its input digest.
    """
    return blake3(_SORTED.encode((request.messages, request.prompt))).digest()


def fingerprint(request: ChatRequest, what: bytes | None = None) -> bytes:
    """BLAKE3 of the whole request but for ``wire.model.NOT_IN_FINGERPRINT`` and ``model``. 32 bytes.

    ``what``: :func:`said` of the same request, where that is known.

    The order of keys does not matter, except inside tools and the answer's format: there it steers what a model writes
    first, so that another order is another request. Numbers that a field declares as ``float`` are compared by value
    (``1`` is ``1.0``); anywhere else an integer differs from a float.
    """
    bare = msgspec.structs.replace(request, **_DEFAULTS)
    if type(bare.temperature) is int or type(bare.top_p) is int:
        bare = msgspec.structs.replace(bare, temperature=_real(bare.temperature), top_p=_real(bare.top_p))
    shapes = b""
    if request.tools or request.response_format is not None:
        shapes = _AS_WRITTEN.encode((request.tools, request.response_format))
    what = said(request) if what is None else what
    return blake3(b"%b%b%d:%b%b" % (_PREFIX, what, len(shapes), shapes, _SORTED.encode(bare))).digest()


def key(scope: Scope, fingerprint: bytes, *, alias: str, route_digest: bytes, generation: str) -> bytes:
    """The entry's key: 32 bytes, never equal for two scopes.

    ``route_digest`` is that of the route, or for a weighted route of the route and the drawn target
    (``routing.key_digest``).
    """
    return blake3(
        _PACK.encode(
            (
                "chat",
                scope.org,
                scope.project,
                scope.user,
                scope.context,
                scope.session,
                fingerprint,
                alias,
                route_digest,
                generation,
            )
        )
    ).digest()


@functools.lru_cache(maxsize=4096)
def generation(*, release: str, route_digest: bytes, policy_version: str, epoch: str) -> str:
    """The name of a cache generation, 32 hex digits. Any change of its parts makes older entries unreachable."""
    return blake3(_PACK.encode(("generation", VERSION, release, route_digest, policy_version, epoch))).hexdigest(
        length=16
    )


def input_digest(what: bytes, secret: bytes = b"") -> str:
    """:func:`said` of a request as metadata shows it, 32 hex digits.

    With ``secret`` it is a keyed commitment, so that short texts cannot be guessed from it.
    """
    if secret:
        return blake3(what, key=_key_of(secret)).hexdigest(length=16)
    return blake3(what).hexdigest(length=16)


@functools.lru_cache(maxsize=16)
def _key_of(secret: bytes) -> bytes:
    return blake3(secret).digest()


def embedding_key(
    scope: Scope,
    alias: str,
    route_digest: bytes,
    generation: str,
    text_or_tokens: str | tuple[int, ...],
    dimensions: int | None,
    extra: Json | None,
) -> bytes:
    """The key of one input's vector, 32 bytes. The encoding that the caller wants takes no part; all else does."""
    return blake3(
        _PACK.encode(
            (
                "embedding",
                VERSION,
                scope.org,
                scope.project,
                scope.user,
                scope.context,
                scope.session,
                alias,
                route_digest,
                generation,
                text_or_tokens,
                dimensions,
                _SORTED.encode(extra) if extra else b"",
            )
        )
    ).digest()


def _real(number: float | None) -> float | None:
    return None if number is None else float(number)
