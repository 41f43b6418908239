"""The sealed part: splits that never change, looks that are written down, an alpha that is never given twice."""

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.core.errors import Conflict, Denied, Invalid, OstinatoError
from ostinato.datasets import HoldoutSpent, NewExample, Shares, splitting

ME = "tickets"
TEXTS = st.text(max_size=40)
SHARES = Shares()


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_the_split_goes_by_the_inputs_alone(text: str, others: list[str]) -> None:
    plain = NewExample(inputs={"a": text})
    split = splitting.split_of(plain, SHARES)
    spaced = NewExample(inputs={"a": f"  {text}\t"}, reference=others, metadata={"x": others}, source="s", stratum="t")
    assert splitting.split_of(spaced, SHARES) == split
    assert splitting.split_of(plain, SHARES, splitting.inputs_key(plain)) == split


@given(TEXTS.filter(bool), TEXTS, TEXTS)
def test_groups_stay_together(group: str, one: str, other: str) -> None:
    pair = [NewExample(inputs={"a": text}, group=group) for text in (one, other)]
    assert len({splitting.split_of(example, SHARES) for example in pair}) == 1


@given(st.text(alphabet="aAbB ßéÉ\u00a0\t\uff11", max_size=20))
def test_what_is_normalized_stays_so(text: str) -> None:
    once = splitting.normalized_text(text)
    assert splitting.normalized_text(once) == once
    assert splitting.normalized_text(text.swapcase().swapcase()) == splitting.normalized_text(text)


@pytest.mark.parametrize(
    "shares", [Shares(), Shares(train=0.1, dev=0.1, holdout=0.8), Shares(train=0, dev=0, holdout=1)]
)
def test_the_shares_are_met(shares: Shares) -> None:
    count = 20_000
    found = [splitting.split_of(NewExample(inputs={"n": n}), shares) for n in range(count)]
    for name in ("train", "dev", "holdout"):
        assert abs(found.count(name) / count - getattr(shares, name)) < 0.012


def test_splits_are_the_same_for_ever() -> None:
    """Written down once: another hash would move examples out of holdouts that were never looked at."""
    told = "".join(splitting.split_of(NewExample(inputs={"q": str(n)}), SHARES)[0] for n in range(40))
    assert told == EXPECTED


EXPECTED = "thhttthtdtthddtdhhtttthdtthdtttthdtthhtt"


async def sealed(kit, make, count: int = 60) -> str:
    await kit.datasets.create(kit.caller(), ME, examples=make(count))
    return (await kit.datasets.version(kit.caller(), ME)).id


async def test_a_look_gives_the_holdout_once_a_run_and_is_written_down(kit, make) -> None:
    version_id = await sealed(kit, make)
    version = await kit.datasets.find(version_id)
    before = len(await kit.leaves())
    found = await kit.datasets.open_holdout(version_id, prompt="answer", run="run-1", alpha=0.02)
    assert len(found) == version.counts["holdout"]
    assert {one.split for one in found} == {"holdout"}
    again = await kit.datasets.open_holdout(version_id, prompt="answer", run="run-1", alpha=0.02)
    assert again == found
    looks = await kit.datasets.looks(kit.caller(), ME)
    assert [(one.prompt, one.run, one.alpha, one.spent, one.examples) for one in looks] == [
        ("answer", "run-1", 0.02, 0.02, len(found))
    ]
    leaves = (await kit.leaves())[before:]
    assert [leaf.action for leaf in leaves] == ["datasets:look"]
    assert leaves[0].facts["alpha_ppm"] == 20_000
    assert (await kit.datasets.find(version_id)).used_at is not None
    assert await kit.datasets.alpha_left(version_id, "answer") == pytest.approx(0.03)
    with pytest.raises(Conflict, match="alpha"):
        await kit.datasets.open_holdout(version_id, prompt="answer", run="run-1", alpha=0.01)


