"""What runs beside the requests: every process holds out the same share, and purses and budgets are looked at."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import sqlalchemy as sa

from ostinato.access.leases import BudgetState
from ostinato.access.model import Account
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.intents import Intents
from ostinato.intents.model import Declaration
from ostinato.savings import baselines, budgets, tables
from ostinato.savings.baselines import Before
from ostinato.savings.budgets import Budgets, Today
from ostinato.savings.lottery import Lottery
from ostinato.savings.settings import Settings
from ostinato.storage import Current, Database
from ostinato.traces import tables as ledger

_log = logging.getLogger("ostinato.savings")

_DAY = 86_400_000_000
_FORGET_EVERY = 720
"""Rounds after which purses that nobody uses, and what is too old for any report, are forgotten."""
_KEPT = 401 * _DAY

State = Callable[[Account], Awaitable[BudgetState]]
"""``state(account)``: ``access.budgets.state``."""


class Keeping:
    """The life of the hold-out and of the budgets in one process."""

    def __init__(
        self,
        *,
        control: Database,
        traces: Database,
        clock: Clock,
        settings: Settings,
        lottery: Lottery,
        limits: Budgets,
        intents: Current[Intents],
        state: State,
    ) -> None:
        self._control = control
        self._traces = traces
        self._clock = clock
        self._settings = settings
        self._lottery = lottery
        self._limits = limits
        self._intents = intents
        self._state = state
        self._before: Mapping[str, Before] = MappingProxyType({})
        self._task: asyncio.Task[None] | None = None
        self._rounds = 0
        self._wanted = asyncio.Event()
        self._declared = False
        lottery.refuses = self._refuses
        self.on_share: Callable[[], None] = lambda: None
        """Called when another share is obeyed: whoever was indexed before may be drawn now."""
        self.failing = ""
        """Why the last round failed; empty while all is well."""

    def before(self) -> Mapping[str, Before]:
        """What answered before each release that is in force."""
        return self._before

    async def start(self) -> None:
        """Say in the ledger what holds from now on, and begin."""
        await self.reload()
        await self.round()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def _refuses(self, project: str, key: str) -> bool:
        intent = self._intents.value.of(project, key)
        return intent is not None and refuses(intent.declared)

    async def stop(self) -> None:
        """Write what is left, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(OstinatoError):
            await self._write()

    async def reload(self) -> None:
        """Read which releases there were before."""
        if self._lottery.has_baseline:
            self._before = MappingProxyType(await self._control.read(baselines.load))

    def hear(self) -> None:
        """Prompts or intents have changed: look soon. Returns at once."""
        self._wanted.set()

    async def round(self) -> None:
        """One look at everything; what fails is tried again in the next."""
        try:
            await self._rule()
            await self._write()
            await self._purses()
            await self._days()
        except OstinatoError as error:
            if not self.failing:
                _log.warning("The hold-out cannot be kept up: %s", error.sentence)
            self.failing = error.message
        else:
            self.failing = ""

    async def _run(self) -> None:
        while True:
            waiting = asyncio.ensure_future(self._clock.sleep(self._settings.refresh_seconds))
            wanted = asyncio.ensure_future(self._wanted.wait())
            try:
                await asyncio.wait((waiting, wanted), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                wanted.cancel()
            if self._wanted.is_set():
                self._wanted.clear()
                with contextlib.suppress(OstinatoError):
                    await self.reload()
            await self.round()

    async def _declare(self) -> None:
        """Declare the share that this process is configured with: from now on every process obeys it."""
        share, now = self._settings.holdout_share, self._clock.now()

        def work(connection: sa.Connection) -> None:
            if _last(connection) != share:
                connection.execute(tables.rule.insert().values(at=now, share=share))

        await self._traces.run(work)
        self._declared = True

    async def _rule(self) -> None:
        """Obey the share that was declared last: two that hold out different shares would measure neither."""
        if not self._declared:
            await self._declare()
        share = await self._traces.read(_last)
        if share is None or share == self._lottery.share:
            return
        self._lottery.obey(share, self._clock.now())
        self.on_share()
        if share == self._settings.holdout_share:
            return  # it had obeyed another one for a while
        _log.warning(
            "%g of the sessions are held out, as another process has declared since; [savings] holdout_share = %g of "
            "this one is not obeyed until it is started anew.",
            share,
            self._settings.holdout_share,
        )

    async def _write(self) -> None:
        touches = self._limits.touches()
        if not touches:
            return
        rows = [{name: getattr(one, name) for name in one.__struct_fields__} for one in touches]
        try:
            await self._traces.run(lambda connection: connection.execute(tables.touch.insert(), rows))
        except BaseException:
            self._limits.put_back(touches)
            raise

    async def _purses(self) -> None:
        """Which of the purses that were drawn on lately are nearly empty."""
        lottery = self._lottery
        lottery.forget(self._clock.now())
        self._rounds += 1
        if self._rounds % _FORGET_EVERY == 0:
            lottery.accounts.clear()
            await self._forget()
        short: set[str] = set()
        for account in list(lottery.accounts.values()):
            state = await self._state(account)
            if state.left < state.limit * self._settings.spare:
                short.add(account.id)
        lottery.short = frozenset(short)

    async def _forget(self) -> None:
        """Drop what no window reaches back to any more; the last rules stay."""
        old = self._clock.now() - _KEPT

        def work(connection: sa.Connection) -> None:
            connection.execute(tables.touch.delete().where(tables.touch.c.hour < old))

        await self._traces.run(work)

    async def _days(self) -> None:
        """Which intents are over their budget of today."""
        limited = [one for one in self._intents.value.all if one.declared.budgets.daily]
        if not limited:
            self._limits.over_now = MappingProxyType({})
            return
        now = self._clock.now()
        keys = {one.key for one in limited}
        today = await self._traces.read(lambda connection: _today(connection, keys, now - now % _DAY))
        over: dict[tuple[str, str], str] = {}
        for (project, key), spent in today.items():
            intent = self._intents.value.of(project, key)
            why = "" if intent is None else budgets.judged(intent.declared.budgets, spent)
            if why:
                over[project, key] = why
        self._limits.over_now = MappingProxyType(over)


def _last(connection: sa.Connection) -> float | None:
    """The share that was declared last."""
    found = connection.execute(sa.select(tables.rule.c.share).order_by(tables.rule.c.seq.desc()).limit(1)).scalar()
    return None if found is None else float(found)


def refuses(declared: Declaration) -> bool:
    """Whether an intent takes no part in the hold-out: it says so, or people look at its answers first."""
    return declared.cache.holdout is False or bool(declared.review.hold)


def _today(connection: sa.Connection, keys: set[str], since: int) -> dict[tuple[str, str], Today]:
    """What the intents of these keys have spent since midnight: from the buckets of a day, one row each."""
    table = ledger.rollup
    tokens = table.c.input + table.c.cache_read + table.c.cache_write + table.c.output + table.c.reasoning
    query = (
        sa.select(table.c.project, table.c.intent, sa.func.sum(tokens), sa.func.sum(table.c.cost))
        .where(table.c.grain == 86_400, table.c.bucket == since, table.c.intent.in_(sorted(keys)))
        .group_by(table.c.project, table.c.intent)
    )
    return {(row[0], row[1]): Today(int(row[2]), int(row[3])) for row in connection.execute(query)}
