"""UUIDv7 identifiers: sortable by time, unique without coordination (RFC 9562, section 5.7)."""

import os

_HEX_LENGTH = 32


def new(now: int) -> str:
    """A UUIDv7 as 32 lowercase hexadecimal digits.

    ``now`` is UTC microseconds; the millisecond goes into the first 48 bits, the rest is random.
    """
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (now // 1000 & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 64 & 0xFFF) << 64
        | 0x2 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    return f"{value:032x}"


def time_of(identifier: str) -> int:
    """The UTC microseconds (millisecond precision) at which ``identifier`` was made."""
    return int(identifier[:12], 16) * 1000


def is_id(text: str) -> bool:
    """Whether ``text`` has the form that :func:`new` gives."""
    return len(text) == _HEX_LENGTH and all(c in "0123456789abcdef" for c in text)
