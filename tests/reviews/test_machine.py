"""Anything in any order, by several people, through two processes on one database; held against a model of it."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from review_kit import PROJECT, Process, caller, item, said

from ostinato.access import Caller
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, OstinatoError
from ostinato.reviews import Declaration, tables
from ostinato.reviews.verdicts import outcome_of

PEOPLE = [caller(name) for name in ("ann", "ben", "cem", "dot")]
OTHER_KEYS = {one.principal: caller(f"{one.key_id}-2", one.key_id) for one in PEOPLE}
SECONDS = 60
_numbers = itertools.count()


class Kept(msgspec.Struct):
    """What the model knows of an item."""

    id: str
    author: str
    priority: int
    needed: int
    words: dict[str, str] = {}
    taken: dict[str, tuple[int, int]] = {}
    """Principal -> (since, until)."""
    state: str = "open"

    def others(self, who: str, now: int) -> int:
        return sum(until > now for name, (_, until) in self.taken.items() if name != who)

    def seat(self, who: str, now: int) -> bool:
        return (
            self.state == "open"
            and who not in self.words
            and who != self.author
            and len(self.words) + self.others(who, now) < self.needed
        )


class Machine(RuleBasedStateMachine):
    one: Process
    other: Process
    clock: ManualClock
    loop: asyncio.AbstractEventLoop

    def run_now(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(reviews=st.integers(1, 3))
    def begin(self, reviews: int) -> None:
        self.name = f"q{next(_numbers)}"
        self.items: list[Kept] = []
        declared = Declaration(reviews_required=reviews, reservation_seconds=SECONDS)
        self.reviews = reviews
        self.run_now(self.one.reviews.declare(PEOPLE[0], self.name, declared))

    def process(self, second: bool) -> Process:
        return self.other if second else self.one

    def pick(self, at: int) -> Kept | None:
        return self.items[at % len(self.items)] if self.items else None

    def attempt(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.run_now(work)
        except (Conflict, Denied) as error:
            return error

    def took(self, kept: Kept, who: str) -> None:
        now = self.clock.now()
        kept.taken[who] = now, now + SECONDS * 1_000_000

    def spoke(self, kept: Kept, who: str, word: str) -> None:
        kept.words[who] = word
        kept.taken.pop(who, None)
        if word == "escalate":
            kept.needed += 1
            kept.priority += 0 if list(kept.words.values()).count("escalate") > 1 else 1_000_000
        elif len(kept.words) == kept.needed:
            kept.state = "done"
            kept.taken.clear()

    @rule(priority=st.integers(-2, 2), author=st.integers(0, 4), second=st.booleans())
    def put(self, priority: int, author: int, second: bool) -> None:
        who = PEOPLE[author].principal if author < len(PEOPLE) else ""
        wanted = item(f"answer {len(self.items)}", author=who, priority=priority)
        (made,) = self.run_now(self.process(second).reviews.put(PEOPLE[0], self.name, [wanted]))
        self.items.append(Kept(made.id, who, priority, self.reviews))
        self.clock.advance(0.01)

    @rule(who=st.sampled_from(PEOPLE), second=st.booleans())
    def take_next(self, who: Caller, second: bool) -> None:
        now, name = self.clock.now(), who.principal
        mine = [kept for kept in self.items if name in kept.taken and kept.taken[name][1] > now]
        free = [kept for kept in self.items if kept.seat(name, now)]
        task = self.run_now(self.process(second).reviews.next(who, self.name))
        if mine:
            first = min(kept.taken[name][0] for kept in mine)
            assert task.item in {kept.id for kept in mine if kept.taken[name][0] == first}
        elif not free:
            assert task is None
        else:
            most = max(kept.priority for kept in free)
            found = next(kept for kept in free if kept.id == task.item)
            assert found.priority == most and found is next(kept for kept in free if kept.priority == most)
            self.took(found, name)

    @rule(at=st.integers(0, 9), who=st.sampled_from(PEOPLE), second=st.booleans())
    def take(self, at: int, who: Caller, second: bool) -> None:
        kept = self.pick(at)
        if kept is None:
            return
        allowed = kept.seat(who.principal, self.clock.now())
        result = self.attempt(self.process(second).reviews.take(who, kept.id))
        assert isinstance(result, OstinatoError) != allowed, (kept, who.principal, result)
        if allowed:
            self.took(kept, who.principal)

    @rule(at=st.integers(0, 9), who=st.sampled_from(PEOPLE), second=st.booleans())
    def give_back(self, at: int, who: Caller, second: bool) -> None:
        kept = self.pick(at)
        if kept is None:
            return
        result = self.attempt(self.process(second).reviews.give_back(who, kept.id))
        assert isinstance(result, OstinatoError) != (who.principal in kept.taken)
        kept.taken.pop(who.principal, None)

    @rule(
        at=st.integers(0, 9),
        who=st.sampled_from(PEOPLE),
        word=st.sampled_from(["approve", "reject", "escalate"]),
        second=st.booleans(),
    )
    def decide(self, at: int, who: Caller, word: str, second: bool) -> None:
        kept = self.pick(at)
        if kept is None:
            return
        allowed = kept.seat(who.principal, self.clock.now())
        result = self.attempt(self.process(second).reviews.decide(who, kept.id, said(word)))
        assert isinstance(result, OstinatoError) != allowed, (kept, who.principal, result)
        if allowed:
            self.spoke(kept, who.principal, word)
            assert result.state == kept.state and result.needed == kept.needed
            assert result.outcome == (outcome_of(list(kept.words.values())) if kept.state == "done" else "")

    @rule(at=st.integers(0, 9), who=st.sampled_from(PEOPLE))
    def decide_twice_at_once(self, at: int, who: Caller) -> None:
        """One person with two keys, through both processes at the same moment."""
        kept = self.pick(at)
        if kept is None:
            return
        allowed = kept.seat(who.principal, self.clock.now())

        async def both() -> list[Any]:
            return await asyncio.gather(
                self.one.reviews.decide(who, kept.id, said()),
                self.other.reviews.decide(OTHER_KEYS[who.principal], kept.id, said()),
                return_exceptions=True,
            )

        results = self.run_now(both())
        assert all(not isinstance(one, Exception) or isinstance(one, Conflict | Denied) for one in results), results
        assert sum(not isinstance(one, Exception) for one in results) == allowed
        if allowed:
            self.spoke(kept, who.principal, "approve")

    @rule(at=st.integers(0, 9))
    def everybody_takes_it_at_once(self, at: int) -> None:
        kept = self.pick(at)
        if kept is None:
            return
        now = self.clock.now()

        async def all_of_them() -> list[Any]:
            asked = [self.process(bool(n % 2)).reviews.take(who, kept.id) for n, who in enumerate(PEOPLE)]
            return await asyncio.gather(*asked, return_exceptions=True)

        held = {who for who, (_, until) in kept.taken.items() if until > now}
        eligible = [
            who.principal
            for who in PEOPLE
            if kept.state == "open" and who.principal not in kept.words and who.principal != kept.author
        ]
        room = kept.needed - len(kept.words) - len(held)
        results = self.run_now(all_of_them())
        got = [who.principal for who, one in zip(PEOPLE, results, strict=True) if not isinstance(one, Exception)]
        assert all(not isinstance(one, Exception) or isinstance(one, Conflict | Denied) for one in results), results
        assert set(got) <= set(eligible) and held & set(eligible) <= set(got), "whoever has it keeps it"
        assert len(set(got) - held) == min(max(room, 0), len(set(eligible) - held))
        for who in got:
            self.took(kept, who)

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_database_is_as_the_model(self) -> None:
        if not hasattr(self, "items"):
            return
        now = self.clock.now()
        rows = {row["id"]: row for row in self.other.rows(tables.item) if row["queue"] == self.name}
        said_of: dict[str, dict[str, str]] = {}
        for row in self.other.rows(tables.verdict):
            assert row["principal"] not in said_of.setdefault(row["item_id"], {})
            said_of[row["item_id"]][row["principal"]] = row["decision"]
        taken: dict[str, set[str]] = {}
        for row in self.other.rows(tables.reservation):
            if row["until"] > now:
                taken.setdefault(row["item_id"], set()).add(row["principal"])
        assert len(rows) == len(self.items)
        for kept in self.items:
            row = rows[kept.id]
            assert (row["state"], row["given"], row["needed"]) == (kept.state, len(kept.words), kept.needed)
            assert said_of.get(kept.id, {}) == kept.words
            assert taken.get(kept.id, set()) == {who for who, (_, until) in kept.taken.items() if until > now}
        counts = self.run_now(self.one.reviews.queue(PEOPLE[0], self.name, project=PROJECT)).counts
        assert counts.open == sum(kept.state == "open" for kept in self.items)
        assert counts.done == len(self.items) - counts.open
        assert counts.verdicts == sum(len(kept.words) for kept in self.items)
        assert counts.reserved == sum(kept.id in taken for kept in self.items)


def run(one: Process, other: Process, clock: ManualClock, examples: int, steps: int) -> None:
    with asyncio.Runner() as runner:
        body: dict[str, Any] = {"one": one, "other": other, "clock": clock, "loop": runner.get_loop()}
        machine: Callable[[], RuleBasedStateMachine] = type("Here", (Machine,), body)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_any_order_of_anything(one: Process, other: Process, clock: ManualClock) -> None:
    run(one, other, clock, 15, 25)


@pytest.mark.soak
def test_any_order_of_anything_often(one: Process, other: Process, clock: ManualClock) -> None:
    run(one, other, clock, 300, 60)
