"""Leakage: what is nearly the same, and what a candidate gives away. Findings never tell what is sealed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.datasets import Example, Shares, likeness

TEXT = "the invoice of march was paid twice by card and nobody answers my calls about it since monday please help"
WORDS = TEXT.split()


def sentence(random_: random.Random, length: int = 12) -> str:
    return " ".join(random_.choice(WORDS) + str(random_.randrange(50)) for _ in range(length))


def example(number: int, split: str, question: str, **fields) -> Example:
    return Example(id=f"{number:032x}", digest="", split=split, inputs={"question": question}, **fields)


def slowly(texts: list[str], near: float) -> set[tuple[int, int]]:
    runs = likeness.runs(texts)
    return {
        (a, b)
        for a in range(len(texts))
        for b in range(a + 1, len(texts))
        if min(len(runs[a]), len(runs[b])) >= 5 and len(runs[a] & runs[b]) >= near * len(runs[a] | runs[b])
    }


@given(st.integers(0, 10_000), st.sampled_from([0.6, 0.8, 0.95]))
def test_pairs_are_those_of_comparing_all_with_all(seed: int, near: float) -> None:
    random_ = random.Random(seed)
    texts = [sentence(random_, random_.randrange(1, 12)) for _ in range(12)]
    for text in texts[:6]:
        words = text.split()
        words[random_.randrange(len(words))] = "changed"
        texts.append(" ".join(words))
    found = list(likeness.pairs(texts, near))
    assert set(found) == slowly(texts, near)
    assert len(set(found)) == len(found)


def test_what_is_nearly_the_same_across_splits_is_found() -> None:
    from ostinato.datasets import leakage

    random_ = random.Random(1)
    train = [example(n, "train", sentence(random_)) for n in range(50)]
    copied = [
        example(100 + n, "dev" if n < 2 else "holdout", one.inputs["question"] + " ok?")
        for n, one in enumerate(train[:4])
    ]
    other = [example(200 + n, "dev" if n % 2 else "holdout", sentence(random_)) for n in range(200)]
    (finding,) = leakage.check([*train, *copied, *other])
    assert (finding.kind, finding.severity, finding.count) == ("near-duplicates", "warning", 4)
    assert set(finding.examples) == {one.id for one in copied[:2]}, "none of the holdout is named"
    (worse,) = leakage.check([*train, *copied])
    assert worse.severity == "error"
    assert "2 of 2 in holdout" in worse.message
    # Within one split it is no leak.
    assert not leakage.check([example(n, "train", one.inputs["question"]) for n, one in enumerate([*train, *train])])


def test_equal_inputs_across_splits_are_an_error() -> None:
    from ostinato.datasets import leakage

    same = [example(n, split, "Where is my  CARD?") for n, split in enumerate(["train", "dev", "holdout", "holdout"])]
    (finding,) = leakage.check(same)
    assert (finding.kind, finding.severity, finding.count) == ("equal-across-splits", "error", 3)


def test_what_a_candidate_gives_away_is_found() -> None:
    from ostinato.datasets import leakage

    random_ = random.Random(2)
    some = [
        example(n, split, sentence(random_), reference=f"the one and only answer number {n}")
        for n, split in enumerate(["train", "dev", "holdout"] * 5)
    ]
    labelled = [example(100 + n, "dev", sentence(random_), reference="complaint about the card") for n in range(4)]
    everything = [*some, *labelled]
    assert not leakage.check(everything, shots=[some[0].id], text=f"{some[0].inputs['question']} {some[0].reference}")
    assert not leakage.check(everything, text="The labels are: complaint about the card.")
    (shot,) = leakage.check(everything, shots=[some[0].id, some[1].id])
    assert (shot.kind, shot.count, shot.examples) == ("shot-is-scored", 1, (some[1].id,))
    (asked,) = leakage.check(everything, text=f"For example: {some[2].inputs['question'].upper()}")
    assert (asked.kind, asked.count, asked.examples) == ("input-in-candidate", 1, ())
    (told,) = leakage.check(everything, text=f"Say {some[4].reference}.")
    assert (told.kind, told.examples) == ("answer-in-candidate", (some[4].id,))
    assert {one.severity for one in (shot, asked, told)} == {"error"}


async def test_what_means_the_same_is_found_by_vectors() -> None:
    from ostinato.datasets import leakage

    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.999, 0.04471]}

    async def embed(texts):
        return [vectors[text] for text in texts]

    some = [example(1, "train", "a"), example(2, "dev", "b"), example(3, "dev", "c")]
    (finding,) = await leakage.check_meaning(some, embed)
    assert (finding.kind, finding.count, finding.examples) == ("same-meaning", 1, (some[2].id,))
    assert not await leakage.check_meaning(some[:2], embed)


async def test_a_version_is_reported_on(kit, make) -> None:
    caller = kit.caller()
    shares = Shares(train=0.5, dev=0.5, holdout=0)
    apart = [*make(20), *make(20, group="a", reference="x"), *make(20, group="b", reference="y")]
    await kit.datasets.create(caller, "d", shares=shares, examples=apart)
    found = await kit.datasets.leakage(caller, "d")
    assert [(one.kind, one.severity) for one in found] == [("equal-across-splits", "error")]


@pytest.mark.parametrize("count", [3_000])
def test_thousands_are_compared_quickly(count: int) -> None:
    random_ = random.Random(3)
    texts = [sentence(random_) for _ in range(count)]
    assert not list(likeness.pairs(texts))
