"""Addresses and secrets at rest: encrypted under a key made from the installation's secret, each tied to its row."""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class Sealer:
    """AES-256-GCM. What was sealed under another secret, or for another row, cannot be opened."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(secret or b"\x00", b"ostinato notifying: secrets at rest", "sha256"))

    def seal(self, data: bytes, row: str) -> bytes:
        """``data`` as it may lie in the database."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, data, row.encode())

    def open(self, sealed: bytes | None, row: str) -> bytes | None:
        """The data again; ``None`` where there is none, or the secret is another one."""
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], row.encode())
        except InvalidTag:
            return None
