"""What verdicts come to: figures, examples, labels for judges, evidence."""

from typing import Any

import pytest
from review_kit import ALICE, BOB, CAROL, DAN, Process, item, pair, said

from ostinato.reviews import Content, Criterion, Declaration, Output
from ostinato.reviews.verdicts import outcome_of

TOPIC = Criterion(name="topic", labels=("cards", "loans"))


@pytest.mark.parametrize(
    ("said_of_it", "outcome"),
    [
        (["approve"], "approve"),
        (["approve", "reject"], "reject"),
        (["approve", "edit"], "edit"),
        (["approve", "approve", "reject"], "approve"),
        (["escalate", "approve"], "approve"),
        (["escalate"], "escalate"),
        (["a", "b"], "tie"),
        (["a", "b", "b"], "b"),
        (["a", "tie"], "tie"),
        (["neither", "a", "neither"], "neither"),
    ],
)
def test_outcomes(said_of_it: list[str], outcome: str) -> None:
    assert outcome_of(said_of_it) == outcome
    assert outcome_of(said_of_it[::-1]) == outcome


async def judged(one: Process, words: list[tuple[Any, Any]], declared: Declaration, **more: Any) -> list[str]:
    """Items, each judged by Bob and Carol."""
    await one.reviews.declare(ALICE, "q", declared)
    found: list[str] = []
    for number, both in enumerate(words):
        extra = {name: value[number] if isinstance(value, list) else value for name, value in more.items()}
        (made,) = await one.reviews.put(ALICE, "q", [item(f"answer {number}", origin_ref="run", **extra)])
        for who, word in zip((BOB, CAROL), both, strict=True):
            await one.reviews.take(who, made.id)
            await one.reviews.decide(who, made.id, word)
        found.append(made.id)
    return found


async def test_agreement_and_shares(one: Process) -> None:
    values = [("cards", "cards"), ("cards", "cards"), ("loans", "loans"), ("loans", "loans"), ("cards", "loans")]
    words = [
        (said("approve", values={"topic": first}), said("approve", values={"topic": second}))
        for first, second in values
    ]
    words[4] = (said("reject", values={"topic": "cards"}), said("reject", values={"topic": "loans"}))
    declared = Declaration(reviews_required=2, criteria=(TOPIC,))
    await judged(one, words, declared, weight=[1.0, 1.0, 0.5, 0.5, 0.1])
    figures = await one.reviews.figures(ALICE, "q")
    assert figures.items == 5 and figures.outcomes == {"approve": 4, "reject": 1}
    shares = {share.name: share for share in figures.shares}
    assert shares["approve"].seen == pytest.approx(0.8)
    assert shares["approve"].estimate == pytest.approx((1 + 1 + 2 + 2) / (1 + 1 + 2 + 2 + 10))
    assert shares["approve"].low <= shares["approve"].estimate <= shares["approve"].high
    decision, topic = figures.agreement
    assert (decision.criterion, decision.krippendorff) == ("decision", pytest.approx(1.0))
    # Both say cards 3 and 2 times of 5: chance is 0.6*0.4 + 0.4*0.6 = 0.48.
    assert topic.cohen == pytest.approx((0.8 - 0.48) / (1 - 0.48))
    assert topic.items == 5 and topic.reviewers == 2 and topic.fleiss is not None
    assert topic.cohen_interval is not None and topic.cohen_interval[0] <= topic.cohen <= topic.cohen_interval[1]


@pytest.mark.parametrize(("count", "bound"), [(1, 0.975), (4, 0.6024), (10, 0.3085)])
async def test_what_a_few_items_all_say_is_not_what_all_would_say(one: Process, count: int, bound: float) -> None:
    await judged(one, [(said(), said())] * count, Declaration(reviews_required=2))
    shares = {share.name: share for share in (await one.reviews.figures(ALICE, "q")).shares}
    # Clopper and Pearson's: 0.025 = (1 - bound) ** count.
    assert (shares["reject"].low, shares["reject"].high) == (0.0, pytest.approx(bound, abs=1e-4))
    assert (shares["approve"].low, shares["approve"].high) == (pytest.approx(1 - bound, abs=1e-4), 1.0)


