"""What is asked of the whole installation again and again finds its rows by an index, however many rows there are."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.reviews import erasing
from ostinato.reviews import store as items
from ostinato.reviews import tables as reviews
from ostinato.savings import accounting
from ostinato.signals import Signals
from ostinato.traces import Filter, Window
from ostinato.triage import store as triage
from ostinato.triage import tables as decisions

WINDOW = Window(since=1, until=2)
QUERIES: dict[str, Callable[[sa.Connection], Any]] = {
    "decisions that wait": triage.waiting,
    "decisions of a project that wait": lambda connection: triage.waiting(connection, "p"),
    "time that people spent": lambda connection: accounting.reviewing(connection, WINDOW, Filter(org="o")),
    "who spent time": lambda connection: accounting.reviewing_organizations(connection, WINDOW),
    "time by bucket": lambda connection: accounting.reviewed(connection, WINDOW, Filter(org="o"), 1),
    "texts that are old": lambda connection: erasing.old(connection, 5, 10),
    "texts nobody looks at": lambda connection: erasing.unseen(connection, 5, 10),
    "what is to be carried out": lambda connection: items.pending(connection, 10),
}
_OF = ("triage_decision", "review_verdict", "review_item")


@pytest.fixture
def control(tmp_path: Path) -> Any:
    database = storage.open_database("control", tmp_path / "control.db")
    storage.migrate(database)
    yield database
    database.close()


@pytest.mark.parametrize("name", QUERIES)
def test_nothing_reads_the_whole_table(control: storage.Database, name: str) -> None:
    def plans(connection: sa.Connection) -> list[str]:
        said: list[tuple[str, Any]] = []
        sa.event.listen(
            connection, "before_cursor_execute", lambda _c, _cursor, text, values, *_: said.append((text, values))
        )
        QUERIES[name](connection)
        found: list[str] = []
        for text, values in list(said):
            found += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
        return found

    steps = control.query(plans)
    named = {*_OF, "i", "v"}
    assert [step for step in steps if step.startswith("SEARCH")], steps
    assert not [step for step in steps if step.startswith("SCAN") and step.split()[1] in named], steps


def test_indexes_come_to_a_database_that_has_rows_and_go_again(
    database_url: str, schema_drift: Callable[..., list[object]]
) -> None:
    database = storage.open_database("control", database_url)
    storage.migrate(database)
    try:
        storage.downgrade(database, "0023_case_keys")
        for metadata in (decisions.metadata, reviews.metadata):
            assert schema_drift(database, metadata), "without them something is missed"
        row = {column.name: _some(column) for column in reviews.queue.columns}
        database.transact(lambda connection: connection.execute(reviews.queue.insert(), row) and None)
        storage.migrate(database)
        for metadata in (decisions.metadata, reviews.metadata):
            assert schema_drift(database, metadata) == []
        assert database.query(lambda c: c.scalar(sa.select(sa.func.count()).select_from(reviews.queue))) == 1
    finally:
        database.close()


def _some(column: sa.Column[Any]) -> Any:
    if column.name == "declared":
        return {}
    return 1 if column.type.python_type is int else "a" * 32


def test_the_newest_values_of_a_project_are_read_without_sorting_all(tmp_path: Path) -> None:
    database = storage.open_database("traces", tmp_path / "traces.db")
    storage.migrate(database)
    plans: list[str] = []

    def told(connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        if text.startswith("SELECT signal"):
            plans.extend(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values))

    engine = database._reader
    sa.event.listen(engine, "before_cursor_execute", told)
    try:
        asyncio.run(Signals(database, ManualClock()).values("p", 5, 10))
    finally:
        database.close()
    assert plans and "ix_signal_project_at" in plans[0]
    assert not [step for step in plans if "TEMP B-TREE" in step], plans
