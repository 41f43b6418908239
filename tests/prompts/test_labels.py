"""Labels: declared with their protection, moved with a history, drawn into arms; two processes agree."""

import asyncio
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_kit import SYSTEM, draft

from ostinato import access, prompts
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.prompts import snapshot


async def eventually(check, seconds=3.0):
    for _ in range(int(seconds / 0.02)):
        if check():
            return True
        await asyncio.sleep(0.02)
    return False


def assign(process, number, *, label="production", release="", canary=None, prompt="p", **options):
    """What a release does, in a transaction of its own."""

    def work(connection):
        move = prompts.assign(
            connection,
            project=process.project,
            prompt=prompt,
            label=label,
            number=number,
            release=release,
            canary=canary,
            actor=SYSTEM,
            reason="a release",
            now=process.clock.now(),
            **options,
        )
        process.notices.mark(connection, prompts.TOPIC)
        return move

    move = process.database.transact(work)
    process.notices.publish(prompts.TOPIC, marked=True)
    return move


async def test_labels_are_there_or_declared(here):
    await here.save("p", "a", "b")
    assert [
        (one.name, one.builtin, one.protection.by_release) for one in await here.prompts.labels(SYSTEM, here.project)
    ] == [("production", True, True)]
    with pytest.raises(NotFound, match="no label 'staging'") as caught:
        await here.label("p", "staging", 1)
    assert "production" in caught.value.hint
    made = await here.prompts.declare_label(SYSTEM, here.project, "staging", description="Tries.")
    assert (made.version, made.builtin) == (1, False)
    await here.label("p", "staging", 1)
    assert here.text("p@staging") == "a"
    with pytest.raises(Conflict, match="version 1"):
        await here.prompts.declare_label(SYSTEM, here.project, "staging", version=0)
    for name in ("v1", "v1.2.3", "7", "A", "a/b", "a" * 65):
        with pytest.raises(Invalid):
            await here.prompts.declare_label(SYSTEM, here.project, name)


async def test_a_protected_label_is_moved_by_releases_only(here):
    await here.save("p", "a", "b")
    with pytest.raises(Denied) as caught:
        await here.label("p", "production", 1)
    assert caught.value.code == "label_protected"
    assign(here, 1, release="r1")
    await here.prompts.snapshot.reload()
    assert here.resolve("p").release == here.resolve("p").generation == "r1"
    with pytest.raises(Conflict, match="production"):
        await here.prompts.archive(SYSTEM, here.project, "p")
    mover = await here.key("prompts:read labels:move")
    with pytest.raises(Denied):
        await here.prompts.clear_label(mover, None, "p", "production")
    await here.prompts.clear_label(SYSTEM, here.project, "p", "production", reason="away")
    with pytest.raises(NotFound):
        here.resolve("p")
    await here.prompts.declare_label(SYSTEM, here.project, "production", protection=prompts.Protection())
    await here.label("p", "production", 2)
    assert here.text("p") == "b"


async def test_labels_of_versions_are_set_once(here):
    await here.save("p", "a", "b")
    await here.label("p", "v1.0.0", 1)
    await here.label("p", "v1.0.0", 1)
    for change in (
        lambda: here.label("p", "v1.0.0", 2),
        lambda: here.prompts.clear_label(SYSTEM, here.project, "p", "v1.0.0"),
    ):
        with pytest.raises(Conflict) as caught:
            await change()
        assert caught.value.code == "label_immutable"
    await here.prompts.declare_label(SYSTEM, here.project, "blessed", immutable=True)
    await here.label("p", "blessed", 2)
    with pytest.raises(Conflict):
        await here.label("p", "blessed", 1)


async def test_labels_on_versions_that_are_not_there(here):
    await here.save("p", "a", "b")
    for number, says in ((3, "1 to 2"), (99, "1 to 2")):
        with pytest.raises(NotFound) as caught:
            await here.label("p", "v1", number)
        assert says in caught.value.hint
    with pytest.raises(NotFound):
        await here.label("p", "v1", -1)
    await here.save("part", "x", kind="partial")
    with pytest.raises(Invalid, match="partial"):
        await here.label("part", "v1", 1)
    with pytest.raises(NotFound, match="no prompt"):
        await here.label("gone", "v1", 1)
    with pytest.raises(Conflict, match="points nowhere"):
        await here.prompts.clear_label(SYSTEM, here.project, "p", "v1")


async def test_every_move_is_kept(here):
    await here.save("p", "a", "b")
    await here.prompts.declare_label(SYSTEM, here.project, "staging")
    mover = await here.key("prompts:read labels:move")
    await here.prompts.move_label(mover, None, "p", "staging", 1, reason="first", evidence={"score": 0.9})
    await here.label("p", "staging", 2, reason="second")
    await here.label("p", "v2", 2)
    await here.prompts.clear_label(SYSTEM, here.project, "p", "staging", reason="third")
    found, _ = await here.prompts.history(SYSTEM, here.project, "p", label="staging")
    assert [(m.from_number, m.number, m.reason) for m in found] == [(2, 0, "third"), (1, 2, "second"), (0, 1, "first")]
    assert found[2].evidence == {"score": 0.9}
    assert found[2].actor == f"key:{mover.key_id}" and found[2].principal
    page, after = await here.prompts.history(SYSTEM, here.project, "p", limit=2)
    rest, _ = await here.prompts.history(SYSTEM, here.project, "p", after=after, limit=9)
    assert [m.label for m in (*page, *rest)] == ["staging", "v2", "staging", "staging"]


