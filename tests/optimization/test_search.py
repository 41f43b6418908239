"""The race finds what is better, says when nothing is, keeps to its plan, and is the same every time."""

import asyncio
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import Lab, by_examples, candidate, chat, example, examples, luck, text

from ostinato.core.errors import Invalid, LimitReached
from ostinato.optimization import optimizers, search
from ostinato.optimization.model import Candidate, Measured
from ostinato.optimization.search import SearchPlan, pairing


def flat(prompt: str, one: Candidate) -> float:
    return 0.6


async def test_what_is_better_is_found():
    lab = Lab()
    problem = lab.problem()
    found = await search.race(problem)
    assert found.finalists and problem.base not in found.finalists
    assert len(found.finalists[0].shots) >= 12
    assert found.calls <= 540 and found.calls == lab.paid
    assert found.stopped == ""
    assert found.rounds[0].phase == "headroom" and found.rounds[0].calls == 210
    assert found.headroom is not None and not found.headroom.nothing and found.headroom.best > 0.1


async def test_text_prompts_and_prompts_without_labels_are_searched_too():
    free = [example(n, label=f"answer number {n}") for n in range(90)]
    dev = [example(n, "dev", label=f"answer number {n + 500}") for n in range(90)]
    lab = Lab()
    found = await search.race(lab.problem(text(), train=free, dev=dev))
    assert found.finalists and found.finalists[0].shots


async def test_a_run_is_the_same_every_time_whoever_answers_first():
    async def slowly(lab: Lab, one: Candidate, some: list[object]) -> list[Measured]:
        async def later(place: int) -> Measured:
            await asyncio.sleep(0 if luck(place, one.id) < 0.5 else 0.0001)
            return lab.measure(one, some[place])  # type: ignore[arg-type]

        return list(await asyncio.gather(*(later(place) for place in range(len(some)))))

    plain, late = Lab(), Lab()
    first = await search.race(plain.problem(seed=5))
    problem = late.problem(seed=5)
    problem = msgspec.structs.replace(problem, evaluate=lambda c, e: slowly(late, c, list(e)))
    second = await search.race(problem)
    assert first.finalists == second.finalists and first.rounds == second.rounds and first.measured == second.measured
    assert (await search.race(Lab().problem(seed=6))).rounds != first.rounds


async def test_the_probe_is_the_first_round_of_the_race():
    lab = Lab()
    told = await search.probe(lab.problem())
    assert lab.paid == 210
    probed = list(lab.asked)
    found = await search.race(lab.problem())
    assert lab.asked[len(probed) : 2 * len(probed)] == probed
    assert found.headroom == told and lab.paid == found.calls


async def test_a_perfect_prompt_leaves_nothing_to_gain():
    lab = Lab(lambda prompt, one: 1.0)
    found = await search.race(lab.problem())
    assert found.headroom is not None and found.headroom.nothing and not found.finalists
    assert found.calls == 210 and "nothing can be gained" in found.headroom.reason


async def test_edits_that_never_help_leave_nothing_to_gain():
    lab = Lab(lambda prompt, one: 0.7 if one.origin == "base" else 0.0)
    found = await search.race(lab.problem())
    assert found.headroom is not None and found.headroom.nothing and not found.finalists


async def test_a_bound_says_how_much_could_be_gained():
    lab = Lab(flat)
    told = await search.probe(lab.problem())
    assert told.best < told.upper <= 1 and told.n == 30


async def test_one_candidate_is_measured_on_all_its_examples_at_once():
    lab = Lab()
    await search.race(lab.problem())
    runs = [name for place, (name, _) in enumerate(lab.asked) if place == 0 or lab.asked[place - 1][0] != name]
    per_round = sum(len(round.standings) for round in lab.rounds)
    assert len(runs) <= per_round
    assert all(len(some) >= 15 for _, some in lab.asked)


