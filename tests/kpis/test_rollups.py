"""What pages are read from: made for an older ledger, the same as its own rollup, and removed with it."""

import sqlalchemy as sa

from ostinato import storage
from ostinato.traces import Filter, Window, tables
from ostinato.traces.conversations import sweep
from ostinato.traces.cubes import TRAFFIC
from ostinato.traces.journal import Journal


async def test_the_narrow_rollup_adds_up_to_the_wide_one(house) -> None:
    for number in range(40):
        first = house.call(f"q{number}", key_id=f"k{number % 5}", alias=f"a{number % 3}", release=f"r{number % 2}")
        house.hit(first, key_id=f"k{number % 4}")
        house.clock.advance(700)
    stats = await house.ledger.stats(house.window, Filter(org="acme", project="support"))
    equal = {"org": "acme", "project": "support"}
    covered, cells = await house.ledger.cells(TRAFFIC, house.window, equal)
    assert covered == stats.window
    (cell,) = cells.values()
    assert (cell["requests"], cell["misses"], cell["cost"]) == (stats.requests, stats.misses, stats.cost)
    assert sum(cell.detail.hit.values()) == stats.latency["hit"].count == 40
    rows = house.database.query(
        lambda c: c.exec_driver_sql("SELECT count(*) FROM traffic WHERE grain = 86400").scalar()
    )
    wide = house.database.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM rollup WHERE grain = 86400").scalar())
    assert rows < wide


async def test_a_ledger_that_is_older_gets_its_figures(house, traces: storage.Database) -> None:
    """The revision adds up the rollup that stands, without its keys, aliases and targets."""
    for number in range(12):
        house.hit(house.call(f"q{number}", key_id=f"k{number % 5}", alias=f"a{number % 3}"))
        house.clock.advance(1_000)
    house.recorder.flush()
    table = tables.traffic
    query = sa.select(*(column for column in table.columns if column.name != "detail")).order_by(*table.primary_key)
    before = traces.query(lambda c: [tuple(row) for row in c.execute(query)])
    detail = traces.query(lambda c: c.execute(sa.select(table.c.detail).order_by(*table.primary_key)).scalars().all())
    storage.downgrade(traces, "0004_family")
    storage.migrate(traces)
    assert traces.query(lambda c: [tuple(row) for row in c.execute(query)]) == before
    after = traces.query(lambda c: c.execute(sa.select(table.c.detail).order_by(*table.primary_key)).scalars().all())
    zero = [0] * len(tables.SUMS)
    assert [TRAFFIC.cell(zero, bytes(one)) for one in after] == [TRAFFIC.cell(zero, bytes(one)) for one in detail]


async def test_fine_buckets_go_and_the_figures_stay(house) -> None:
    first = house.call()
    house.tell(first, "resolved")
    house.clock.advance(40 * 86_400)
    window = Window(house.clock.now() - 41 * 86_400 * 1_000_000, house.clock.now())
    journal: Journal = house.recorder._journal
    journal.prune()
    for table in (tables.traffic, tables.interaction, tables.signal_rollup):
        grains = house.database.query(lambda c, t=table: set(c.execute(sa.select(t.c.grain).distinct()).scalars()))
        assert grains == {3_600, 86_400}, table.name
    page = await house.kpis.figures(house.scope, window, names=["resolution_rate"])
    assert page.figures[0].value == 1.0


async def test_conversations_that_are_over_are_swept(house) -> None:
    house.call("a", session="old")
    house.recorder.flush()
    house.clock.advance(86_400)
    house.call("a", session="new")
    house.recorder.flush()
    removed = house.database.transact(lambda c: sweep(c, house.clock.now() - 3_600_000_000))
    assert removed == 1
    assert await house.ledger.conversation("support", "old") is None
    assert await house.ledger.conversation("support", "new") is not None


def test_a_row_that_cannot_be_added_up_costs_no_other(house) -> None:
    house.call("good", session="s")
    house.call("bad", session=7)
    house.call("worse", at="now")
    house.call("odd", fingerprint="a:b,c", session="s2")
    house.call("fine")
    house.recorder.flush()
    counted = sa.select(sa.func.sum(tables.interaction.c.interactions)).where(tables.interaction.c.grain == 86_400)
    assert house.database.query(lambda c: c.execute(counted).scalar()) == 3
    assert not house.recorder.failing