async def test_moves_at_once_are_a_conflict_with_the_current_state(here, open_process):
    other = await open_process()
    await here.save("p", "a", "b", "c")
    await here.prompts.declare_label(SYSTEM, here.project, "staging")
    await here.label("p", "staging", 1)
    results = await asyncio.gather(
        *(
            process.prompts.move_label(SYSTEM, here.project, "p", "staging", number, expect=1)
            for process, number in ((here, 2), (other, 3), (here, 3), (other, 2))
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, prompts.LabelMove) for result in results) == 1
    refused = [result for result in results if isinstance(result, Conflict)]
    assert len(refused) == 3 and "points at version" in refused[0].message
    # Taken away and set again it goes on counting: an old look is noticed.
    await here.prompts.clear_label(SYSTEM, here.project, "p", "staging")
    await here.label("p", "staging", 1)
    (now,) = await here.prompts.assignments(SYSTEM, here.project, "p")
    assert now.version > 2


async def test_on_a_connection_as_releases_use_it(here):
    await here.save("tone", "kind", kind="partial")
    await here.save("p", "{{>tone}} a", "b")
    query = here.database.query
    assert query(lambda c: prompts.assignment(c, here.project, "p", "production")) is None
    move = assign(here, 1, release="r1")
    assert (move.from_number, move.number, move.release) == (0, 1, "r1")
    standing = query(lambda c: prompts.assignment(c, here.project, "p", "production"))
    assert (standing.number, standing.release, standing.version) == (1, "r1", 1)
    assert query(lambda c: prompts.label(c, here.project, "production")).protection.release_required
    bundle = query(lambda c: prompts.bundle(c, here.project, "p", 1))
    assert list(bundle.partials) == ["tone@1"]
    assert bundle.digest != query(lambda c: prompts.bundle(c, here.project, "p", 2)).digest
    with pytest.raises(Conflict):
        assign(here, 2, release="r2", expect=7)
    with pytest.raises(NotFound):
        assign(here, 2, canary=prompts.Canary(9, "r", 0.5))
    for share, control in ((1.5, 0.0), (-0.1, 0.0), (0.6, 0.6)):
        with pytest.raises(Invalid):
            assign(here, 1, canary=prompts.Canary(2, "r", share, control))


async def test_another_process_sees_a_move_within_two_seconds(here, open_process, database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("on SQLite one process owns the database")
    other = await open_process()
    await here.save("p", "a", "b")
    await here.label("p", "v1", 1)
    assert await eventually(
        lambda: other.prompts.snapshot.value.revisions() == here.prompts.snapshot.value.revisions(), 2
    )
    assert other.text("p@v1") == "a"
    assign(here, 1, release="r1", canary=prompts.Canary(2, "r2", 0.3, 0.2, "salt"))
    await here.prompts.snapshot.reload()
    ours = here.prompts.snapshot.value.revisions()
    assert await eventually(lambda: other.prompts.snapshot.value.revisions() == ours, 2)
    for number in range(200):
        seed = b"session %d" % number
        assert other.resolve("p", seed).generation == here.resolve("p", seed).generation


async def test_arms_are_sticky_and_grow_without_anybody_leaving(here):
    await here.save("p", "a", "b")
    seeds = [b"user %d" % number for number in range(4000)]
    members: set[bytes] = set()
    for share in (0.05, 0.2, 0.5):
        assign(here, 1, release="r1", canary=prompts.Canary(2, "r2", share, share, "salt"))
        await here.prompts.snapshot.reload()
        arms = {seed: here.resolve("p", seed) for seed in seeds}
        assert all(here.resolve("p", seed) == arm for seed, arm in arms.items())
        canary = {seed for seed, arm in arms.items() if arm.arm == "canary"}
        control = {seed for seed, arm in arms.items() if arm.arm == "control"}
        assert members <= canary
        for drawn in (canary, control):
            # Six standard deviations of a fair draw.
            assert abs(len(drawn) - share * len(seeds)) < 6 * (len(seeds) * share * (1 - share)) ** 0.5
        for arm in arms.values():
            assert (arm.number, arm.generation) == ((2, "r2") if arm.arm == "canary" else (1, "r1"))
        members = canary
    assert here.served("p") == (1, {1, 2})
    assign(here, 2, release="r2")
    await here.prompts.snapshot.reload()
    assert {here.resolve("p", seed).arm for seed in seeds} == {""}
    assert here.resolve("p").generation == "r2"
    assert here.served("p") == (2, {2}) and here.served("nothing") == (0, set())


words = st.text(max_size=8)


@given(st.floats(0, 1), st.floats(0, 1), st.binary(max_size=20), words, words)
def test_a_growing_share_takes_nobody_out(one, two, seed, release, salt):
    def drawn(share):
        return snapshot.Pointer(
            stable="stable",
            canary="canary",
            share=int(share * 2**64),
            prefix=msgspec.msgpack.encode((release, salt)),
        ).draw(seed)

    small, large = sorted((one, two))
    assert drawn(small) == "stable" or drawn(large) == "canary"
    assert (drawn(0.0), drawn(1.0)) == ("stable", "canary")


async def test_references_that_lead_nowhere_tell_what_there_is(here):
    await here.save("p", "a", "b")
    await here.label("p", "v1", 1)
    for reference, says in (
        ("gone", "no prompt 'gone'"),
        ("p", "no label 'production'"),
        ("p@staging", "no label 'staging'"),
        ("p@3", "no version 3"),
        ("p@0", "no version 0"),
        ("p@01", "no version 1"),
        ("p@99999999999999999999", "no version"),
        ("p@v1@v1", "no label"),
        ("@v1", "no prompt"),
        ("", "no prompt"),
    ):
        with pytest.raises(NotFound, match=says) as caught:
            here.resolve(reference)
        if "label" in says:
            assert "v1" in caught.value.hint
    # What does not exist is not remembered.
    entry = here.prompts.snapshot.value._prompts[here.project, "p"]
    assert "staging" not in entry.pointers


async def test_reloads_read_what_is_new_and_keep_what_was_compiled(here):
    await here.save("p", "a")
    await here.save("q", "b")
    first = here.resolve("p@1").compiled
    before = here.prompts.snapshot.value
    await here.save("q", "c")
    await here.label("p", "v1", 1)
    after = here.prompts.snapshot.value
    assert after is not before
    assert here.resolve("p@v1").compiled is first
    assert here.text("q@2") == "c"
    await here.prompts.snapshot.reload()
    assert here.prompts.snapshot.value is after


async def test_a_database_that_is_away_leaves_the_last_snapshot(here, monkeypatch):
    await here.save("p", "a")

    def away(*_arguments):
        raise RuntimeError("away")

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "load", away)
        await here.prompts.snapshot.reload()
        assert here.prompts.snapshot.failing
        assert here.text("p@1") == "a"
    await here.prompts.snapshot.reload()
    assert not here.prompts.snapshot.failing