async def test_nothing_that_is_scored_is_shown():
    train, dev = examples(60), examples(120, "dev")
    # Twins of the scored examples among those to show, in other letters; and one of them itself.
    twins = [example(900 + n, asked=f" {one.inputs['text']} ".upper()) for n, one in enumerate(dev)]
    lab = Lab()
    found = await search.race(lab.problem(train=[*twins, *train, dev[1]], dev=dev))
    shown = {shot for one in found.candidates for shot in one.shots}
    assert shown and shown <= {one.id for one in train}


@given(st.integers(0, 700), st.integers(2, 60), st.integers(2, 130), st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_plan_is_never_exceeded(calls: int, round: int, dev: int, polish: bool):
    lab = Lab()
    plan = SearchPlan(calls=calls, round=round)
    found = asyncio.run(
        search.race(lab.problem(dev=examples(dev, "dev"), train=examples(40), plan=plan, polish=polish))
    )
    assert found.calls <= calls and lab.paid <= calls


async def test_a_small_plan_makes_a_small_search():
    lab = Lab()
    found = await search.race(lab.problem(plan=SearchPlan(calls=140)))
    assert found.headroom is not None and found.headroom.n == 20 and found.finalists
    none = await search.race(Lab().problem(plan=SearchPlan(calls=0)))
    assert none.calls == 0 and none.headroom is None and not none.finalists


async def test_a_spent_budget_ends_the_search_and_what_was_found_counts():
    class Spent(Lab):
        async def evaluate(self, one: Candidate, some: object) -> object:  # type: ignore[override]
            if self.paid + len(some) > 300:  # type: ignore[arg-type]
                raise LimitReached("The budget is spent.", code="budget_exhausted")
            return await super().evaluate(one, some)  # type: ignore[arg-type]

    lab = Spent()
    found = await search.race(lab.problem())
    assert found.stopped == "budget_exhausted"
    assert found.finalists and len(found.rounds) == 1 and lab.paid <= 300


async def test_a_pause_goes_through_and_the_search_goes_on_where_it_was():
    class Paused(Exception):
        pass

    whole = await search.race(Lab().problem())
    lab = Lab()
    at = iter(sorted(random.Random(1).sample(range(1, 20), 5)))
    limit, turns = next(at), 0

    async def evaluate(one: Candidate, some: object) -> object:
        nonlocal limit, turns
        turns += 1
        if turns == limit:
            limit = turns + next(at, 10**6)
            raise Paused
        return await Lab.evaluate(lab, one, some)  # type: ignore[arg-type]

    problem = lab.problem()
    problem = msgspec.structs.replace(problem, evaluate=evaluate)
    for _ in range(20):
        try:
            found = await search.race(problem)
            break
        except Paused:
            continue
    else:
        raise AssertionError("it never ends")
    assert found.finalists == whole.finalists and found.measured == whole.measured
    assert lab.paid == whole.calls


async def test_who_cannot_be_scored_is_out():
    lab = Lab()
    first = await search.race(lab.problem())
    lab = Lab()
    lab.broken = {first.finalists[0].id}
    second = await search.race(lab.problem())
    standing = {one.candidate: one for one in second.standings}[first.finalists[0].id]
    assert "could not be scored" in standing.out
    assert first.finalists[0] not in second.finalists


async def test_nothing_scored_at_all_ends_without_finalists():
    lab = Lab()

    async def nothing(one: Candidate, some: object) -> object:
        return [Measured(example=example.id) for example in some]  # type: ignore[attr-defined]

    problem = lab.problem()
    problem = msgspec.structs.replace(problem, evaluate=nothing)
    found = await search.race(problem)
    assert not found.finalists and found.headroom is not None and found.headroom.base is None


async def test_measurements_of_other_examples_are_refused():
    async def wrong(one: Candidate, some: object) -> object:
        return [Measured(example="other", value=1.0) for _ in some]  # type: ignore[attr-defined]

    problem = Lab().problem()
    problem = msgspec.structs.replace(problem, evaluate=wrong)
    with pytest.raises(ValueError, match="not those"):
        await search.race(problem)


@pytest.mark.parametrize("train", [[], examples(1), examples(3), [example(n, label="card") for n in range(30)]])
async def test_few_or_one_sided_examples_are_no_obstacle(train: list[object]):
    found = await search.race(Lab().problem(train=train))
    assert found.calls <= 540


async def test_nothing_to_score_on_is_said():
    with pytest.raises(Invalid) as caught:
        await search.race(Lab().problem(dev=examples(1, "dev")))
    assert caught.value.code == "too_few_examples"


async def test_who_looks_best_of_many_equal_ones_is_drawn_back():
    """Of equal candidates one always looks much better: the estimate must say so much less."""
    looks, told = 0.0, 0.0
    for world in range(6):
        found = await search.race(Lab(flat, noise=str(world)).problem(polish=False))
        edits = [one for one in found.standings if one.candidate != candidate(chat()).id and one.mean is not None]
        looks += max(one.mean or 0.0 for one in edits) - sum(one.mean or 0.0 for one in edits) / len(edits)
        told += max(one.estimate for one in edits) - sum(one.estimate for one in edits) / len(edits)
    assert told < 0.85 * looks


# --- pairing ------------------------------------------------------------------------------------------------------


def test_pairs_are_counted_where_both_were_scored():
    table = {
        "a": {str(n): Measured(example=str(n), value=float(n % 2)) for n in range(10)},
        "b": {str(n): Measured(example=str(n), value=1.0 if n < 8 else None) for n in range(10)},
    }
    pair = pairing.paired(table, "a", "b")
    assert (pair.n, pair.wins, pair.losses, pair.mean) == (8, 4, 0, 0.5)
    assert pair.p == 1 / 16
    assert pair.lower() < 0.5 < pair.upper()


def test_no_difference_among_few_pairs_leaves_much_open():
    table = {name: {str(n): Measured(example=str(n), value=1.0) for n in range(30)} for name in "ab"}
    assert 0.09 < pairing.paired(table, "a", "b").upper() < 0.1  # 1 - 0.05 ** (1 / 30)


def test_rounds_are_tied_together_by_who_was_in_both():
    """An easy second round must not make those look good who were in it only."""
    one = {f"hard{n}": Measured(example=f"hard{n}", value=float(n % 10 < 3)) for n in range(40)}
    two = {f"easy{n}": Measured(example=f"easy{n}", value=float(n % 10 < 9)) for n in range(40)}
    better = {key: Measured(example=key, value=float(n % 10 < 7)) for n, key in enumerate(one)}
    table = {"base": one, "tie": {**better, **two}, "late": two}
    worth = pairing.estimates(table, "base")
    assert worth["tie"] > 0.2 and abs(worth["late"] - worth["tie"]) < 0.05


# --- optimizers ---------------------------------------------------------------------------------------------------


async def test_an_optimizer_of_somebody_elses_is_found(monkeypatch: pytest.MonkeyPatch):
    class Point:
        name = "mine"

        def load(self) -> object:
            return search.race

    monkeypatch.setattr(
        optimizers.metadata, "entry_points", lambda group: [Point()] if group == optimizers.GROUP else []
    )
    assert optimizers.names() == ("gepa", "mine", "race")
    assert optimizers.find("mine") is search.race
    with pytest.raises(Invalid, match="no optimizer"):
        optimizers.find("other")


async def test_runs_search_by_the_door():
    lab = Lab(by_examples)
    problem = lab.problem()
    door = optimizers.Search()
    arguments = (problem.base, problem.train, problem.dev, lab.evaluate, problem.plan)
    told = await door.probe(*arguments, seed=0, on_round=lab.told)
    found = await door.search(*arguments, seed=0, on_round=lab.told, name="", reflect=None, polish=True)
    assert found.headroom == told and found.finalists == (await search.race(Lab().problem())).finalists
