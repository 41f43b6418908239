"""The durable side of money budgets: what each process holds of each purse, per period.

One rule keeps it exact: a process never says "add" or "subtract", it declares *how much it holds in total*, numbered by
a step that only grows. So a write whose outcome is unknown (a connection lost at the commit) can be declared again,
and one that arrives late changes nothing. The row of the period is locked first, so processes take turns.
"""

from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ostinato.access import tables
from ostinato.access.model import MoneyBudget


class Period(msgspec.Struct, frozen=True, gc=False):
    """A stretch of the UTC calendar that a budget counts in. Bounds in UTC microseconds."""

    id: str
    starts: int
    ends: int | None
    """``None``: never."""


class Holding(msgspec.Struct, frozen=True, gc=False):
    """What a process declares to hold of a purse in a period. Nano-dollars."""

    account: str
    period: str
    holder: str
    step: int
    total: int
    """All it was granted and did not return, spent or not."""
    spent: int


class Granted(msgspec.Struct, frozen=True, gc=False):
    """The answer to a wish for more."""

    total: int
    """What the process holds now."""
    left: int
    """What nobody holds: may be negative after a forced grant."""


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a purse stands, for people. Nano-dollars; ``spent`` lags by a few seconds."""

    account: str
    limit: int
    period: str
    spent: int
    held: int
    """Reserved by calls in flight, kept ready by processes, or forfeited by processes that crashed."""
    left: int
    resets_at: int | None


def period_of(kind: str, now: int) -> Period:
    """The period of ``kind`` (``day``, ``month``, ``total``) that ``now`` (UTC microseconds) lies in."""
    if kind == "total":
        return Period("total", 0, None)
    moment = datetime.fromtimestamp(now // 1_000_000, UTC)
    if kind == "day":
        starts = now - now % 86_400_000_000
        return Period(f"{moment:%Y-%m-%d}", starts, starts + 86_400_000_000)
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return Period(f"{moment:%Y-%m}", int(first.timestamp()) * 1_000_000, int(following.timestamp()) * 1_000_000)


def take(
    connection: sa.Connection, holding: Holding, *, limit: int, free: int, needs: list[int], slice_size: int, now: int
) -> Granted:
    """Grant more of a purse to a process that declares ``holding`` and has ``free`` of it left.

    ``needs``: what calls are waiting for; as many as can be are served, small ones first, and nothing is taken for one
    that cannot be. ``slice_size``: how much the process would like to have ready, as long as three quarters of the
    rest stay for others. A negative ``free`` was spent already and is written down even beyond the ``limit``.
    """
    leased, held = _lock(connection, holding, now)
    left = limit - (leased - held + holding.total)
    amount = _amount(left, free, sorted(needs), slice_size)
    _declare(connection, holding, held=held, total=holding.total + amount, leased=leased, now=now)
    return Granted(holding.total + amount, left - amount)


def _amount(left: int, free: int, needs: list[int], slice_size: int) -> int:
    """How much of ``left`` to grant; ``needs`` in rising order."""
    total, served = -free, 0
    for need in needs:
        if total + need > left:
            break
        total += need
        served += 1
    spare = 0 if needs and not served else min(slice_size, left // 4)
    return max(total, spare, 0)


def declare(connection: sa.Connection, holdings: list[Holding], now: int) -> None:
    """Write down what a process holds; whatever it held beyond that is everybody's again."""
    for holding in sorted(holdings, key=lambda h: (h.account, h.period)):  # one order for all: no deadlocks
        leased, held = _lock(connection, holding, now)
        _declare(connection, holding, held=held, total=holding.total, leased=leased, now=now)


def state(connection: sa.Connection, account: str, budget: MoneyBudget, now: int) -> BudgetState:
    """Where a purse stands in the present period."""
    period = period_of(budget.period, now)
    whole, lease = tables.budget_period, tables.budget_lease
    leased = connection.execute(
        sa.select(whole.c.leased).where(whole.c.account == account, whole.c.period == period.id)
    ).scalar()
    spent = connection.execute(
        sa.select(sa.func.sum(lease.c.spent)).where(lease.c.account == account, lease.c.period == period.id)
    ).scalar()
    taken, used = int(leased or 0), int(spent or 0)
    return BudgetState(
        account=account,
        limit=budget.nano,
        period=period.id,
        spent=used,
        held=taken - used,
        left=max(0, budget.nano - taken),
        resets_at=period.ends,
    )


def _lock(connection: sa.Connection, holding: Holding, now: int) -> tuple[int, int]:
    """Lock the period's row (made if missing); gives what all processes hold, and what this one held until now."""
    table = tables.budget_period
    mine = sa.and_(table.c.account == holding.account, table.c.period == holding.period)
    touch = table.update().where(mine).values(updated_at=now)
    if connection.execute(touch).rowcount == 0:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        fresh = insert(table).values(account=holding.account, period=holding.period, leased=0, updated_at=now)
        connection.execute(fresh.on_conflict_do_nothing())
        connection.execute(touch)
    leased = connection.execute(sa.select(table.c.leased).where(mine)).scalar_one()
    lease = tables.budget_lease
    row = connection.execute(sa.select(lease.c.granted, lease.c.step).where(_row(holding))).first()
    if row is None:
        connection.execute(
            lease.insert().values(
                account=holding.account,
                period=holding.period,
                holder=holding.holder,
                granted=0,
                spent=0,
                step=holding.step - 1,
                updated_at=now,
            )
        )
        return leased, 0
    if row.step >= holding.step:
        raise Late
    return leased, row.granted


def _declare(connection: sa.Connection, holding: Holding, *, held: int, total: int, leased: int, now: int) -> None:
    lease, whole = tables.budget_lease, tables.budget_period
    connection.execute(
        lease.update()
        .where(_row(holding))
        .values(granted=total, spent=holding.spent, step=holding.step, updated_at=now)
    )
    if total != held:
        connection.execute(
            whole.update()
            .where(whole.c.account == holding.account, whole.c.period == holding.period)
            .values(leased=leased - held + total)
        )


def _row(holding: Holding) -> sa.ColumnElement[bool]:
    lease = tables.budget_lease
    return sa.and_(
        lease.c.account == holding.account, lease.c.period == holding.period, lease.c.holder == holding.holder
    )


class Late(Exception):
    """This write was overtaken by a later one of the same process; nothing was changed. Nobody waits for its answer."""
