"""Leaves stand with their change, or not at all."""

import json

import pytest
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.audit import tables, tree
from ostinato.core.clock import ManualClock


def deed(**fields: object) -> audit.Deed:
    return audit.Deed(**{"actor": "key:1", "action": "prompts:write", "resource": "prompt:p/a", **fields})


@pytest.fixture
def log(control: storage.Database, clock: ManualClock) -> audit.Log:
    return audit.Log(control, clock, secret=b"s" * 32)


def test_the_tables_are_those_of_the_migration(control: storage.Database, schema_drift):
    assert schema_drift(control, tables.metadata) == []


async def test_leaves_are_numbered_and_hang_in_the_tree(control: storage.Database, log: audit.Log):
    indexes = [await log.record(deed(facts={"version": n})) for n in range(9)]
    assert indexes == list(range(9))
    bodies = control.query(lambda c: c.scalars(sa.select(tables.leaf.c.body).order_by(tables.leaf.c.seq)).all())
    assert [json.loads(body)["facts"]["version"] for body in bodies] == indexes
    head = control.query(lambda c: c.execute(sa.select(tables.head)).one())
    assert head.size == 9
    frontier: list[bytes] = []
    for index, body in enumerate(bodies):
        tree.grow(index, frontier, tree.leaf_hash(body.encode()))
    assert tree.unpack(head.frontier) == frontier