async def test_examples(one: Process) -> None:
    words = [
        (said("approve"), said("approve")),
        (said("edit", edited="bad"), said("edit", edited="better")),
        (said("reject"), said("reject")),
    ]
    ids = await judged(one, words, Declaration(reviews_required=2), stratum="s", group="g", subject="user-1")
    found = {example.source: example for example in await one.reviews.as_examples(ALICE, "q")}
    assert set(found) == {f"review:{ids[0]}", f"review:{ids[1]}"}
    first = found[f"review:{ids[0]}"]
    assert (first.inputs, first.reference) == ({"input": "a question"}, "answer 0")
    assert (first.stratum, first.group) == ("s", "g")
    assert first.metadata["subject"] == "user-1", "an erasure finds it in the dataset, too"
    assert found[f"review:{ids[1]}"].reference == "better"


async def test_the_rubric_may_say_what_is_right(one: Process) -> None:
    declared = Declaration(reviews_required=2, criteria=(Criterion(name="topic", labels=("x", "y"), reference=True),))
    same, other = ({"topic": "x"}, {"topic": "x"}), ({"topic": "x"}, {"topic": "y"})
    words = [(said("reject", values=a), said("reject", values=b)) for a, b in (same, other)]
    content = Content(inputs={"text": "hello"}, outputs=(Output(text="z"),))
    ids = await judged(one, words, declared, content=content)
    (found,) = await one.reviews.as_examples(ALICE, "q")
    assert (found.inputs, found.reference, found.source) == ({"text": "hello"}, "x", f"review:{ids[0]}")


async def test_labels_for_judges(one: Process) -> None:
    words = [(said("approve"), said("approve")), (said("reject"), said("approve")), (said("approve"), said("approve"))]
    evidence = [{"judge": 0.9}, {"judge": 0.2}, {"judge": 7.0}]
    await judged(one, words, Declaration(reviews_required=2), evidence=evidence)
    pairs = await one.reviews.calibration(ALICE, "q", "judge")
    assert sorted((pair.judge, pair.human) for pair in pairs) == [(0.2, 0.0), (0.9, 1.0)]


async def test_evidence_waits_for_all_and_is_bound_to_what_was_said(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration())
    items = await one.reviews.put(ALICE, "q", [item(f"answer {n}", origin_ref="run 1") for n in range(4)])
    await one.reviews.put(ALICE, "q", [item("of another run", origin_ref="run 2")])
    digests: set[str] = set()
    for made in items:
        before = await one.reviews.evidence(ALICE, "q", origin_ref="run 1", least=0.7)
        assert not before.passed, "as long as something is open"
        digests.add(before.digest)
        await one.reviews.decide(BOB, made.id, said("reject" if made is items[0] else "approve"))
    told = await one.reviews.evidence(ALICE, "q", origin_ref="run 1", least=0.7)
    assert told.passed and told.name == "human-review"
    assert told.facts["items"] == 4 and told.facts["accepted"] == pytest.approx(0.75) and told.facts["open"] == 0
    assert len(digests | {told.digest}) == 5
    strict = await one.reviews.evidence(ALICE, "q", origin_ref="run 1", least=0.8)
    assert not strict.passed and strict.digest == told.digest
    assert not (await one.reviews.evidence(ALICE, "q", origin_ref="nothing")).passed


async def test_in_pairs_as_good_is_accepted(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(mode="pairwise"))
    items = await one.reviews.put(ALICE, "q", [pair(f"old {n}", f"new {n}", origin_ref="run") for n in range(3)])
    for who, made in zip((BOB, CAROL, DAN), items, strict=True):
        task = await one.reviews.take(who, made.id)
        assert task.content is not None
        new_first = task.content.outputs[0].text.startswith("new")
        word = "tie" if made is items[0] else "first" if new_first else "second"
        await one.reviews.decide(who, made.id, said(word))
    told = await one.reviews.summary(ALICE, "q", origin_ref="run")
    assert told.accepted is not None and told.accepted.estimate == 1.0
    examples = await one.reviews.as_examples(ALICE, "q")
    assert sorted(str(example.reference) for example in examples) == ["new 1", "new 2"]
