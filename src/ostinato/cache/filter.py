"""Which keys the shared tier may hold, so that a true miss asks no disk.

A Bloom filter whose hash functions are the key itself: keys are digests, so two pairs of its bits are as good as two
hashes. With 32 bits per key 1 in 270 misses still asks, at the price of one point read.
"""

_BITS_PER_KEY = 32
_LEAST_KEYS = 1 << 16


class KeyFilter:
    """A set of 8-byte key prefixes that may say yes wrongly, and never says no wrongly. 4 bytes per expected key."""

    def __init__(self, expected: int) -> None:
        bits = (max(expected, _LEAST_KEYS) * _BITS_PER_KEY - 1).bit_length()
        self._table = bytearray(1 << bits - 3)
        self._mask = (1 << bits) - 1
        self.capacity = (1 << bits) // _BITS_PER_KEY
        """Keys up to which the promised rate of wrong answers holds."""
        self.added = 0

    def add(self, key: bytes) -> None:
        """Remember a key, of which the first 8 bytes count."""
        table, mask = self._table, self._mask
        both = int.from_bytes(key[:8], "little")
        # The two halves are spread over the whole table, also where it has more than 2**32 bits.
        first = ((both & 0xFFFF_FFFF) * 0x9E3779B97F4A7C15 >> 24) & mask
        second = ((both >> 32) * 0xC2B2AE3D27D4EB4F >> 24) & mask
        table[first >> 3] |= 1 << (first & 7)
        table[second >> 3] |= 1 << (second & 7)
        self.added += 1

    def maybe(self, key: bytes) -> bool:
        """False: never added. True: probably added."""
        table, mask = self._table, self._mask
        first = (int.from_bytes(key[:4], "little") * 0x9E3779B97F4A7C15 >> 24) & mask
        if not table[first >> 3] >> (first & 7) & 1:
            return False
        second = (int.from_bytes(key[4:8], "little") * 0xC2B2AE3D27D4EB4F >> 24) & mask
        return bool(table[second >> 3] >> (second & 7) & 1)
