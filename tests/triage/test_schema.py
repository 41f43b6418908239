"""What the revisions make is what the tables declare, on both engines."""

from collections.abc import Callable

from ostinato import storage
from ostinato.families import tables as families
from ostinato.triage import tables


def test_decisions_and_inventory(control: storage.Database, schema_drift: Callable[..., list[object]]) -> None:
    assert schema_drift(control, tables.metadata) == []


def test_families(traces: storage.Database, schema_drift: Callable[..., list[object]]) -> None:
    assert schema_drift(traces, families.metadata) == []