async def test_alpha_is_spent_and_then_there_is_no_more(kit, make) -> None:
    version_id = await sealed(kit, make)
    for number in range(5):
        await kit.datasets.open_holdout(version_id, prompt="answer", run=f"run-{number}", alpha=0.01)
    with pytest.raises(HoldoutSpent, match=r"spent 0\.05 of 0\.05") as caught:
        await kit.datasets.open_holdout(version_id, prompt="answer", run="run-5", alpha=0.01)
    assert caught.value.code == "holdout_spent"
    assert len(await kit.datasets.looks(kit.caller(), ME)) == 5
    # Another prompt has an alpha of its own; and what was looked at may be looked at again.
    await kit.datasets.open_holdout(version_id, prompt="other", run="run-6", alpha=0.05)
    await kit.datasets.open_holdout(version_id, prompt="answer", run="run-4", alpha=0.01)
    for wrong in (0, -0.1, 0.06, float("nan")):
        with pytest.raises(Invalid):
            await kit.datasets.open_holdout(version_id, prompt="third", run="r", alpha=wrong)


async def test_looks_at_the_same_moment_do_not_exceed_it(kit, make) -> None:
    version_id = await sealed(kit, make)
    looks = [kit.datasets.open_holdout(version_id, prompt="p", run=f"r{n}", alpha=0.01) for n in range(12)]
    done = await asyncio.gather(*looks, return_exceptions=True)
    assert sum(isinstance(one, HoldoutSpent) for one in done) == 7
    assert sum(isinstance(one, tuple) for one in done) == 5


async def test_a_dataset_with_an_example_more_is_no_new_holdout(kit, make) -> None:
    version_id = await sealed(kit, make, 100)
    await kit.datasets.open_holdout(version_id, prompt="p", run="r1", alpha=0.05)
    bigger = await kit.datasets.add_version(kit.caller(), ME, make(10, 1_000), base=1)
    assert bigger.holdout_digest != (await kit.datasets.find(version_id)).holdout_digest
    left = await kit.datasets.alpha_left(bigger.id, "p")
    old, new = (await kit.datasets.find(version_id)).counts["holdout"], bigger.counts["holdout"]
    assert new > old
    assert left == pytest.approx(0.05 - 0.05 * old / new)
    with pytest.raises(HoldoutSpent):
        await kit.datasets.open_holdout(bigger.id, prompt="p", run="r2", alpha=0.05)
    # A copy under another name, its texts respaced, is the same holdout; fresh examples are not.
    copy = [
        msgspec.structs.replace(one, inputs={"question": one.inputs["question"].upper() + " "}) for one in make(100)
    ]
    await kit.datasets.create(kit.caller(), "copy", examples=copy)
    copied = await kit.datasets.version(kit.caller(), "copy")
    assert await kit.datasets.alpha_left(copied.id, "p") == pytest.approx(0)
    fresh = await kit.datasets.add_version(kit.caller(), ME, make(100, 5_000))
    assert await kit.datasets.alpha_left(fresh.id, "p") == pytest.approx(0.05)


async def test_nothing_else_gives_out_the_holdout(kit, make) -> None:
    version_id = await sealed(kit, make)
    caller = kit.caller()
    sealed_texts = {
        one.inputs["question"] for one in await kit.datasets.open_holdout(version_id, prompt="p", run="r", alpha=0.01)
    }
    said: list[object] = []
    for call in (
        kit.datasets.examples(caller, ME, split="holdout"),
        kit.datasets.load(version_id, ("train", "holdout")),
        kit.datasets.load(version_id, ["holdout"]),
    ):
        with pytest.raises(Denied, match="sealed") as caught:
            await call
        said.append(caught.value.sentence)
    said += [
        await kit.datasets.list(caller),
        await kit.datasets.show(caller, ME),
        await kit.datasets.versions(caller, ME),
        await kit.datasets.examples(caller, ME, limit=500),
        await kit.datasets.load(version_id),
        await kit.datasets.leakage(caller, ME),
        await kit.datasets.leaks(version_id, text="\n".join(sealed_texts)),
        await kit.datasets.looks(caller, ME),
        await kit.leaves(),
    ]
    try:
        await kit.datasets.add_version(caller, ME, make(1), without=["0" * 32], base=1)
    except OstinatoError as error:
        said.append(error.sentence)
    told = repr(said)
    assert not [text for text in sealed_texts if text in told]


async def test_a_dataset_without_holdout_cannot_be_looked_at(kit, make) -> None:
    await kit.datasets.create(kit.caller(), ME, shares=Shares(train=1, dev=0, holdout=0), examples=make(5))
    version = await kit.datasets.version(kit.caller(), ME)
    with pytest.raises(Invalid, match="no holdout"):
        await kit.datasets.open_holdout(version.id, prompt="p", run="r", alpha=0.01)
