"""The pages of savings over the ledger that ``kpi_pages`` fills: one function per page, for a project or all of it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from ostinato import releases, savings, storage, traces
from ostinato.core.clock import Clock
from ostinato.intents.model import Budgets
from ostinato.traces import Filter, Window
from ostinato.wire.model import Usage

DAY = 86_400_000_000
RELEASES = 3
"""``r0`` was before ``r1``, that before ``r2``; each answers a prompt of its own beside the others."""
SHARE = 0.01

Page = Callable[[Window], Awaitable[Any]]


def lottery() -> savings.Lottery:
    """Who is held out, so that the writer adds up both sides."""
    return savings.Lottery(savings.Settings(holdout_share=SHARE), b"s" * 32)


def usage(number: int) -> Usage:
    """A quarter of what is read comes from the provider's prefix cache."""
    return Usage(300 - number % 3, 100, 0, 120, 0)


def pages(place: Path, database: storage.Database, ledger: traces.Ledger, clock: Clock) -> dict[str, Page]:
    """Every page of money, by name."""
    control, work = (storage.open_database(name, place / f"{name}.db") for name in ("control", "work"))
    for one in (control, work):
        storage.migrate(one)
    began = clock.now() - 20 * DAY
    control.transact(lambda connection: [connection.execute(_release(number, began)) for number in (1, 2)])
    database.transact(lambda c: c.execute(savings_rule().insert().values(at=clock.now() - 30 * DAY, share=SHARE)))
    budgets = [_limited(f"i{number}") for number in range(8)]
    room = savings.Savings(
        control=control,
        traces=database,
        work=work,
        clock=clock,
        ledger=ledger,
        prices=_held(traces.PriceBook.load()),
        intents=_held(SimpleNamespace(all=budgets)),
        costs=savings.Costs(control, clock, _held(None)),
        embedding=lambda _project: ("vectors",),
        catch_up=lambda: None,
        settings=savings.Settings(),
    )
    ours, all_of_it = Filter(org="o", project="p"), Filter(org="o")
    found: dict[str, Page] = {}
    for who, filters in (("a project", ours), ("the organization", all_of_it)):
        found[f"savings, 30 days, {who}"] = lambda window, f=filters: room.accounted(window, f)
        found[f"hold-out, 30 days, {who}"] = lambda window, f=filters: room.holdout(window, f)
        found[f"return on investment, 30 days, {who}"] = lambda window, f=filters: room.roi(window, f)
        found[f"traffic, 30 days, {who}"] = lambda window, f=filters: ledger.traffic(window, f)
        found[f"stats, 30 days, {who}"] = lambda window, f=filters: ledger.stats(window, f)
    found["budgets, 30 days, a project"] = lambda window: room.budgets(window, ours)
    return found


def savings_rule() -> sa.Table:
    """Which share was held out."""
    from ostinato.savings import tables  # noqa: PLC0415 - of this room's own

    return tables.rule


def _limited(key: str) -> Any:
    declared = SimpleNamespace(budgets=Budgets(latency_ms=1_000))
    return SimpleNamespace(key=key, project="p", declared=declared)


def _held(value: Any) -> Any:
    return SimpleNamespace(value=value)


def _release(number: int, began: int) -> sa.Insert:
    """A release of every prompt at once would be many; this is one of the first."""
    table = releases.tables.release
    row: dict[str, Any] = {
        "id": f"r{number}",
        "org": "o",
        "project": "p",
        "prompt": "n0",
        "number": number + 1,
        "base_number": number,
        "base_release": f"r{number - 1}",
        "state": "active" if number == RELEASES - 1 else "superseded",
        "started_at": began,
    }
    blank: dict[type, Any] = {int: 0, str: "", float: 0.0, bool: False}
    for column in table.columns:
        if column.name not in row and not column.nullable:
            try:
                row[column.name] = blank[column.type.python_type]
            except (NotImplementedError, KeyError):
                row[column.name] = {}
    return table.insert().values(**row)
