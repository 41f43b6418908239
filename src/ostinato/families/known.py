"""Whether something was seen before, by a Bloom filter (1970): sure where it says no, nearly where it says yes."""

from ostinato.families.distinct import spread

_BITS = 24
_HASHES = 4


class Known:
    """Two megabytes, whatever comes. At 1.7 million different things one in a hundred new ones is held to be known."""

    __slots__ = ("_bits", "_ones")

    def __init__(self) -> None:
        self._bits = bytearray(1 << (_BITS - 3))
        self._ones = 0

    def add(self, number: int) -> bool:
        """Take a number of 64 bits in; whether it was (most probably) known."""
        mixed = spread(number)
        step = (mixed >> 40) | 1
        known = True
        for _ in range(_HASHES):
            place = mixed & ((1 << _BITS) - 1)
            mask = 1 << (place & 7)
            if not self._bits[place >> 3] & mask:
                self._bits[place >> 3] |= mask
                self._ones += 1
                known = False
            mixed += step
        return known

    @property
    def error(self) -> float:
        """The chance that something new is held to be known, now."""
        return (self._ones / (1 << _BITS)) ** _HASHES
