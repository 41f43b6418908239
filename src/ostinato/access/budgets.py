"""Money budgets: reserve before a call, settle with its real cost after it. Never overshot, also by ``kill -9``.

Each process holds *leases* on the purses that its callers draw on (:mod:`ostinato.access.leases`): small slices that it
takes from the database ahead of need and spends from in memory. So a reservation usually waits for nothing, processes
cannot spend the same dollar twice, and what a crashed process held counts as spent. A clean stop returns the rest.

What is settled for a call never exceeds the purse as long as it does not exceed the call's reservation. Where a call
turns out to cost more (a stream that was cut, an estimate too low), all of it is charged: the purse may then be
overdrawn by that call's difference, and refuses everything until its next period.

One event loop per instance; the durable part may be shared by any number of processes.
"""

import asyncio
import logging
from typing import NoReturn

from ostinato.access import leases
from ostinato.access.leases import BudgetState, Holding, Period
from ostinato.access.model import Account, Caller, MoneyBudget
from ostinato.access.settings import Settings
from ostinato.core import ids, money
from ostinato.core.clock import Clock
from ostinato.core.errors import LimitReached, OstinatoError, Unavailable
from ostinato.storage import Database

_log = logging.getLogger(__name__)

_TICK = 1.0
_KNOWN_EMPTY = 1.0
"""Seconds for which a purse that was found empty is not asked for again: refusals under attack cost no transactions."""


class _Slice:
    """What this process holds of one purse in one period: ``granted = free + reserved + spent``."""

    __slots__ = (
        "account", "budget", "changed", "empty_until", "free", "granted", "holder", "largest", "left", "low",
        "operation", "period", "reserved", "spent", "step", "used_at", "waiting",
    )  # fmt: skip

    def __init__(self, account: str, budget: MoneyBudget, period: Period, holder: str) -> None:
        self.account = account
        self.holder = holder
        """Its row in the database, never used again: a clock set back into an ended period starts another."""
        self.budget = budget
        self.period = period
        self.granted = 0
        self.free = 0
        self.reserved = 0
        self.spent = 0
        self.low = 0
        """Below this much free, a new slice is fetched ahead of need."""
        self.largest = 0
        """The largest reservation of late: a slice should hold a few of them."""
        self.waiting: list[int] = []
        """What each waiting caller needs."""
        self.left = 0
        """What nobody held when we last asked; believed until ``empty_until``."""
        self.empty_until = 0.0
        self.used_at = 0.0
        self.changed = False
        """Whether the database should hear of it."""
        self.step = 0
        self.operation: asyncio.Task[OstinatoError | None] | None = None
        """The one write under way; there is never a second."""

    def holding(self) -> Holding:
        """The next declaration of what is held."""
        self.step += 1
        return Holding(self.account, self.period.id, self.holder, self.step, self.granted, self.spent)


class Reservation:
    """Money set aside for one call. Settle or release it exactly once; more often does no harm."""

    __slots__ = ("_slices", "nano", "open")

    def __init__(self, slices: tuple[_Slice, ...], nano: int) -> None:
        self._slices = slices
        self.nano = nano
        """Nano-dollars set aside."""
        self.open = True
        """Until it is settled or released."""

    def close(self, cost: int) -> tuple[_Slice, ...]:
        """Book ``cost`` instead of what was set aside; gives the slices that are overdrawn now."""
        self.open = False
        for piece in self._slices:
            piece.reserved -= self.nano
            piece.spent += cost
            piece.free += self.nano - cost
            piece.changed = True
        return tuple(piece for piece in self._slices if piece.free < 0)


