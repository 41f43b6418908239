"""Signed statements about the log: made from what is committed, never one that contradicts the last; proofs of both."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from ostinato import audit, storage, verify
from ostinato.audit import tables
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Invalid, NotFound, Unavailable

DEED = audit.Deed(actor="key:1", action="prompts:write", resource="prompt:p/a")


@pytest.fixture
async def log(control: storage.Database, clock: ManualClock) -> audit.Log:
    made = audit.Log(control, clock, secret=b"s" * 32)
    await made.open()
    return made


async def filled(log: audit.Log, count: int) -> audit.Checkpoint:
    for _ in range(count):
        await log.record(DEED)
    made = await log.checkpoint()
    assert made is not None
    return made


def nodes(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in path]


async def test_a_checkpoint_is_a_signed_note(log: audit.Log):
    made = await filled(log, 3)
    note = verify.read_note(made.note)
    key = verify.Verifier.read((await log.verifiers())[0])
    assert key.vouches(note) and not key.vouches(note._replace(text=note.text + b"x"))
    assert (note.origin, note.size, note.root.hex()) == (log.signer.name, 4, made.root)
    assert made.note.splitlines()[:2] == [log.signer.name, "4"]
    assert made.note.splitlines()[4].startswith(f"\u2014 {log.signer.name} ")
    assert await log.checkpoint() == made, "nothing new: the same one"
    # The key is told in a leaf, so a new one cannot be slipped in.
    assert (await log.show(0)).leaf.facts == {"key": log.signer.verifier}


async def test_proofs_are_right_for_every_leaf_and_size(log: audit.Log):
    signed = [await filled(log, 1) for _ in range(20)]
    for old in signed:
        proof = await log.consistency(old.size, signed[-1].size)
        arguments = (bytes.fromhex(old.root), bytes.fromhex(signed[-1].root), nodes(proof.path))
        assert verify.consistency_holds(old.size, signed[-1].size, *arguments)
    for index in range(signed[-1].size):
        shown = await log.prove(index, signed[-1].size)
        hashes = (bytes.fromhex(shown.leaf_hash), nodes(shown.path), bytes.fromhex(signed[-1].root))
        assert verify.inclusion_holds(index, shown.size, *hashes)
        first = await log.prove(index)
        assert verify.read_note(first.checkpoint).size == first.size >= index + 1
    await log.record(DEED)
    assert (await log.prove(signed[-1].size)).checkpoint == ""


async def test_what_cannot_be_proven_is_refused(log: audit.Log):
    made = await filled(log, 3)
    for call in (log.prove(4), log.prove(-1), log.prove(0, 99), log.consistency(0, 99)):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(Invalid):
        await log.consistency(made.size, 1)


async def test_an_empty_log_is_not_signed(control: storage.Database, clock: ManualClock):
    log = audit.Log(control, clock)
    with pytest.raises(Unavailable):
        await log.checkpoint()
    assert await log.newest() is None


async def test_a_log_that_was_changed_behind_us_is_not_signed(control: storage.Database, log: audit.Log):
    made = await filled(log, 6)
    control.transact(lambda c: c.execute(sa.update(tables.leaf).where(tables.leaf.c.seq == 6).values(hash=bytes(32))))
    await log.record(DEED)
    with pytest.raises(Unavailable) as caught:
        await log.checkpoint()
    assert caught.value.code == "audit_inconsistent"
    assert await log.newest() == made


async def test_a_log_that_lost_its_end_is_not_signed(control: storage.Database, log: audit.Log):
    await filled(log, 6)
    control.transact(lambda c: c.execute(sa.update(tables.head).values(size=3, frontier=bytes(64))))
    with pytest.raises(Unavailable) as caught:
        await log.checkpoint()
    assert caught.value.code == "audit_inconsistent"


async def test_processes_share_a_key_and_do_not_sign_twice(
    control: storage.Database, database_url: str, clock: ManualClock, log: audit.Log
):
    other_database = storage.open_database("control", database_url, readers=2)
    try:
        other = audit.Log(other_database, clock, secret=b"s" * 32)
        await other.open()
        assert other.signer.verifier == log.signer.verifier
        await log.record(DEED)
        first, second = await asyncio.gather(log.sign(), other.sign())
        assert first[0] == second[0] and first[1] != second[1]
    finally:
        other_database.close()


async def test_an_embedded_server_keeps_its_key_in_a_file(
    control: storage.Database, clock: ManualClock, data_directory: storage.DataDirectory
):
    log = audit.Log(control, clock)
    await log.open(data_directory)
    key = data_directory.keys / "audit-signing"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 32
    again = audit.Log(control, clock)
    await again.open(data_directory)
    assert again.signer.verifier == log.signer.verifier
    assert control.query(lambda c: c.scalar(sa.select(tables.signer.c.wrapped))) is None
    assert await log.size() == 1
    # Another key (the file was lost): told in a leaf, and bundles of both verify.
    await filled(log, 2)
    key.unlink()
    await again.open(data_directory)
    assert again.signer.verifier != log.signer.verifier and len(await again.verifiers()) == 2
    bundle = data_directory.path / "bundle"
    bundle.write_bytes(b"".join([chunk async for chunk in await again.export()]))
    report = verify.verify(bundle)
    assert report.valid and len(report.signed_by) == 2
    key.write_bytes(b"short")
    with pytest.raises(Conflict):
        await again.open(data_directory)


async def test_a_key_of_the_operators_own(control: storage.Database, clock: ManualClock, tmp_path: Path):
    place = tmp_path / "key"
    log = audit.Log(control, clock, settings=audit.Settings(signing_key=str(place), origin="audit.example/log"))
    with pytest.raises(Invalid) as caught:
        await log.open()
    assert "head -c 32" in caught.value.hint
    place.write_bytes(bytes(range(32)))
    await log.open()
    assert log.signer.name == "audit.example/log"


async def test_a_restored_copy_has_the_same_roots(control: storage.Database, log: audit.Log, tmp_path: Path):
    """D4: what matters is in the database: another host proves the same."""
    if control.dialect != "sqlite":
        pytest.skip("copied by file here; PostgreSQL has its own dumps")
    made = await filled(log, 9)
    copy, source = tmp_path / "copy.db", Path(control.url.database or "")
    with sqlite3.connect(source) as here, sqlite3.connect(copy) as there:
        here.backup(there)
    database = storage.open_database("control", f"sqlite:///{copy}")
    try:
        other = audit.Log(database, ManualClock(), secret=b"s" * 32)
        await other.open()
        assert await other.newest() == made
        assert (await other.checkpoint()) == made
    finally:
        database.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"checkpoint_leaves": 0},
        {"checkpoint_seconds": 0.0},
        {"origin": "a b"},
        {"origin": "a+b"},
        {"anchors": (audit.Anchor(kind="paper"),)},
        {"anchors": (audit.Anchor(kind="file"),)},
        {"anchors": (audit.Anchor(kind="git", path="/x", push="https://me:secret@host/x"),)},
        {"anchors": (audit.Anchor(kind="git", path="/x", push="--force"),)},
        {"anchors": (audit.Anchor(kind="ostinato", url="http://x"),)},
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, object]):
    with pytest.raises(Invalid) as caught:
        audit.Settings(**wrong).check()
    assert caught.value.param is not None and caught.value.param.startswith("audit.")
