"""Versions: what goes in comes out, never changes, and says what is wrong with it."""

import msgspec
import pytest

from ostinato import storage
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.datasets import NewExample, Passage, Shares, tables

ME = "support/tickets"


def test_the_revision_makes_what_the_tables_declare(control: storage.Database, schema_drift) -> None:
    assert schema_drift(control, tables.metadata) == []


def test_the_revision_can_be_undone_and_done_again(control: storage.Database) -> None:
    storage.downgrade(control, "0009_improving")
    assert not control.query(lambda c: c.dialect.has_table(c, "dataset"))
    storage.migrate(control)
    assert control.query(lambda c: c.dialect.has_table(c, "holdout_look"))


async def test_what_goes_in_comes_out(kit, make) -> None:
    rich = NewExample(
        inputs={"question": "Où est la clé ?", "tries": 3, "flags": [True, None]},
        reference={"answer": ["under", "the mat"], "sure": 0.5},
        metadata={"lang": "fr", "nested": {"a": 1}},
        passages=(Passage("p1", "The key is under the mat.", 1.0), Passage("p2")),
        group="house",
        stratum="french",
        source="file.jsonl:1",
    )
    made = await kit.datasets.create(kit.caller(), ME, shares=Shares(train=1, dev=0, holdout=0), examples=[rich])
    assert (made.name, made.latest, made.project) == (ME, 1, kit.projects[0].id)
    found, following = await kit.datasets.examples(kit.caller(), ME)
    assert following is None
    one = found[0]
    assert {name: getattr(one, name) for name in NewExample.__struct_fields__} == {
        name: getattr(rich, name) for name in NewExample.__struct_fields__
    }
    assert (one.split, one.erased, len(one.digest)) == ("train", False, 64)


async def test_a_version_is_counted_digested_and_split(kit, make) -> None:
    await kit.datasets.create(kit.caller(), ME)
    version = await kit.datasets.add_version(kit.caller(), ME, make(200), note="First.")
    assert sum(version.counts.values()) == 200
    assert min(version.counts.values()) > 20
    assert version.strata == {"even": 100, "odd": 100}
    assert not version.findings
    again = await kit.datasets.add_version(kit.caller(), ME, make(200)[::-1])
    assert (again.number, again.digest, again.holdout_digest) == (2, version.digest, version.holdout_digest)
    more = await kit.datasets.add_version(kit.caller(), ME, make(1, 500), base="latest")
    assert sum(more.counts.values()) == 201
    assert more.digest != version.digest
    assert [one.number for one in await kit.datasets.versions(kit.caller(), ME)] == [3, 2, 1]
    assert await kit.datasets.version(kit.caller(), ME, 1) == await kit.datasets.find(version.id)


async def test_an_example_has_one_id_in_all_versions(kit, make) -> None:
    await kit.datasets.create(kit.caller(), ME, examples=make(30))
    first = await kit.datasets.version(kit.caller(), ME, 1)
    second = await kit.datasets.add_version(kit.caller(), ME, make(40))
    before = {one.digest: (one.id, one.split) for one in await kit.datasets.load(first.id)}
    after = {one.digest: (one.id, one.split) for one in await kit.datasets.load(second.id)}
    assert before.items() <= after.items()


async def test_parts_are_added_until_it_is_sealed(kit, make) -> None:
    caller = kit.caller()
    await kit.datasets.create(caller, ME)
    open_ = await kit.datasets.add_version(caller, ME, make(10), leave_open=True)
    assert open_.open
    assert not open_.digest
    assert (await kit.datasets.show(caller, ME)).latest == 0
    with pytest.raises(NotFound):
        await kit.datasets.version(caller, ME)
    with pytest.raises(Conflict, match="still open"):
        await kit.datasets.load(open_.id)
    with pytest.raises(Conflict, match="still open"):
        await kit.datasets.open_holdout(open_.id, prompt="p", run="r", alpha=0.01)
    filled = await kit.datasets.add_examples(caller, ME, 1, make(15))
    assert filled.dropped == {"duplicates": 10}
    sealed = await kit.datasets.seal(caller, ME, 1)
    assert sum(sealed.counts.values()) == 15
    whole = await kit.datasets.add_version(caller, ME, make(15))
    assert whole.digest == sealed.digest
    with pytest.raises(Conflict, match="never changes"):
        await kit.datasets.add_examples(caller, ME, 1, make(1, 900))
    with pytest.raises(Conflict, match="never changes"):
        await kit.datasets.seal(caller, ME, 1)


