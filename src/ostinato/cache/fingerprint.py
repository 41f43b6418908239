"""Fingerprints and keys: what makes two requests the same one.

A fingerprint takes *every* field of the canonical request except a short, named list, so that a field nobody here has
heard of makes a request more specific, never less. A key binds a fingerprint to its scope, alias, route and generation.
Raise ``VERSION`` whenever equal requests would get another fingerprint, or different ones the same.
"""

import msgspec
from blake3 import blake3

from ostinato.cache.model import Scope
from ostinato.wire.model import NOT_IN_FINGERPRINT, ChatRequest, Json

VERSION: int = 1

_PREFIX = f"ostinato fingerprint {VERSION}".encode()
_DEFAULTS: Json = {
    field.name: field.default
    for field in msgspec.structs.fields(ChatRequest)
    if field.name in NOT_IN_FINGERPRINT and not field.required
} | {"model": "", "tools": (), "response_format": None}
"""What is left out takes its default, and defaults are not encoded. ``model`` goes into the key as alias and route
digest; ``tools`` and ``response_format`` are encoded apart."""

_SORTED = msgspec.json.Encoder(order="deterministic")
_AS_WRITTEN = msgspec.json.Encoder()
_PACK = msgspec.msgpack.Encoder()


def fingerprint(request: ChatRequest) -> bytes:
    """BLAKE3 of the whole request but for ``wire.model.NOT_IN_FINGERPRINT`` and ``model``. 32 bytes.

    The order of keys does not matter, except inside tools and the answer's format: there it steers what a model writes
    first, so that another order is another request. Numbers that a field declares as ``float`` are compared by value
    (``1`` is ``1.0``); anywhere else an integer differs from a float.
    """
    bare = msgspec.structs.replace(request, **_DEFAULTS)
    if type(bare.temperature) is int or type(bare.top_p) is int:
        bare = msgspec.structs.replace(bare, temperature=_real(bare.temperature), top_p=_real(bare.top_p))
    hasher = blake3(_PREFIX)
    if request.tools or request.response_format is not None:
        shapes = _AS_WRITTEN.encode((request.tools, request.response_format))
        hasher.update(b"\x01%d\x00" % len(shapes))
        hasher.update(shapes)
    else:
        hasher.update(b"\x00")
    hasher.update(_SORTED.encode(bare))
    return hasher.digest()


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


def generation(*, release: str, route_digest: bytes, policy_version: str, epoch: str) -> str:
    """The name of a cache generation, 32 hex digits. Any change of its parts makes older entries unreachable."""
    return blake3(_PACK.encode(("generation", VERSION, release, route_digest, policy_version, epoch))).hexdigest(
        length=16
    )


def input_digest(request: ChatRequest, secret: bytes = b"") -> str:
    """Digest of what was said (messages and prompt variables), whatever the model and its parameters. 32 hex digits.

    With ``secret`` it is a keyed commitment, so that short texts cannot be guessed from it.
    """
    body = _SORTED.encode((request.messages, request.prompt))
    if secret:
        return blake3(body, key=blake3(secret).digest()).hexdigest(length=16)
    return blake3(body).hexdigest(length=16)


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
