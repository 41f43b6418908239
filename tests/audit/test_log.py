"""Leaves stand with their change, or not at all; what may be personal is never in them, and can be erased."""

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato import audit, storage, verify
from ostinato.audit import tables, tree
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Invalid, NotFound, Unavailable

SECRET = b"s" * 32


def deed(**fields: Any) -> audit.Deed:
    return audit.Deed(**{"actor": "key:1", "action": "prompts:write", "resource": "prompt:p/a", **fields})


@pytest.fixture
def log(control: storage.Database, clock: ManualClock) -> audit.Log:
    return audit.Log(control, clock, secret=SECRET)


def bodies(database: storage.Database) -> list[str]:
    chosen = sa.select(tables.leaf.c.body).order_by(tables.leaf.c.seq)
    return database.query(lambda c: list(c.scalars(chosen)))


def rebuilt(database: storage.Database) -> bytes:
    """The root, from the bodies alone."""
    seen = verify.Tree()
    for body in bodies(database):
        seen.add(verify.leaf_hash(body.encode()))
    return seen.root()


def head(database: storage.Database) -> tuple[int, bytes]:
    row = database.query(lambda c: c.execute(sa.select(tables.head)).one())
    return row.size, tree.root(tree.unpack(row.frontier))


def test_the_tables_are_those_of_the_migration(control: storage.Database, schema_drift: Any):
    assert schema_drift(control, tables.metadata) == []


async def test_leaves_are_numbered_and_hang_in_the_tree(control: storage.Database, log: audit.Log):
    indexes = [await log.record(deed(facts={"version": n})) for n in range(9)]
    assert indexes == list(range(9))
    assert [json.loads(body)["facts"]["version"] for body in bodies(control)] == indexes
    assert head(control) == (9, rebuilt(control))


async def test_a_leaf_stands_with_its_change_or_not_at_all(control: storage.Database, log: audit.Log):
    def change(connection: sa.Connection) -> None:
        log.append(connection, deed())
        raise Conflict("The change failed afterwards.")

    await log.record(deed())
    before = head(control)
    with pytest.raises(Conflict):
        await control.run(change)
    assert head(control) == before and len(bodies(control)) == 1
    assert await log.record(deed()) == 1
    assert head(control) == (2, rebuilt(control))


async def test_where_the_leaf_cannot_be_written_there_is_no_change(
    control: storage.Database, clock: ManualClock, log: audit.Log, monkeypatch: pytest.MonkeyPatch
):
    declarations = storage.Declarations(control, clock, on_change=audit.follow(log))
    await declarations.put("policies", "kept", {"ttl": 1}, "key:1")

    def failing(*_: Any) -> Any:
        raise Unavailable("No leaf.")

    monkeypatch.setattr("ostinato.audit.tree.grow", failing)
    for change in (
        declarations.put("policies", "kept", {"ttl": 2}, "key:1"),
        declarations.put("policies", "new", {"ttl": 2}, "key:1"),
        declarations.remove("policies", "kept", "key:1"),
        declarations.apply("policies", {"other": {}}, "config"),
    ):
        with pytest.raises(Unavailable):
            await change
    assert await declarations.load("policies") == {"kept": {"ttl": 1}}
    assert len(bodies(control)) == 1


async def test_many_at_once_have_no_gap_and_no_twin(control: storage.Database, database_url: str, clock: ManualClock):
    """Four processes, each with writers of its own."""
    databases = [storage.open_database("control", database_url, readers=2) for _ in range(4)]
    if control.dialect == "sqlite":
        databases, extra = databases[:1], databases[1:]
        for one in extra:
            one.close()
    logs = [audit.Log(one, clock, secret=SECRET) for one in databases]
    try:
        given = await asyncio.gather(
            *(
                log.record(deed(actor=f"key:{number % 5}", reason="concurrently"))
                for number in range(30)
                for log in logs
            )
        )
    finally:
        for one in databases:
            one.close()
    assert sorted(given) == list(range(len(given)))
    assert head(control) == (len(given), rebuilt(control))
    keys = control.query(lambda c: c.scalar(sa.select(sa.func.count()).select_from(tables.subject_key)))
    assert keys == 5


async def test_the_occasion_goes_along(control: storage.Database, clock: ManualClock, log: audit.Log):
    declarations = storage.Declarations(control, clock, on_change=audit.follow(log))
    audit.set_occasion(audit.Occasion("r-1", "because", "principal:7", "acme", {"breakglass": "g"}))
    try:
        await log.record(deed())
        await declarations.put("models", "m", {"targets": []}, "key:1")
    finally:
        audit.set_occasion(audit.Occasion())
    for entry in await log.page(audit.Filter(request_id="r-1")):
        leaf = entry.leaf
        assert (leaf.request_id, leaf.principal, leaf.org) == ("r-1", "principal:7", "acme")
        assert entry.reason == "because" and leaf.facts["breakglass"] == "g"
    assert [one.leaf.action for one in await log.page(audit.Filter(org="acme"))] == ["models:write", "prompts:write"]
    assert audit.occasion() == audit.Occasion()