async def test_incremental_loads_come_to_what_a_whole_load_comes_to(here):
    """Random changes: at every step the snapshot that followed is the one that a new process would load."""
    rng = random.Random(7)
    await here.prompts.declare_label(SYSTEM, here.project, "staging")
    for step in range(30):
        name = f"p{rng.randrange(3)}"
        number = await here.save(name, f"text {rng.randrange(6)} {step // 10}")
        if rng.random() < 0.6:
            await here.label(name, "staging", rng.randint(1, number))
        if rng.random() < 0.2:
            assign(here, 1, prompt=name, release=f"r{step}", canary=prompts.Canary(number, f"c{step}", 0.5))
            await here.prompts.snapshot.reload()
        fresh = here.database.query(lambda c: snapshot.load(c, prompts.PromptSnapshot()))
        followed = here.prompts.snapshot.value
        assert fresh.revisions() == followed.revisions()
        for key, entry in fresh._prompts.items():
            other = followed._prompts[key]
            assert (entry.texts, entry.assigned, entry.intent) == (other.texts, other.assigned, other.intent)


async def test_what_a_draft_of_the_same_words_is_called_by(here):
    number = await here.save("p", "a")
    resolved = here.resolve(f"p@{number}")
    assert resolved.generation == f"version:{resolved.digest[:16]}"
    assert (resolved.release, resolved.arm, resolved.label) == ("", "", "")
    assert draft("a") == draft("a")


async def test_who_may_not_approve_loosens_no_label(here):
    await here.save("p", "a", "b")
    operator = await here.key(" ".join(access.permissions.ROLES["operator"]))
    approver = await here.key(" ".join({*access.permissions.ROLES["operator"], "releases:approve"}))
    strict = prompts.Protection(approvals=2, gates=("lint",))
    looser = [prompts.Protection(), prompts.Protection(approvals=1, gates=("lint",)), prompts.Protection(approvals=2)]

    async def declare(who, label, **options):
        await here.prompts.declare_label(who, None, label, **options)

    with pytest.raises(Denied):
        await declare(operator, "production", protection=prompts.Protection())
    await declare(operator, "production", protection=strict)
    for protection in looser:
        with pytest.raises(Denied):
            await declare(operator, "production", protection=protection)
    with pytest.raises(Denied):
        await here.prompts.move_label(operator, None, "p", "production", 1)
    await declare(operator, "frozen", immutable=True)
    with pytest.raises(Denied):
        await declare(operator, "frozen")
    # Stricter is for who declares; looser for who may approve.
    await declare(operator, "production", protection=prompts.Protection(approvals=3, gates=("lint", "schema")))
    for protection in reversed(looser):
        await declare(approver, "production", protection=protection)
    await here.prompts.move_label(operator, None, "p", "production", 1)