class Budgets:
    """All slices of this process."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._share = settings.lease_share
        self._minimum = settings.lease_minimum_nano
        self._idle = settings.lease_idle_seconds
        self._slices: dict[tuple[str, str], _Slice] = {}
        self._current: dict[str, _Slice] = {}
        self._stopping = False

    @staticmethod
    def required(caller: Caller) -> bool:
        """Whether the caller's calls must be paid for: one whose price is unknown must then be refused."""
        return bool(caller.accounts)

    async def reserve(self, caller: Caller, nano: int) -> Reservation:
        """Set ``nano`` nano-dollars aside in every purse of the caller; in the common case without waiting.

        Raises :class:`LimitReached` (``budget_exceeded``) where a purse has less, :class:`Unavailable` where the
        database had to be asked and does not answer: money is never spent unseen.
        """
        reservation = self.reserve_now(caller, nano)
        if reservation is not None:
            return reservation
        taken: list[_Slice] = []
        try:
            for account in caller.accounts:
                taken.append(await self._take(account, nano))
        except BaseException:
            _give_back(taken, nano)
            raise
        return Reservation(tuple(taken), nano)

    def reserve_now(self, caller: Caller, nano: int) -> Reservation | None:
        """Like :meth:`reserve`, from what this process holds already; ``None`` where it must ask the database."""
        if nano < 0:
            raise ValueError("A reservation cannot be negative.")
        if self._stopping:
            raise Unavailable("Ostinato is stopping.", code="draining", retry_after=1.0)
        taken: list[_Slice] = []
        for account in caller.accounts:
            piece = self._slice(account)
            if piece.free < nano:
                _give_back(taken, nano)
                return None
            self._set_aside(piece, nano)
            taken.append(piece)
        return Reservation(tuple(taken), nano)

    def settle(self, reservation: Reservation, nano: int) -> None:
        """Charge what the call really cost and free the rest. Only the first call for a reservation counts."""
        if nano < 0:
            raise ValueError("A cost cannot be negative.")
        if not reservation.open:
            return
        for piece in reservation.close(nano):
            self._fetch_soon(piece)  # write an overdraft down at once: other processes must know

    def release(self, reservation: Reservation) -> None:
        """Free all of it: nothing was spent."""
        self.settle(reservation, 0)

    async def state(self, account: Account) -> BudgetState:
        """Where a purse stands, across all processes."""
        now = self._clock.now()
        return await self._database.read(lambda c: leases.state(c, account.id, account.budget, now))

    async def run(self) -> None:
        """Write down and give back, each second, until cancelled."""
        while True:
            await self._clock.sleep(_TICK)
            await self.tidy()

    async def tidy(self) -> None:
        """Write down what was spent; give back what nobody has drawn on for a while and what ended periods left."""
        now, moment = self._clock.now(), self._clock.monotonic()
        due = [piece for piece in self._slices.values() if piece.operation is None and self._due(piece, now, moment)]
        if due:
            await self._declare(due)
        for key, piece in list(self._slices.items()):
            ended = piece.period.ends is not None and piece.period.ends <= now
            if ended and piece.granted == piece.spent and not piece.changed and piece.operation is None:
                del self._slices[key]
                if self._current.get(piece.account) is piece:
                    del self._current[piece.account]

    async def stop(self) -> None:
        """Give back what is free. What is reserved still stays charged: its calls can no longer settle."""
        self._stopping = True
        running = [piece.operation for piece in self._slices.values() if piece.operation is not None]
        if running:
            await asyncio.wait(running)
        for piece in self._slices.values():
            piece.used_at = float("-inf")
        await self.tidy()

    def _slice(self, account: Account) -> _Slice:
        """The slice of the present period."""
        now = self._clock.now()
        piece = self._current.get(account.id)
        if (
            piece is not None
            and piece.budget is account.budget
            and piece.period.starts <= now
            and (piece.period.ends is None or now < piece.period.ends)
        ):
            return piece
        period = leases.period_of(account.budget.period, now)
        piece = self._slices.get((account.id, period.id))
        if piece is None:
            piece = self._slices[account.id, period.id] = _Slice(account.id, account.budget, period, ids.new(now))
        if piece.budget != account.budget:
            piece.empty_until = 0.0
        piece.budget = account.budget
        self._current[account.id] = piece
        return piece

    def _set_aside(self, piece: _Slice, nano: int) -> None:
        piece.free -= nano
        piece.reserved += nano
        piece.used_at = self._clock.monotonic()
        piece.largest = max(nano, piece.largest - piece.largest // 16)
        if piece.free < piece.low and piece.operation is None and piece.used_at >= piece.empty_until:
            self._fetch_soon(piece)

    async def _take(self, account: Account, nano: int) -> _Slice:
        """Set aside in one purse, with as many new slices as it takes."""
        piece = self._slice(account)
        piece.waiting.append(nano)
        try:
            while piece.free < nano:
                if self._clock.monotonic() < piece.empty_until and nano > piece.free + max(piece.left, 0):
                    self._refuse(piece, nano)
                self._fetch_soon(piece)
                if piece.operation is not None:
                    # Shielded: a caller that hangs up must not lose a slice that others wait for.
                    failure = await asyncio.shield(piece.operation)
                    if failure is not None:
                        raise failure
        finally:
            piece.waiting.remove(nano)
        self._set_aside(piece, nano)
        return piece

    def _fetch_soon(self, piece: _Slice) -> None:
        if piece.operation is None:
            piece.operation = asyncio.get_running_loop().create_task(self._fetch(piece))

    async def _fetch(self, piece: _Slice) -> OstinatoError | None:
        """Get another slice. Failures are handed to whoever waits, not raised: perhaps nobody does."""
        holding = piece.holding()
        limit, free, needs = piece.budget.nano, piece.free, list(piece.waiting)
        size, now = self._size(piece), self._clock.now()
        try:
            granted = await self._database.run(
                lambda c: leases.take(c, holding, limit=limit, free=free, needs=needs, slice_size=size, now=now)
            )
        except Exception as error:
            # Whether it took effect is unknown; the next declaration says again what we hold for sure.
            piece.changed = True
            if isinstance(error, OstinatoError):
                return error
            _log.exception("A money budget could not be asked.")
            return Unavailable("The budget cannot be checked at the moment.", retry_after=1.0)
        finally:
            piece.operation = None
        more = granted.total - piece.granted
        piece.granted = granted.total
        piece.free += more
        piece.low = max(min(size, more) // 2, 0)
        piece.left = granted.left
        wish = max(size, sum(needs) - free)
        piece.empty_until = self._clock.monotonic() + _KNOWN_EMPTY if more < wish else 0.0
        return None

    def _size(self, piece: _Slice) -> int:
        """How much of a purse to hold ready: a share of the budget, or enough for a few calls."""
        return max(int(piece.budget.nano * self._share), self._minimum, 4 * piece.largest)

    def _due(self, piece: _Slice, now: int, moment: float) -> bool:
        """Whether the slice should be written down; gives back what may go first."""
        ended = piece.period.ends is not None and piece.period.ends <= now
        idle = moment - piece.used_at >= self._idle and not piece.waiting
        size = self._size(piece)
        # A call that was estimated much too high leaves more than a slice behind.
        keep = 0 if ended or idle else size if piece.free > 2 * size else piece.free
        if piece.free > keep:
            piece.granted -= piece.free - keep
            piece.free = keep
            piece.low = min(piece.low, keep)
            piece.changed = True
        return piece.changed and piece.step > 0

    async def _declare(self, pieces: list[_Slice]) -> None:
        task = asyncio.get_running_loop().create_task(self._write(pieces))
        for piece in pieces:
            piece.operation = task
        await asyncio.shield(task)

    async def _write(self, pieces: list[_Slice]) -> OstinatoError | None:
        holdings = [piece.holding() for piece in pieces]
        for piece in pieces:
            piece.changed = False
        now = self._clock.now()
        try:
            await self._database.run(lambda c: leases.declare(c, holdings, now))
        except Exception as error:
            for piece in pieces:
                piece.changed = True
            _log.warning("What money budgets have spent could not be written down (%s).", type(error).__name__)
        finally:
            for piece in pieces:
                piece.operation = None
        return None

    def _refuse(self, piece: _Slice, nano: int) -> NoReturn:
        now = self._clock.now()
        budget = piece.budget
        whose = "project's" if piece.account.startswith("project:") else "key's"
        per = "" if budget.period == "total" else f" per {budget.period}"
        if nano <= piece.free + max(piece.left, 0) + piece.reserved:
            why, wait = "is set aside by calls in flight", 1.0
        else:
            why = "does not allow for this call any more"
            wait = None if piece.period.ends is None else (piece.period.ends - now) / 1_000_000
        raise LimitReached(
            f"The {whose} budget of ${money.to_dollars(budget.nano)}{per} {why}.",
            code="budget_exceeded",
            hint=f"This call may cost ${money.to_dollars(nano)}: ask for fewer tokens, wait, or raise the budget.",
            retry_after=wait,
        )


def _give_back(pieces: list[_Slice], nano: int) -> None:
    for piece in pieces:
        piece.free += nano
        piece.reserved -= nano