async def test_every_change_of_a_declaration_is_one_leaf(control: storage.Database, clock: ManualClock, log: audit.Log):
    declarations = storage.Declarations(control, clock, on_change=audit.follow(log))
    await declarations.apply("policies", {"a": {"ttl": 1}, "b": {"ttl": 1, "project": "p"}}, "config")
    await declarations.apply("policies", {"a": {"ttl": 2}}, "config")
    await declarations.apply("policies", {"a": {"ttl": 2}}, "config")  # nothing changes
    await declarations.put("rules", "r", {"kind": "pii"}, "key:9")
    await declarations.remove("rules", "r", "key:9")
    await declarations.put("installation", "secret", "c0ffee", "system")  # no setting, but a secret
    found = [one.leaf for one in reversed(await log.page(audit.Filter()))]
    assert [(one.action, one.resource, one.actor, one.facts["change"]) for one in found] == [
        ("policies:write", "policy:a", "system:config", "put"),
        ("policies:write", "policy:b", "system:config", "put"),
        ("policies:write", "policy:a", "system:config", "put"),
        ("policies:write", "policy:b", "system:config", "remove"),
        ("rules:write", "rule:r", "key:9", "put"),
        ("rules:write", "rule:r", "key:9", "remove"),
    ]
    assert found[1].project == "p" and not found[0].before and found[2].before and not found[3].after


CANARY = "canary-4711@example.org"


async def test_texts_are_not_in_the_leaves(control: storage.Database, log: audit.Log):
    """S9: seeded in every field that may hold a text, found in none of what is hashed or exported."""
    await log.open()
    await log.record(deed(before={"a": CANARY}, after=[CANARY], reason=f"for {CANARY}", principal="principal:1"))
    audit.set_occasion(audit.Occasion(reason=CANARY))
    await log.record(deed())
    audit.set_occasion(audit.Occasion())
    assert not any(CANARY in body for body in bodies(control))
    exported = b"".join([chunk async for chunk in await log.export()])
    assert CANARY.encode() not in exported
    assert CANARY not in repr(control.query(lambda c: c.execute(sa.select(tables.leaf)).all()))
    # Beside the leaves the reason is kept, for auditors.
    assert CANARY in (await log.show(1)).reason


async def test_commitments_can_be_opened_until_they_are_erased(control: storage.Database, log: audit.Log):
    await log.open()
    for _ in range(2):
        await log.record(deed(principal="principal:1", after={"b": 1, "a": "ä"}, reason="why"))
    await log.record(deed(principal="principal:2", reason="other"))
    first, second = (await log.show(1)).leaf, (await log.show(2)).leaf
    assert first.after != second.after, "equal texts must not show as equal"

    def opens(index: int, field: str, value: bytes) -> Any:
        return control.query(lambda c: log.commits_to(c, index, field, value))

    assert opens(1, "after", b'{"a":"\xc3\xa4","b":1}') is True
    assert opens(1, "reason", b"why") is True and opens(1, "reason", b"why not") is False
    assert opens(1, "before", b"null") is None
    before = await log.checkpoint()
    assert before is not None
    eraser = deed(actor="key:dpo", action="audit:erase", resource="subject")
    index = await control.run(lambda c: log.erase_subject(c, "principal:1", eraser))
    assert opens(1, "after", b'{"a":"\xc3\xa4","b":1}') is None
    assert [(await log.show(number)).reason for number in (1, 2, 3)] == ["", "", "other"]
    assert opens(3, "reason", b"other") is True
    entry = (await log.show(index)).leaf
    assert entry.action == "audit:erase" and entry.facts == {"keys": 1, "texts": 2}
    assert "principal:1" not in bodies(control)[index]
    # Leaves, proofs and checkpoints stand as they did.
    after = await log.checkpoint()
    assert after is not None and head(control)[1] == rebuilt(control)
    proof = await log.consistency(before.size, after.size)
    assert verify.consistency_holds(
        before.size,
        after.size,
        bytes.fromhex(before.root),
        bytes.fromhex(after.root),
        [bytes.fromhex(one) for one in proof.path],
    )
    with pytest.raises(NotFound):
        await control.run(lambda c: log.erase_subject(c, "principal:1", eraser))
    # Who comes back gets a new key.
    again = await log.record(deed(principal="principal:1", reason="back"))
    assert opens(again, "reason", b"back") is True and opens(1, "reason", b"why") is None


async def test_a_lost_secret_closes_commitments_and_stops_nothing(
    control: storage.Database, clock: ManualClock, log: audit.Log
):
    await log.record(deed(reason="why"))
    other = audit.Log(control, clock, secret=b"another")
    assert control.query(lambda c: other.commits_to(c, 0, "reason", b"why")) is None
    await other.record(deed(reason="again"))
    assert control.query(lambda c: other.commits_to(c, 1, "reason", b"again")) is True


async def test_keys_do_not_lie_in_the_database_in_clear(control: storage.Database, log: audit.Log):
    await log.record(deed(reason="why"))
    await log.open()
    for table in (tables.subject_key, tables.signer):
        wrapped = control.query(lambda c, t=table: c.scalar(sa.select(t.c.wrapped)))
        assert wrapped is not None and len(wrapped) == 12 + 32 + 16


async def test_bounds(control: storage.Database, log: audit.Log):
    with pytest.raises(Invalid) as caught:
        await log.record(deed(reason="x" * 4001))
    assert caught.value.code == "reason_too_long"
    with pytest.raises(Invalid):
        await log.record(deed(facts={str(number): number for number in range(65)}))
    assert bodies(control) == []


ANY_TEXT = st.text(max_size=700) | st.sampled_from(["\x00", "\ud800", "a\x00b", "\u2028", '"\\'])


@given(texts=st.lists(ANY_TEXT, min_size=5, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_tried_can_be_written_down(control: storage.Database, log: audit.Log, texts: list[str]):
    actor, action, resource, request_id, fact = texts
    wanted = deed(actor=actor, action=action, resource=resource, facts={fact[:50]: fact}, outcome="denied")
    index = control.transact(lambda c: log.append(c, wanted, audit.Occasion(request_id)))
    body = bodies(control)[index]
    assert json.loads(body)["index"] == index
    assert head(control)[0] == index + 1