async def test_bad_input_is_told_in_words(kit, make) -> None:
    caller = kit.caller()
    small = kit.room(part=50, examples=60, example_bytes=500)
    await small.create(caller, ME)
    cases = [
        ([], "no examples"),
        ([NewExample(inputs={}, source="a.csv:7")], "Example 1 .a.csv:7. has no inputs"),
        ([*make(1), NewExample(inputs={"q": "x" * 600})], "Example 2 takes 6.. bytes; 500 are allowed"),
        (make(51), "51 examples at once; 50 are allowed"),
        ([NewExample(inputs={"q": "x"}, group="g" * 300)], "group that is longer"),
        ([NewExample(inputs={"q": "x"}, stratum="a\x00")], "NUL"),
    ]
    for new, words in cases:
        with pytest.raises(Invalid, match=words):
            await small.add_version(caller, ME, new)
    assert not await small.versions(caller, ME)
    await small.add_version(caller, ME, make(50))
    with pytest.raises(Invalid, match="would have 70 examples; 60 are allowed"):
        await small.add_version(caller, ME, make(20, 100), base=1)
    for name in ("", "Capital", "a b", "-a", "x" * 300, "0" * 32):
        with pytest.raises(Invalid, match="no name of a dataset"):
            await small.create(caller, name)
    with pytest.raises(Invalid, match="come to 1"):
        await small.create(caller, "other", shares=Shares(train=0.5, dev=0.5, holdout=0.5))
    with pytest.raises(Conflict, match="already"):
        await small.create(caller, ME)


async def test_duplicates_contradictions_and_one_class_are_reported(kit, make) -> None:
    caller = kit.caller()
    twice = [*make(10, reference="same"), *make(3, reference="same")]
    twice.append(
        NewExample(inputs={"question": "  WHAT is the meaning of entry number 0, and of 0? "}, reference="SAME")
    )
    against = make(2, reference="other")
    await kit.datasets.create(caller, ME, examples=[*twice, *against])
    version = await kit.datasets.version(caller, ME)
    told = {one.kind: one for one in version.findings}
    assert told["duplicates"].count == 4
    assert told["contradictions"].count == 4
    assert len(told["contradictions"].examples) == 4
    assert "another reference" in told["contradictions"].message
    assert sum(version.counts.values()) == 12
    single = await kit.datasets.add_version(caller, ME, make(30, reference="yes"))
    assert [one.kind for one in single.findings] == ["one-class"]
    bare = await kit.datasets.add_version(caller, ME, make(30, reference=None))
    assert [(one.kind, one.count) for one in bare.findings] == [("no-reference", 30)]
    tiny = await kit.datasets.add_version(caller, ME, make(1))
    assert [one.kind for one in tiny.findings] == ["empty-split", "empty-split"]


async def test_examples_can_be_left_out_of_a_base(kit, make) -> None:
    caller = kit.caller()
    await kit.datasets.create(caller, ME, shares=Shares(train=1, dev=0, holdout=0), examples=make(5))
    found, _ = await kit.datasets.examples(caller, ME)
    next_ = await kit.datasets.add_version(caller, ME, [], base=1, without=[found[2].id])
    assert [one.id for one in await kit.datasets.load(next_.id)] == [one.id for one in found if one is not found[2]]
    assert next_.origin == {"base": 1, "without": [found[2].id]}
    with pytest.raises(Invalid, match="no example"):
        await kit.datasets.add_version(caller, ME, [], base=1, without=["0" * 32])


async def test_erasure_leaves_a_tombstone_and_every_digest(kit, make) -> None:
    caller = kit.caller()
    mine = make(6, metadata={"subject": "user-1"})
    await kit.datasets.create(caller, ME, examples=[*make(40, 10), *mine])
    version = await kit.datasets.add_version(caller, ME, make(1, 300), base=1)
    gone = await kit.datasets.erase(caller, ME, subject="user-1", reason="Asked to.")
    assert len(gone) == 6
    assert await kit.datasets.find(version.id) == version
    rows = kit.database.query(lambda c: c.exec_driver_sql("SELECT * FROM example WHERE erased_at IS NOT NULL").all())
    assert len(rows) == 6
    assert not any("user-1" in str(row) or "meaning" in str(row) for row in rows)
    found, _ = await kit.datasets.examples(caller, ME, 1, limit=500)
    tombs = [one for one in found if one.erased]
    assert {one.id for one in tombs} <= set(gone)
    assert all(one.inputs == {} and len(one.digest) == 64 for one in tombs)
    assert not {one.id for one in await kit.datasets.load(version.id)} & set(gone)
    # What was erased does not come back, by whichever way.
    again = await kit.datasets.add_version(caller, ME, [*mine, *make(2, 400)])
    assert sum(again.counts.values()) == 2
    assert again.dropped == {"erased": 6}
    based = await kit.datasets.add_version(caller, ME, make(1, 410), base=1)
    assert sum(based.counts.values()) == 41
    assert await kit.datasets.erase(caller, ME, subject="user-1") == ()
    assert await kit.datasets.erase(caller, ME, examples=[found[0].id]) == (found[0].id,)
    for wrong in ({}, {"subject": "a", "source": "b"}, {"examples": ["0" * 32]}):
        with pytest.raises(Invalid):
            await kit.datasets.erase(caller, ME, **wrong)


