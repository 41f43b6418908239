"""S8, S9: secrets are hashed at rest and show up nowhere."""

import gc
import logging
from pathlib import Path

import pytest

from ostinato import storage
from ostinato.access import Access, KeyChanges, SystemActor, keys
from ostinato.core.clock import ManualClock
from ostinato.core.errors import OstinatoError


async def test_no_secret_is_in_the_files_the_logs_the_errors_or_the_snapshot(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    database = storage.open_database("control", tmp_path / "control.db")
    storage.migrate(database)
    door = Access(database, storage.Notices(), clock)
    await door.start()
    _, _, first = await door.first_start()
    owner = door.authenticate(first, clock.now())
    key, second = await door.create_key(owner, "a")
    _, third = await door.rotate_key(owner, key.id)
    secrets = [first, second, third]
    said: list[str] = [repr(door.authenticate(third, clock.now())), repr(await door.list_keys(owner))]
    for secret in secrets:
        for attempt in (
            lambda s=secret: door.show_key(owner, s),
            lambda s=secret: door.show_key(owner, s + "x"),
            lambda s=secret: door.rotate_key(owner, s[::-1]),
            lambda s=secret: door.show_project(owner, f"default/{s[:3]}"),
            lambda s=secret: door.update_key(owner, s, KeyChanges(name="\n")),
        ):
            try:
                said.append(repr(await attempt()))
            except OstinatoError as error:
                said += [error.sentence, repr(error), str(error)]
        for token in (secret[:-1], secret + "x"):
            with pytest.raises(OstinatoError) as refused:
                door.authenticate(token, clock.now())
            said += [refused.value.sentence, repr(refused.value)]
    text = "\n".join(said) + caplog.text
    await door.stop()
    for secret in secrets:
        assert secret[13:-7] not in text and secret[13:-7][::-1] not in text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240 - nothing else runs
    stored = b"".join(path.read_bytes() for path in files)
    assert files and owner.key_prefix.encode() in stored, "the scan looks at the right files"
    for secret in secrets:
        assert secret.encode() not in stored and secret[13:].encode() not in stored
        assert keys.well_formed(secret)
    database.close()
    gc.collect()
    snapshot = door.snapshot.value
    held = [value for holder in (snapshot._live, snapshot._dead) for value in holder]
    assert all(isinstance(value, bytes) and len(value) == 32 for value in held)


async def test_the_column_holds_the_digest(control: storage.Database, door: Access):
    _, _, secret = await door.first_start()
    row = control.query(lambda c: c.exec_driver_sql("SELECT secret_sha256, prefix FROM api_key").one())
    from ostinato.core import hashing

    assert bytes(row[0]) == hashing.secret_digest(secret) and row[1] == secret[:12]


async def test_hostile_references_find_nothing(door: Access, owner):
    """S3: what a caller writes is bound, never pasted."""
    for hostile in (
        "' OR 1=1 --",
        "x'; DROP TABLE api_key; --",
        "\x00",
        "%",
        "_" * 12,
        "",
        "a" * 10_000,
        "é",
        "\ud800",
    ):
        for attempt in (door.show_key, door.show_project, door.show_organization):
            with pytest.raises(OstinatoError) as refused:
                await attempt(owner, hostile)
            assert refused.value.status in (400, 404)
            with pytest.raises(OstinatoError):
                await attempt(SystemActor("test"), hostile)
    assert len(await door.list_keys(owner)) == 1
