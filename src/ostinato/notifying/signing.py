"""Signatures after Standard Webhooks (standardwebhooks.com, specification 1.0.0): symmetric, version ``v1``."""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable

PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    """A secret: ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(os.urandom(_BYTES)).decode()


def headers(secrets: Iterable[str], identifier: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers of a delivery. ``seconds``: UTC, of this try. One signature for each secret, with spaces."""
    told = f"{identifier}.{seconds}.".encode() + body
    signatures = [_signature(secret, told) for secret in secrets]
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, told: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, told, hashlib.sha256)).decode()