async def test_what_was_used_stays_and_what_was_not_can_go(kit, make) -> None:
    caller = kit.caller()
    await kit.datasets.create(caller, ME, examples=make(20))
    used = await kit.datasets.version(caller, ME)
    assert used.used_at is None
    await kit.datasets.load(used.id)
    assert (await kit.datasets.version(caller, ME)).used_at == kit.clock.now()
    with pytest.raises(Conflict, match="has been used"):
        await kit.datasets.discard(caller, ME, 1)
    await kit.datasets.add_version(caller, ME, make(30))
    await kit.datasets.discard(caller, ME, 2)
    assert (await kit.datasets.show(caller, ME)).latest == 1
    left = kit.database.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM example").scalar())
    assert left == 20
    third = await kit.datasets.add_version(caller, ME, make(3))
    assert third.number == 3


async def test_pages_follow_one_another(kit, make) -> None:
    caller = kit.caller()
    await kit.datasets.create(caller, ME, examples=make(100))
    everything = [one.id for one in await kit.datasets.load((await kit.datasets.version(caller, ME)).id)]
    found: list[str] = []
    after = 0
    while after is not None:
        page, after = await kit.datasets.examples(caller, ME, after=after, limit=7)
        found += [one.id for one in page]
    assert found == everything
    for name in ("a", "b/c", "b/d"):
        await kit.datasets.create(caller, name)
    names = [one.name for one in await kit.datasets.list(caller, limit=2)]
    assert names == ["a", "b/c"]
    assert [one.name for one in await kit.datasets.list(caller, after="b/c")] == ["b/d", ME]


async def test_every_change_has_its_leaf_and_needs_its_permission(kit, make) -> None:
    caller, before = kit.caller(), len(await kit.leaves())
    await kit.datasets.create(caller, ME)
    await kit.datasets.add_version(caller, ME, make(3), leave_open=True)
    await kit.datasets.add_examples(caller, ME, 1, make(30))
    await kit.datasets.seal(caller, ME, 1)
    await kit.datasets.erase(caller, ME, subject="nobody")
    await kit.datasets.discard(caller, ME, 1)
    leaves = (await kit.leaves())[before:]
    done = [leaf.action.partition(":")[2] for leaf in leaves]
    assert done == ["create", "version", "add", "seal", "erase", "discard"]
    assert {leaf.resource for leaf in leaves} == {f"dataset:{kit.projects[0].id}/{ME}"}
    assert "meaning" not in str(msgspec.to_builtins(leaves))
    for call in (
        kit.datasets.create(kit.caller("datasets:write"), "other"),
        kit.datasets.add_version(kit.caller("datasets:write"), ME, make(1)),
        kit.datasets.erase(kit.caller("datasets:write"), ME, subject="a"),
        kit.datasets.show(kit.caller("datasets:read"), ME),
        kit.datasets.examples(kit.caller("datasets:text"), ME),
    ):
        with pytest.raises(Denied):
            await call
    for call in (
        kit.datasets.show(kit.caller(project=1), ME),
        kit.datasets.add_version(kit.caller(project=1), ME, make(1)),
        kit.datasets.examples(kit.caller(project=1), ME),
    ):
        with pytest.raises(NotFound):
            await call


async def test_what_was_read_by_other_columns_does_not_join(kit) -> None:
    """A file that is added without saying which column is the answer would make the answer an input."""
    caller = kit.caller()
    answered = [NewExample(inputs={"text": f"question {n}"}, reference=f"answer {n % 3}") for n in range(10)]
    await kit.datasets.create(caller, ME, examples=answered)
    read_otherwise = [NewExample(inputs={"text": "another", "team": "loans"})]
    with pytest.raises(Invalid) as caught:
        await kit.datasets.add_version(caller, ME, read_otherwise, base="latest")
    assert caught.value.code == "inputs_differ" and "text" in caught.value.hint
    with pytest.raises(Invalid) as caught:
        await kit.datasets.add_version(caller, ME, [NewExample(inputs={"text": "another"})], base="latest")
    assert caught.value.code == "references_missing" and "--reference" in caught.value.hint
    assert (await kit.datasets.version(caller, ME)).number == 1, "nothing of it was sealed"
    await kit.datasets.add_version(caller, ME, [NewExample(inputs={"text": "alone"})])
