"""Migrations make the tables that are declared, on both engines."""

from ostinato.scorers import tables


def test_migrations_make_what_is_declared(control, schema_drift):
    assert schema_drift(control, tables.metadata) == []
