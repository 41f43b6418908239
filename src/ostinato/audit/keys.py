"""Keys of the log: those of commitments, one for each subject, and the one that signs checkpoints.

What may be personal enters a leaf only as ``HMAC-SHA256(opening, text)``, where ``opening`` is made from the subject's
key for this one leaf and field. Telling one opening shows what one commitment was made to and nothing else; destroying
the subject's key leaves all of them standing and none of them to be opened.
"""

import hashlib
import hmac
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
KEY_BYTES = 32


class Vault:
    """Wraps keys with a master key (AES-256-GCM), which is made from the installation's secret."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(secret or b"\x00", b"ostinato audit: keys at rest", "sha256"))

    def wrap(self, key: bytes, name: str) -> bytes:
        """``key`` as it may lie in the database, tied to ``name``."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key, name.encode())

    def unwrap(self, wrapped: bytes, name: str) -> bytes | None:
        """The key again; ``None`` where it was wrapped under another secret or name."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], name.encode())
        except InvalidTag:
            return None


def new_key() -> bytes:
    """A fresh key."""
    return secrets.token_bytes(KEY_BYTES)


def opening(key: bytes, index: int, field: str) -> bytes:
    """What opens the commitment in ``field`` of leaf ``index``."""
    return hmac.digest(key, f"leaf {index} {field}".encode(), hashlib.sha256)


def commitment(key: bytes, index: int, field: str, value: bytes) -> str:
    """What goes into the leaf in the place of ``value``."""
    return hmac.digest(opening(key, index, field), value, hashlib.sha256).hex()
