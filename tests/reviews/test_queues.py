"""Queues and items: what can be declared, who gets what, what verdicts come to."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from review_kit import ALICE, ALICE_AGAIN, BOB, CAROL, DAN, PROJECT, STRANGER, Process, caller, item, pair, said

from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached, NotFound, OstinatoError
from ostinato.reviews import Criterion, Declaration, Sampling, Settings, tables
from ostinato.reviews.model import Item, Task
from ostinato.reviews.reviews import Reviews

RUBRIC = (
    Criterion(name="topic", labels=("cards", "loans"), reference=True),
    Criterion(name="tone", range=(1.0, 5.0)),
    Criterion(name="note", required=False),
)
FULL: dict[str, str | float] = {"topic": "cards", "tone": 4.0, "note": "well said"}


async def taken(reviews: Reviews, who: Any, name: str = "q") -> Task:
    task = await reviews.next(who, name)
    assert task is not None
    return task


def test_the_tables_are_those_of_the_migration(one: Process, schema_drift: Callable[..., Any]) -> None:
    assert schema_drift(one.database, tables.metadata) == []


async def test_from_an_item_to_its_outcome(one: Process) -> None:
    reviews = one.reviews
    await reviews.declare(ALICE, "q", Declaration(criteria=RUBRIC, reviews_required=2))
    (put,) = await reviews.put(ALICE, "q", [item("an answer", author="principal:alice", origin_ref="run 1")])
    assert await reviews.next(ALICE, "q") is None, "her own work"
    with pytest.raises(Denied):
        await reviews.take(ALICE, put.id)
    task = await taken(reviews, BOB)
    assert task.item == put.id and task.content is not None and task.about is None
    assert [one.text for one in task.content.outputs] == ["an answer"] and not task.content.outputs[0].name, "blind"
    again = await taken(reviews, BOB)
    assert again.item == put.id and again.until == task.until, "what is in hand comes first, and no second time"
    after = await reviews.decide(BOB, put.id, said(values=FULL, comment="fine"))
    assert (after.state, after.given, after.needed) == ("open", 1, 2)
    assert await reviews.next(BOB, "q") is None
    with pytest.raises(Conflict, match="already"):
        await reviews.take(BOB, put.id)
    hers = await taken(reviews, CAROL)
    assert hers.verdicts == (), "blind: what others said is not seen"
    done = await reviews.decide(CAROL, put.id, said("reject", values={**FULL, "topic": "loans"}))
    assert (done.state, done.outcome) == ("done", "reject"), "of a draw, the most severe"
    seen = await reviews.show(DAN, put.id)
    assert len(seen.verdicts) == 2 and seen.about is not None and seen.about.origin_ref == "run 1"
    assert {one.values["note"] for one in seen.verdicts} == {"well said"}
    expected = ["declare", "put", "take", "decide", "take", "decide"]
    assert one.leaves() == [f"reviews:{verb}" for verb in expected], "one leaf a change, none for a look"
    sealed = one.rows(tables.item)[0]["sealed"]
    assert b"an answer" not in sealed and b"question" not in sealed


async def test_two_keys_of_one_person_are_one_reviewer(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(reviews_required=2))
    (put,) = await one.reviews.put(BOB, "q", [item()])
    await one.reviews.take(ALICE, put.id)
    await one.reviews.decide(ALICE_AGAIN, put.id, said())
    assert await one.reviews.next(ALICE, "q") is None


async def test_reservations_run_out_by_the_clock(one: Process, other: Process, clock: ManualClock) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(reservation_seconds=60))
    (put,) = await one.reviews.put(ALICE, "q", [item()])
    await taken(one.reviews, BOB)
    assert await other.reviews.next(CAROL, "q") is None
    with pytest.raises(Conflict, match="in their hands"):
        await other.reviews.take(CAROL, put.id)
    clock.advance(61)
    assert (await taken(other.reviews, CAROL)).item == put.id
    with pytest.raises(Conflict, match="time is over"):
        await one.reviews.decide(BOB, put.id, said())
    await other.reviews.give_back(CAROL, put.id)
    done = await one.reviews.decide(BOB, put.id, said())
    assert done.state == "done", "late, and the seat was still free: the work is not lost"


async def test_a_verdict_needs_a_free_seat_not_a_reservation(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration())
    first, second = await one.reviews.put(ALICE, "q", [item("a", author="principal:bob"), item("b")])
    with pytest.raises(Denied):
        await one.reviews.decide(BOB, first.id, said())
    await one.reviews.take(CAROL, second.id)
    with pytest.raises(Conflict, match="in their hands"):
        await one.reviews.decide(BOB, second.id, said())
    with pytest.raises(Conflict, match="not taken"):
        await one.reviews.give_back(BOB, second.id)
    await one.reviews.give_back(CAROL, second.id)
    assert (await one.reviews.decide(BOB, second.id, said())).state == "done"
    assert one.leaves()[-3:] == ["reviews:take", "reviews:return", "reviews:decide"]


@pytest.mark.parametrize(
    ("verdict", "field"),
    [
        (said("splendid", values=FULL), "decision"),
        (said("first", values=FULL), "decision"),
        (said("edit", values=FULL), "edited"),
        (said("approve", edited="x", values=FULL), "edited"),
        (said("edit", edited="  ", values=FULL), "edited"),
        (said(values={"topic": "cards"}), "values.tone"),
        (said(values={**FULL, "topic": "cars"}), "values.topic"),
        (said(values={**FULL, "tone": 6.0}), "values.tone"),
        (said(values={**FULL, "tone": "4"}), "values.tone"),
        (said(values={**FULL, "tone": float("nan")}), "values.tone"),
        (said(values={**FULL, "note": 7.0}), "values.note"),
        (said(values={**FULL, "more": 7.0}), "values.more"),
        (said(values=FULL, seconds=-1), "seconds"),
        (said(values=FULL, comment="x" * 20_000), "comment"),
    ],
)
async def test_a_verdict_must_fit_the_rubric(one: Process, verdict: Any, field: str) -> None:
    if one.database.dialect != "sqlite":
        pytest.skip("judged before the database is asked")
    await one.reviews.declare(ALICE, "q", Declaration(criteria=RUBRIC))
    (put,) = await one.reviews.put(ALICE, "q", [item()])
    await one.reviews.take(BOB, put.id)
    with pytest.raises(Invalid) as caught:
        await one.reviews.decide(BOB, put.id, verdict)
    assert caught.value.param == field
    assert (await one.reviews.decide(BOB, put.id, said(values=FULL))).state == "done", "the item is still in hand"


@pytest.mark.parametrize(
    "declared",
    [
        Declaration(reviews_required=0),
        Declaration(reviews_required=21),
        Declaration(reservation_seconds=0),
        Declaration(due_seconds=0.5),
        Declaration(mode="pairwise", default_outcome="approve"),
        Declaration(criteria=(Criterion(name="x"), Criterion(name="x"))),
        Declaration(criteria=(Criterion(name="x", labels=("a",)),)),
        Declaration(criteria=(Criterion(name="x", labels=("a", "b"), range=(0, 1)),)),
        Declaration(criteria=(Criterion(name="x", range=(1, 1)),)),
        Declaration(criteria=(Criterion(name="x", range=(0, float("inf"))),)),
        Declaration(criteria=(Criterion(name="x", reference=True), Criterion(name="y", reference=True))),
        Declaration(sampling=Sampling(random=1.5)),
        Declaration(sampling=Sampling(least_confident=float("nan"))),
        Declaration(title="x" * 500),
    ],
)
async def test_what_cannot_be_a_queue_is_refused(one: Process, declared: Declaration) -> None:
    if one.database.dialect != "sqlite":
        pytest.skip("judged before the database is asked")
    with pytest.raises(Invalid) as caught:
        await one.reviews.declare(ALICE, "q", declared)
    assert caught.value.param
    with pytest.raises(Invalid):
        await one.reviews.declare(ALICE, "Not a name", Declaration())
    assert one.leaves() == []


async def test_queues_are_versioned_and_closed(one: Process) -> None:
    first = await one.reviews.declare(ALICE, "q", Declaration(), version=0)
    with pytest.raises(Conflict):
        await one.reviews.declare(BOB, "q", Declaration(title="b"), version=0)
    with pytest.raises(Conflict, match="single"):
        await one.reviews.declare(BOB, "q", Declaration(mode="pairwise"))
    await one.reviews.put(ALICE, "q", [item()])
    second = await one.reviews.declare(BOB, "q", Declaration(closed=True), version=first.version)
    assert second.version == 2 and second.id == first.id
    with pytest.raises(Conflict, match="closed"):
        await one.reviews.put(ALICE, "q", [item("more")])
    with pytest.raises(Conflict, match="closed"):
        await one.reviews.next(BOB, "q")


async def test_an_item_is_there_once_and_bounded(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration())
    first = await one.reviews.put(ALICE, "q", [item("x", origin_ref="run"), item("y", origin_ref="run")])
    again = await one.reviews.put(BOB, "q", [item("y", origin_ref="run"), item("z", origin_ref="run")])
    assert again[0].id == first[1].id and len(one.rows(tables.item)) == 3
    for wrong in (
        item("x" * 300_000, mark="x"),
        pair("a", "b"),
        item(weight=0.0),
        item(weight=1.5),
        item(why=("x",) * 50),
    ):
        with pytest.raises(Invalid):
            await one.reviews.put(ALICE, "q", [wrong])
    with pytest.raises(Invalid):
        await one.reviews.put(ALICE, "q", [])
    assert len(one.rows(tables.item)) == 3
    url = one.database.url.render_as_string(hide_password=False)
    small = Process(url, one.clock, settings=Settings(open_items=3))
    with pytest.raises(LimitReached):
        await small.reviews.put(ALICE, "q", [item("another")])
    small.database.close()


async def test_priority_then_due_then_age(one: Process, clock: ManualClock) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(reservation_seconds=1))
    for text, priority in (("low", -1), ("first", 5), ("second", 5), ("plain", 0)):
        await one.reviews.put(ALICE, "q", [item(text, priority=priority)])
        clock.advance(0.01)
    order: list[str] = []
    for _ in range(4):
        task = await taken(one.reviews, BOB)
        assert task.content is not None
        order.append(task.content.outputs[0].text)
        await one.reviews.decide(BOB, task.item, said())
    assert order == ["first", "second", "plain", "low"]


async def test_escalated_items_are_looked_at_by_one_more(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration())
    plain, hard = await one.reviews.put(ALICE, "q", [item("plain", priority=9), item("hard")])
    await one.reviews.take(BOB, hard.id)
    after = await one.reviews.decide(BOB, hard.id, said("escalate", comment="no idea"))
    assert (after.state, after.needed, after.escalated) == ("open", 2, True)
    assert (await taken(one.reviews, CAROL)).item == hard.id, "it goes before all others"
    done = await one.reviews.decide(CAROL, hard.id, said("approve"))
    assert (done.state, done.outcome) == ("done", "approve")
    state = await one.reviews.queue(ALICE, "q")
    assert (state.counts.open, state.counts.done, state.counts.verdicts) == (1, 1, 2)
    assert plain.id


async def test_pairs_are_blinded_and_shown_in_an_order_of_each_reviewer(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(mode="pairwise", reviews_required=20))
    (put,) = await one.reviews.put(ALICE, "q", [pair("old", "new")])
    people = [caller(f"person {number}") for number in range(20)]
    orders: set[bool] = set()
    for who in people:
        task = await one.reviews.take(who, put.id)
        assert task.content is not None
        texts = [output.text for output in task.content.outputs]
        assert sorted(texts) == ["new", "old"] and not any(output.name for output in task.content.outputs)
        orders.add(texts == ["new", "old"])
        assert (await one.reviews.show(who, put.id)).content == task.content, "the same order each time"
        word = "first" if texts[0] == "new" else "second"
        done = await one.reviews.decide(who, put.id, said(word))
    assert orders == {True, False}
    assert (done.state, done.outcome) == ("done", "b"), "everybody preferred the second, wherever they saw it"
    swapped = {row["swapped"] for row in one.rows(tables.verdict)}
    assert swapped == {True, False}


REVIEWER = frozenset({"reviews:read", "reviews:decide", "projects:read"})


async def test_where_a_blind_item_comes_from_is_nowhere_told_to_who_judges_it(one: Process) -> None:
    rita, omar = (msgspec.structs.replace(caller(name), permissions=REVIEWER) for name in ("rita", "omar"))
    looks = msgspec.structs.replace(caller("looks"), permissions=frozenset({"reviews:read", "projects:read"}))
    told = {"origin_ref": "run 1", "prompt": "bank/topic", "prompt_version": 7, "author": "principal:alice"}
    more = {**told, "why": ("disagreement",), "evidence": {"judge": 0.1}, "request_id": "r", "entry": "e"}
    await one.reviews.declare(ALICE, "blind", Declaration(reviews_required=2))
    await one.reviews.declare(ALICE, "seen", Declaration(blind=False))
    (hidden,) = await one.reviews.put(ALICE, "blind", [item(**more)])
    await one.reviews.put(ALICE, "seen", [item(**more)])

    def says(found: Item) -> bool:
        values = [getattr(found, name) for name in more]
        assert all(values) or not any(values), found
        return all(values)

    assert [says(found) for found in await one.reviews.list(rita, queue="blind")] == [False]
    assert [says(found) for found in await one.reviews.list(rita, queue="seen")] == [True]
    assert [says(found) for found in await one.reviews.list(ALICE)] == [True, True], "she has put it there"
    assert [says(found) for found in await one.reviews.list(looks)] == [True, True], "it judges nothing"
    await one.reviews.take(rita, hidden.id)
    assert not says(await one.reviews.give_back(rita, hidden.id))
    assert not says(await one.reviews.decide(rita, hidden.id, said()))
    await one.reviews.take(omar, hidden.id)
    assert says(await one.reviews.decide(omar, hidden.id, said())), "it is decided"
    assert [says(found) for found in await one.reviews.list(rita, queue="blind")] == [True]


async def test_ones_own_word_on_a_pair_is_told_as_it_was_said(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(mode="pairwise", reviews_required=20))
    (put,) = await one.reviews.put(ALICE, "q", [pair("old", "new")])
    people = [caller(f"person {number}") for number in range(20)]
    for number, who in enumerate(people[:-1]):
        word = ("first", "second", "tie")[number % 3]
        await one.reviews.decide(who, put.id, said(word))
        (verdict,) = (await one.reviews.show(who, put.id)).verdicts
        assert (verdict.decision, verdict.swapped) == (word, False), "which is the first is not told by it"
    await one.reviews.decide(people[-1], put.id, said("tie"))
    over = await one.reviews.show(people[0], put.id)
    assert {verdict.decision for verdict in over.verdicts} == {"a", "b", "tie"}
    assert over.content is not None and [output.text for output in over.content.outputs] == ["old", "new"]


async def test_due_items_come_to_their_default(one: Process, clock: ManualClock) -> None:
    await one.reviews.declare(ALICE, "strict", Declaration(due_seconds=60, default_outcome="reject"))
    await one.reviews.declare(ALICE, "open", Declaration(due_seconds=60))
    (strict,) = await one.reviews.put(ALICE, "strict", [item()])
    (lasting,) = await one.reviews.put(ALICE, "open", [item()])
    await one.reviews.take(BOB, strict.id)
    await one.reviews.take(BOB, lasting.id)
    clock.advance(61)
    assert {one.id for one in await one.reviews.list(ALICE, overdue=True)} == {strict.id, lasting.id}
    with pytest.raises(Conflict, match="default"):
        await one.reviews.decide(BOB, strict.id, said())
    assert await one.reviews.next(CAROL, "strict") is None
    assert await one.reviews.sweep() == 1
    assert await one.reviews.sweep() == 0
    found = {one.id: one for one in await one.reviews.list(ALICE)}
    assert (found[strict.id].state, found[strict.id].outcome) == ("expired", "reject")
    assert found[lasting.id].state == "open"
    assert (await one.reviews.decide(BOB, lasting.id, said())).state == "done"


async def test_what_others_have_is_not_there(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration())
    (put,) = await one.reviews.put(ALICE, "q", [item()])
    for asked in (
        one.reviews.next(STRANGER, "q"),
        one.reviews.next(STRANGER, "q", project=PROJECT),
        one.reviews.take(STRANGER, put.id),
        one.reviews.show(STRANGER, put.id),
        one.reviews.decide(STRANGER, put.id, said()),
        one.reviews.withdraw(STRANGER, put.id),
        one.reviews.erase(STRANGER, item=put.id),
        one.reviews.queue(STRANGER, "q"),
        one.reviews.show(ALICE, "no id"),
        one.reviews.queue(ALICE, "nothing"),
    ):
        with pytest.raises(NotFound):
            await asked
    assert await one.reviews.list(STRANGER) == []
    reader, writer = caller("reader", without="reviews:decide"), caller("writer", without="reviews:write")
    for asked in (
        one.reviews.next(reader, "q"),
        one.reviews.show(reader, put.id),
        one.reviews.as_examples(reader, "q"),
        one.reviews.declare(writer, "p", Declaration()),
        one.reviews.put(writer, "q", [item("b")]),
        one.reviews.withdraw(writer, put.id),
        one.reviews.erase(writer, item=put.id),
    ):
        with pytest.raises(Denied):
            await asked


async def test_texts_can_be_erased_and_grow_old(one: Process, clock: ManualClock) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(criteria=(Criterion(name="note"),)))
    items = await one.reviews.put(
        ALICE, "q", [item("one", subject="user 1", request_id="r1"), item("two", subject="user 1"), item("three")]
    )
    for put in items:
        await one.reviews.take(BOB, put.id)
        await one.reviews.decide(BOB, put.id, said("edit", edited="better", values={"note": "secret"}, comment="hm"))
    assert await one.reviews.erase(ALICE, subject="user 1") == 2
    shown = await one.reviews.show(CAROL, items[0].id)
    assert shown.content is None and shown.digest == items[0].digest
    assert shown.verdicts[0].comment == "" and shown.verdicts[0].edited is None and shown.verdicts[0].values == {}
    assert shown.verdicts[0].decision == "edit", "what was decided stays"
    assert [one.source for one in await one.reviews.as_examples(ALICE, "q")] == [f"review:{items[2].id}"]
    with pytest.raises(NotFound):
        await one.reviews.erase(ALICE, subject="user 1")
    with pytest.raises(Invalid):
        await one.reviews.erase(ALICE, subject="x", item=items[0].id)
    clock.advance(89 * 86_400)
    assert await one.reviews.sweep() == 0
    clock.advance(2 * 86_400)
    assert await one.reviews.sweep() == 1
    assert (await one.reviews.show(CAROL, items[2].id)).content is None
    assert one.leaves()[-1] == "reviews:expire-texts"


async def test_a_rejected_answer_leaves_the_cache_whatever_happens_on_the_way(one: Process) -> None:
    asked: list[str] = []
    told: list[tuple[str, int]] = []

    async def fail(_: Any) -> None:
        raise OSError

    async def withdraw(found: Any) -> None:
        asked.append(found.entry)

    one.reviews.told = lambda found, verdicts: told.append((found.outcome, len(verdicts)))
    one.reviews.quarantine = fail
    await one.reviews.declare(ALICE, "q", Declaration())
    items = await one.reviews.put(ALICE, "q", [item("bad", entry="abc"), item("good", entry="def"), item("fresh")])
    for put, word in zip(items, ("reject", "approve", "reject"), strict=True):
        await one.reviews.take(BOB, put.id)
        await one.reviews.decide(BOB, put.id, said(word))
    assert told == [("reject", 1), ("approve", 1), ("reject", 1)]
    one.reviews.quarantine = withdraw
    assert await one.reviews.sweep() == 1 and asked == ["abc"]
    assert await one.reviews.sweep() == 0


async def test_withdrawn_items_are_over(one: Process) -> None:
    await one.reviews.declare(ALICE, "q", Declaration())
    (put,) = await one.reviews.put(ALICE, "q", [item()])
    await one.reviews.take(BOB, put.id)
    assert (await one.reviews.withdraw(ALICE, put.id, "twice")).state == "withdrawn"
    for asked in (one.reviews.decide(BOB, put.id, said()), one.reviews.take(CAROL, put.id)):
        with pytest.raises(Conflict):
            await asked
    with pytest.raises(Conflict):
        await one.reviews.withdraw(ALICE, put.id)


async def test_many_at_once_on_two_processes(one: Process, other: Process) -> None:
    """Ten reviewers, two processes, everything at the same time: each item has its two verdicts and no third."""
    await one.reviews.declare(ALICE, "q", Declaration(reviews_required=2))
    await one.reviews.put(ALICE, "q", [item(f"answer {number}") for number in range(12)])
    people = [caller(f"person {number}") for number in range(10)]
    given = 0

    async def work(who: Any, process: Process) -> None:
        nonlocal given
        for _ in range(30):
            try:
                task = await process.reviews.next(who, "q")
                if task is None:
                    return
                await process.reviews.decide(who, task.item, said())
                given += 1
            except OstinatoError as error:
                assert error.code in ("storage_busy", "conflict", "version_moved", "storage_failed"), error
                await asyncio.sleep(0.01)

    for _ in range(3):
        await asyncio.gather(*(work(who, (one, other)[at % 2]) for at, who in enumerate(people)))
    assert given == 24
    state = await one.reviews.queue(ALICE, "q")
    assert (state.counts.open, state.counts.done, state.counts.verdicts, state.counts.reserved) == (0, 12, 24, 0)


async def test_the_filter_by_origin_tells_nothing_of_a_blind_item(one: Process) -> None:
    rita = msgspec.structs.replace(caller("rita"), permissions=REVIEWER)
    await one.reviews.declare(ALICE, "blind", Declaration())
    await one.reviews.declare(ALICE, "seen", Declaration(blind=False))
    (hidden,) = await one.reviews.put(ALICE, "blind", [item(origin_ref="run 1")])
    (shown,) = await one.reviews.put(ALICE, "seen", [item(origin_ref="run 1")])

    async def found(who: Any, origin: str) -> set[str]:
        return {one.id for one in await one.reviews.list(who, origin_ref=origin)}

    assert await found(ALICE, "run 1") == {hidden.id, shown.id}, "she has put them there"
    assert await found(rita, "run 1") == {shown.id} and await found(rita, "run 2") == set()
    assert await found(rita, "") == {hidden.id, shown.id}
    await one.reviews.decide(rita, hidden.id, said())
    assert await found(rita, "run 1") == {hidden.id, shown.id}, "it is decided"


async def test_time_in_hand_is_work_also_where_it_was_handed_back(one: Process, clock: ManualClock) -> None:
    await one.reviews.declare(ALICE, "q", Declaration(reviews_required=3))
    (put,) = await one.reviews.put(ALICE, "q", [item()])

    async def hold(who: Any, seconds: float) -> None:
        await one.reviews.take(who, put.id)
        clock.advance(seconds)
        await one.reviews.give_back(who, put.id)

    await hold(BOB, 40)
    with pytest.raises(Conflict, match="not taken"):
        await one.reviews.give_back(BOB, put.id)
    clock.advance(1_000)
    await one.reviews.decide(BOB, put.id, said())
    await hold(CAROL, 20)
    clock.advance(1_000)
    await one.reviews.take(CAROL, put.id)
    clock.advance(5)
    await one.reviews.decide(CAROL, put.id, said())
    await one.reviews.decide(DAN, put.id, said())
    assert [row["seconds"] for row in sorted(one.rows(tables.verdict), key=lambda row: row["at"])] == [40, 25, 0]
    assert one.rows(tables.reservation) == []
