"""A budget that is reserved before a call and settled after it: never exceeded, however many calls are under way."""

import asyncio
import threading
from collections import deque

from ostinato.calls.model import Limits, Spent
from ostinato.core import money
from ostinato.core.errors import LimitReached

_NOTHING = Spent()


class Exhausted(LimitReached):
    """The budget does not suffice for the next call: nothing was sent for it."""

    default_code = "budget_exhausted"


class Reservation:
    """What is set aside for one call. Settled or released once."""

    __slots__ = ("nano", "open", "tokens")

    def __init__(self, tokens: int, nano: int) -> None:
        self.tokens = tokens
        self.nano = nano
        self.open = True


class _Waiter:
    __slots__ = ("event", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()


class Budget:
    """What one run or experiment may spend. For any number of tasks and threads.

    Calls, tokens and money are limits of their own. What is reserved is an upper bound; what is settled is what the
    provider counted, or the whole reservation where nobody knows.
    """

    def __init__(self, limits: Limits, spent: Spent = _NOTHING) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._spent = spent
        self._held = _NOTHING
        self._waiting: deque[_Waiter] = deque()

    @property
    def spent(self) -> Spent:
        """What has been settled."""
        return self._spent

    @property
    def reserved(self) -> Spent:
        """What is set aside for calls under way."""
        return self._held

    def reserve(self, tokens_upper: int, nano_upper: int | None) -> Reservation:
        """Set aside one call, so many tokens and nano-dollars. Raises ``Exhausted`` where that does not fit now.

        ``nano_upper``: ``None`` where no price is known; refused while there is a limit on money.
        """
        with self._lock:
            refusal = self._refusal(tokens_upper, nano_upper)
            if refusal is not None:
                raise refusal
            if not self._fits(tokens_upper, nano_upper or 0):
                raise _exhausted("what is left of it is set aside for calls under way", self.limits, self._spent)
            return self._take(tokens_upper, nano_upper or 0)

    async def acquire(self, tokens_upper: int, nano_upper: int | None) -> Reservation:
        """The same, but wait while only the reservations of others stand in the way; in the order of asking."""
        waiter: _Waiter | None = None
        try:
            while True:
                with self._lock:
                    refusal = self._refusal(tokens_upper, nano_upper)
                    if refusal is not None:
                        raise refusal
                    first = not self._waiting or self._waiting[0] is waiter
                    if first and self._fits(tokens_upper, nano_upper or 0):
                        return self._take(tokens_upper, nano_upper or 0)
                    if waiter is None:
                        waiter = _Waiter()
                        self._waiting.append(waiter)
                    waiter.event.clear()
                await waiter.event.wait()
        finally:
            if waiter is not None:
                with self._lock:
                    self._waiting.remove(waiter)
                    self._wake()

    def settle(self, reservation: Reservation, *, tokens: int, nano: int | None, calls: int = 1) -> None:
        """Put what was spent in place of what was reserved, once. ``nano``: ``None`` where no price is known."""
        with self._lock:
            if not self._give_back(reservation):
                return
            self._spent = Spent(
                calls=self._spent.calls + calls,
                tokens=self._spent.tokens + tokens,
                nano=self._spent.nano + (nano or 0),
                unpriced=self._spent.unpriced + (calls if nano is None else 0),
            )
            self._wake()

    def release(self, reservation: Reservation) -> None:
        """Nothing was spent."""
        with self._lock:
            if self._give_back(reservation):
                self._wake()

    def _refusal(self, tokens: int, nano: int | None) -> Exhausted | None:
        """Why this can never fit, whatever comes back from calls under way."""
        limits, spent = self.limits, self._spent
        if limits.nano is not None and nano is None:
            return Exhausted(
                "The budget limits money, and the price of this model is not known.",
                code="price_unknown",
                hint="Declare its price under [prices], or limit calls and tokens instead.",
            )
        if limits.calls is not None and spent.calls + 1 > limits.calls:
            return _exhausted(f"all {limits.calls} calls are spent", limits, spent)
        if limits.tokens is not None and spent.tokens + tokens > limits.tokens:
            return _exhausted(f"the next call may take {tokens} tokens", limits, spent)
        if limits.nano is not None and spent.nano + (nano or 0) > limits.nano:
            return _exhausted(f"the next call may cost ${money.to_dollars(nano or 0)}", limits, spent)
        return None

    def _fits(self, tokens: int, nano: int) -> bool:
        limits, spent, held = self.limits, self._spent, self._held
        return (
            (limits.calls is None or spent.calls + held.calls + 1 <= limits.calls)
            and (limits.tokens is None or spent.tokens + held.tokens + tokens <= limits.tokens)
            and (limits.nano is None or spent.nano + held.nano + nano <= limits.nano)
        )

    def _take(self, tokens: int, nano: int) -> Reservation:
        held = self._held
        self._held = Spent(calls=held.calls + 1, tokens=held.tokens + tokens, nano=held.nano + nano)
        return Reservation(tokens, nano)

    def _give_back(self, reservation: Reservation) -> bool:
        if not reservation.open:
            return False
        reservation.open = False
        held = self._held
        self._held = Spent(
            calls=held.calls - 1, tokens=held.tokens - reservation.tokens, nano=held.nano - reservation.nano
        )
        return True

    def _wake(self) -> None:
        """Let whoever waits look again: the first may fit now, and any may find that it never will."""
        for waiter in self._waiting:
            waiter.loop.call_soon_threadsafe(waiter.event.set)


def _exhausted(why: str, limits: Limits, spent: Spent) -> Exhausted:
    parts: list[str] = []
    if limits.calls is not None:
        parts.append(f"{spent.calls} of {limits.calls} calls")
    if limits.tokens is not None:
        parts.append(f"{spent.tokens} of {limits.tokens} tokens")
    if limits.nano is not None:
        parts.append(f"${money.to_dollars(spent.nano)} of ${money.to_dollars(limits.nano)}")
    return Exhausted(
        f"The budget is exhausted: {why}. Spent so far: {', '.join(parts)}.",
        hint="What was paid for is kept; go on with a larger budget.",
    )
