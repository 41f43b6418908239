"""Pure building blocks: ids, time, errors, hashing, money.

Nothing here performs I/O or knows another room. Time and ids are *injected* everywhere else: a room asks for a
``Clock`` and calls ``ids.new(clock.now())``; tests pass a ``ManualClock``.
"""

from ostinato.core import clock, errors, hashing, ids, money

__all__ = ["clock", "errors", "hashing", "ids", "money"]
