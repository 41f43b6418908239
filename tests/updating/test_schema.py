"""What the revision makes is what the table declares, on both engines."""

from collections.abc import Callable

from ostinato import storage
from ostinato.updating import tables


def test_updates(control: storage.Database, schema_drift: Callable[..., list[object]]) -> None:
    assert schema_drift(control, tables.metadata) == []
