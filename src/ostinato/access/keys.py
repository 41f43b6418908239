"""The form of a key's secret: ``ost_PPPPPPPP_`` + 43 characters of randomness + 6 of checksum.

The first 12 characters are the public prefix, safe to show and to write down. The 43 characters carry 256 random bits,
so a plain SHA-256 is the right thing to store: there is nothing to guess, and a slow hash would only slow down every
request. The checksum (CRC-32) tells a key that was copied badly from one that is unknown, and lets secret scanners
find leaked keys without false alarms. All characters are letters and digits, so a double click selects everything.
"""

import os
import re
import zlib

import msgspec

from ostinato.core import hashing

MARK = "ost_"
LENGTH = 62
PREFIX_LENGTH = 12

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_LENGTH = 43
_CHECK_LENGTH = 6
_FORM = re.compile(r"ost_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")


class Secret(msgspec.Struct, frozen=True, gc=False):
    """A new key, before its text is shown to its owner and forgotten. It hides itself from logs."""

    text: str
    prefix: str
    digest: bytes

    def __repr__(self) -> str:
        return f"Secret({self.prefix}...)"

    __str__ = __repr__


def new() -> Secret:
    """A new secret from the operating system's random source."""
    public = _base62(int.from_bytes(os.urandom(8), "big"), 8)
    body = f"{MARK}{public}_{_base62(int.from_bytes(os.urandom(32), 'big'), _RANDOM_LENGTH)}"
    text = body + _checksum(body)
    return Secret(text, text[:PREFIX_LENGTH], hashing.secret_digest(text))


def well_formed(token: str) -> bool:
    """Whether ``token`` has the form of a key and its checksum is right: all that can be said without a look-up."""
    return (
        len(token) == LENGTH
        and _FORM.fullmatch(token) is not None
        and token[-_CHECK_LENGTH:] == _checksum(token[:-_CHECK_LENGTH])
    )


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    """The last ``length`` digits of ``number`` in base 62."""
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
