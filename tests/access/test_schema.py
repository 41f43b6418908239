"""What the revision makes is what the room declares."""

from ostinato import storage
from ostinato.access import tables


def test_the_revision_makes_what_the_tables_declare(control, schema_drift):
    assert schema_drift(control, tables.metadata) == []


def test_the_revision_can_be_taken_back(control):
    assert storage.downgrade(control, "0001_storage") == "0001_storage"
    storage.migrate(control)
