"""What goes on by itself: checkpoints, anchors that refuse forks, effects resumed after a crash, refusals counted."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ostinato import audit, outbound, storage, verify
from ostinato.audit import denials
from ostinato.audit.anchors import FileAnchor, GitAnchor, InstanceAnchor
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Invalid, Unavailable
from ostinato.providers import ApiKey

DEED = audit.Deed(actor="key:1", action="cache:write", resource="cache:p")


@pytest.fixture
def book(tmp_path: Path, clock: ManualClock) -> Any:
    """A function that opens logs of their own."""
    opened: list[storage.Database] = []

    async def make(name: str, **settings: Any) -> tuple[audit.Log, storage.DataDirectory]:
        directory = storage.DataDirectory(tmp_path / name)
        directory.prepare()
        database = storage.open_database("control", directory.control)
        storage.migrate(database)
        opened.append(database)
        log = audit.Log(database, clock, settings=audit.Settings(**settings), secret=b"s" * 32)
        await log.open(directory)
        return log, directory

    yield make
    for database in opened:
        database.close()


@pytest.fixture
async def client(clock: ManualClock) -> AsyncIterator[outbound.Client]:
    made = outbound.Client(outbound.Settings(), clock)
    await made.start()
    yield made
    await made.close()


async def more(log: audit.Log, count: int = 3) -> audit.Checkpoint:
    for _ in range(count):
        await log.record(DEED)
    made = await log.checkpoint()
    assert made is not None
    return made


async def until(clock: ManualClock, done: Any) -> None:
    """Wind the clock until something has happened."""
    for _ in range(400):
        if await done():
            return
        clock.advance(1.0)
        await asyncio.sleep(0.005)
    raise AssertionError("it never happens")


# -- checkpoints by themselves ----------------------------------------------------------------------------------------


async def test_checkpoints_come_by_time_and_at_the_end(book: Any, client: outbound.Client, clock: ManualClock):
    log, directory = await book("one", checkpoint_seconds=30.0)
    keeper = audit.Keeper(log, client, directory)
    await keeper.start()
    await log.record(DEED)

    async def signed() -> bool:
        return (await log.newest()) is not None

    await until(clock, signed)
    await log.record(DEED)
    await keeper.stop()
    await keeper.stop()
    last = await log.newest()
    assert last is not None and last.size == await log.size() == 3
    assert keeper.failing == ""


async def test_checkpoints_come_by_count(book: Any, client: outbound.Client, clock: ManualClock):
    log, directory = await book("one", checkpoint_seconds=86_400.0, checkpoint_leaves=5)
    keeper = audit.Keeper(log, client, directory)
    await keeper.start()
    for _ in range(6):
        await log.record(DEED)

    async def signed() -> bool:
        return (await log.newest()) is not None

    began = clock.monotonic()
    await until(clock, signed)
    assert clock.monotonic() - began < 1_000
    await keeper.stop()


# -- anchors ----------------------------------------------------------------------------------------------------------


async def forked(book: Any, log: audit.Log) -> audit.Log:
    """Another history under the same name and key."""
    other, directory = await book("fork", origin=log.signer.name)
    (directory.keys / "audit-signing").unlink()
    raw = log.database.url.database
    assert raw is not None
    directory.write_key("audit-signing", (Path(raw).parent / "keys/audit-signing").read_bytes())
    await other.open(directory)
    return other


async def test_a_file_takes_every_checkpoint_and_no_fork(book: Any, tmp_path: Path):
    log, _ = await book("one")
    path = tmp_path / "anchor"
    anchor = FileAnchor(audit.Anchor(kind="file", path=str(path)))
    made = [await more(log) for _ in range(3)]
    for one in (made[0], made[2], made[2]):
        assert await anchor.keep(log, one) == {"path": str(path)}
    kept = list(verify.read_notes(path.read_text()))
    assert [one.size for one in kept] == [made[0].size, made[2].size]
    with pytest.raises(Conflict) as caught:
        await anchor.keep(log, made[1])
    assert caught.value.code == "anchor_newer"
    other = await forked(book, log)
    with pytest.raises(Conflict) as caught:
        await anchor.keep(other, await more(other, 40))
    assert caught.value.code == "anchor_contradicts"
    # Many later it still finds the newest, though it reads the end alone.
    with path.open("a") as file:
        file.writelines(made[2].note + "\n" for _ in range(400))
    assert await anchor.keep(log, await more(log)) == {"path": str(path)}
    path.write_text("something else\n")
    with pytest.raises(Conflict) as caught:
        await anchor.keep(log, made[2])
    assert caught.value.code == "anchor_damaged"


async def test_a_repository_gets_a_commit_for_each(book: Any, tmp_path: Path):
    log, _ = await book("one")
    place = tmp_path / "repository"
    place.mkdir()
    anchor = GitAnchor(audit.Anchor(kind="git", path=str(place)))
    first = await more(log)
    with pytest.raises(Unavailable) as caught:
        await anchor.keep(log, first)
    assert "git init" in caught.value.hint
    await asyncio.to_thread(subprocess.run, ["git", "init", "-q", str(place)], check=True)
    receipts = [await anchor.keep(log, first), await anchor.keep(log, first), await anchor.keep(log, await more(log))]
    assert receipts[0] == receipts[1] != receipts[2]
    assert [one.checkpoint.size for one in verify.read_anchor(place)] == [7, 4]
    with pytest.raises(Conflict):
        await anchor.keep(log, first)
    other, _ = await book("two")
    with pytest.raises(Conflict) as caught:
        await anchor.keep(other, await more(other))
    assert caught.value.code == "anchor_taken"
    # History is read whole: a rewritten checkpoint does not hide the one before.
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"".join([chunk async for chunk in await log.export()]))
    assert verify.verify(bundle, verify.read_anchor(place)).standing == "anchored"


async def test_without_git_it_says_so(book: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, _ = await book("one")
    made = await more(log)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        await GitAnchor(audit.Anchor(kind="git", path=str(tmp_path))).keep(log, made)
    assert "not installed" in caught.value.message


class Elsewhere:
    """Another instance, as a client meets it: its log, without the sockets between."""

    def __init__(self, log: audit.Log) -> None:
        self.log = log

    async def request(self, method: str, url: str, body: bytes, headers: Any, seconds: float, **_: Any) -> Any:
        assert headers["authorization"] == "Bearer ost_key"
        try:
            if method == "GET":
                origin = url.partition("origin=")[2].partition("&")[0].replace("%2F", "/")
                told: Any = {"items": await self.log.witnessed(origin, limit=1)}
            else:
                offer = msgspec.json.decode(body, type=audit.Offer)
                kept, note = await self.log.witness(
                    offer, audit.Deed(actor="key:w", action="audit:witness", resource="")
                )
                told = {"origin": kept.origin, "size": kept.size, "root": kept.root, "note": note}
            status = 200
        except Conflict as error:
            status, told = 409, {"detail": error.message, "hint": error.hint}
        return outbound.Response(status, {}, msgspec.json.encode(told), 0.0)


async def test_another_instance_keeps_what_follows_and_refuses_the_rest(book: Any):
    log, _ = await book("one")
    judge, _ = await book("judge")
    settings = audit.Anchor(kind="ostinato", url="https://judge.test/", api_key=ApiKey("ost_key"))
    anchor = InstanceAnchor(settings, Elsewhere(judge))  # pyright: ignore[reportArgumentType]
    made = [await more(log) for _ in range(3)]
    before = await judge.size()
    for one in (made[0], made[2], made[2]):
        receipt = await anchor.keep(log, one)
        note = verify.read_note(receipt["note"])
        assert note.size == one.size and len(note.signatures) == 2
        for signer in (log.signer, judge.signer):
            assert verify.Verifier.read(signer.verifier).vouches(note)
    assert await judge.size() == before + 2, "told twice, kept once"
    with pytest.raises(Conflict):
        await anchor.keep(log, made[1])
    other = await forked(book, log)
    with pytest.raises(Conflict) as caught:
        await anchor.keep(other, await more(other, 40))
    assert "does not follow" in caught.value.message
    entry = (await judge.page(audit.Filter()))[0]
    assert (entry.leaf.outcome, entry.leaf.resource) == ("denied", f"witness:{log.signer.name}")
    assert [one.size for one in await judge.witnessed(log.signer.name)] == [made[2].size, made[0].size]


async def test_a_witness_takes_only_what_is_signed(book: Any):
    log, _ = await book("one")
    judge, _ = await book("judge")
    made = await more(log)
    deed = audit.Deed(actor="key:w", action="audit:witness", resource="")
    key = log.signer.verifier
    for note, by in (
        ("", key),
        (made.note.replace("\n4\n", "\n5\n"), key),
        (made.note, judge.signer.verifier),
        (made.note, "nonsense"),
    ):
        with pytest.raises(Invalid):
            await judge.witness(audit.Offer(note=note, key=by), deed)
    assert await judge.witnessed() == []
    await judge.witness(audit.Offer(note=made.note, key=key), deed)
    # Under the same name, but by somebody else's key.
    stranger, _ = await book("stranger", origin=log.signer.name)
    with pytest.raises(Conflict) as caught:
        await judge.witness(audit.Offer(note=(await more(stranger, 9)).note, key=stranger.signer.verifier), deed)
    assert caught.value.code == "witness_key"


async def test_a_keeper_anchors_and_tries_again(book: Any, client: outbound.Client, clock: ManualClock, tmp_path: Path):
    place = tmp_path / "later" / "anchor"
    log, directory = await book("one", anchors=(audit.Anchor(kind="file", path=str(place)),))
    keeper = audit.Keeper(log, client, directory)
    await keeper.start()
    await log.record(DEED)

    async def failing() -> bool:
        return "cannot be used" in keeper.failing

    await until(clock, failing)
    place.parent.mkdir()

    async def anchored() -> bool:
        return keeper.failing == ""

    await until(clock, anchored)
    await keeper.stop()
    newest = await log.newest()
    assert newest is not None and list(await log.receipts(newest.size)) == [f"file:{place}"]
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"".join([chunk async for chunk in await log.export()]))
    assert b'{"receipt":' in bundle.read_bytes()
    assert verify.verify(bundle, verify.read_anchor(place)).standing == "anchored"


# -- effects ----------------------------------------------------------------------------------------------------------


async def outcomes(log: audit.Log) -> list[tuple[str, Any]]:
    found = reversed(await log.page(audit.Filter(action="cache:write")))
    return [(one.leaf.outcome, one.leaf.facts) for one in found]


async def test_an_effect_is_intended_and_ended(book: Any):
    log, _ = await book("one")
    effect = await log.intend(DEED, "cache:invalidate", {"user": "anna"})
    (found,) = await log.unfinished(log.clock.now() + 1, ["cache:invalidate"])
    assert (found.id, found.payload) == (effect, {"user": "anna"})
    index = await log.finish(effect, "done", {"total": 3})
    assert index is not None and await log.finish(effect) is None, "told once"
    assert await outcomes(log) == [("intended", {}), ("done", {"intent": 1, "total": 3})]
    assert await log.unfinished(log.clock.now() + 1, ["cache:invalidate"]) == []


async def test_what_a_crash_has_interrupted_is_done_at_the_next_start(
    book: Any, client: outbound.Client, clock: ManualClock
):
    log, directory = await book("one")
    await log.intend(DEED, "cache:invalidate", {"tag": "x"})
    done: list[Any] = []

    async def carry_out(payload: Any) -> dict[str, str | int]:
        if not done:
            done.append("failed")
            raise Unavailable("The cache is away.")
        done.append(payload)
        return {"total": 1}

    keeper = audit.Keeper(log, client, directory)
    await keeper.start()
    await keeper.resume("cache:invalidate", carry_out)
    assert done == ["failed"] and "The cache is away" in keeper.failing

    async def carried_out() -> bool:
        return len(done) > 1 and keeper.failing == ""

    await until(clock, carried_out)
    await keeper.stop()
    assert done == ["failed", {"tag": "x"}]
    assert await outcomes(log) == [("intended", {}), ("done", {"intent": 1, "resumed": 1, "total": 1})]


async def test_where_several_share_a_log_only_old_effects_are_taken_over(
    book: Any, client: outbound.Client, clock: ManualClock
):
    log, _ = await book("one")
    await log.intend(DEED, "cache:invalidate", 1)
    done: list[Any] = []

    async def carry_out(payload: Any) -> dict[str, str | int]:
        done.append(payload)
        return {}

    keeper = audit.Keeper(log, client, None)
    await keeper.start()
    await keeper.resume("cache:invalidate", carry_out)
    assert done == [], "it may be under way in another process"
    clock.advance(121)
    await keeper.resume("cache:invalidate", carry_out)
    await keeper.stop()
    assert done == [1]


# -- refusals ---------------------------------------------------------------------------------------------------------


async def test_refusals_are_one_leaf_for_each_key_and_minute(book: Any, client: outbound.Client, clock: ManualClock):
    log, directory = await book("one")
    keeper = audit.Keeper(log, client, directory)
    await keeper.start()
    for _ in range(1000):
        log.denials.note("k1", "model_not_allowed")
    log.denials.note("k1", "permission_denied")
    log.denials.note("", "invalid_api_key")
    wanted = audit.Filter(outcome="denied")

    async def told() -> bool:
        return len(await log.page(wanted)) == 2

    await until(clock, told)
    await keeper.stop()
    found = {one.leaf.actor: one.leaf.facts for one in await log.page(wanted)}
    assert found == {
        "key:k1": {"model_not_allowed": 1000, "permission_denied": 1},
        "system:unknown": {"invalid_api_key": 1},
    }


async def test_refusals_are_bounded_and_exact(book: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(denials, "_MOST_KEYS", 3)
    monkeypatch.setattr(denials, "_MOST_CODES", 2)
    log, _ = await book("one")
    for number in range(10):
        for code in range(4):
            log.denials.note(f"k{number}", f"c{code}")

    async def failing(_: Any) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(log.database, "run", failing)
        with pytest.raises(Unavailable):
            await log.write_denials()
    assert await log.write_denials() == 4
    found = [one.leaf.facts for one in await log.page(audit.Filter(outcome="denied"))]
    assert sum(int(count) for facts in found for count in facts.values()) == 40
    assert await log.write_denials() == 0
