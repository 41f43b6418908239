"""Digests: BLAKE3 for keys, SHA-256 for what outsiders verify, canonical JSON to feed both."""

import hashlib

import msgspec
from blake3 import blake3

_ENCODER = msgspec.json.Encoder(order="deterministic")


def digest(*parts: bytes) -> bytes:
    """BLAKE3 of the parts, each preceded by its length so that no two lists of parts collide. 32 bytes."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return _ENCODER.encode(value)


def digest_of(value: object) -> bytes:
    """BLAKE3 of the canonical JSON of ``value``. 32 bytes."""
    return blake3(_ENCODER.encode(value)).digest()


def secret_digest(secret: str) -> bytes:
    """SHA-256 of a high-entropy secret (an API key): what is stored and looked up instead of the secret itself."""
    return hashlib.sha256(secret.encode()).digest()
