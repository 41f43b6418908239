"""What triage must not do: flutter, overlook what came later, look at the oldest alone, make one pay for others."""

import asyncio
import itertools
import random
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, SYSTEM, inside
from test_deciding import RULES, decided, evidence
from triage_kit import BASE, PRICED, asked, repeat

from ostinato.cache.model import Policy
from ostinato.calls import Calls
from ostinato.core import ids as ids_
from ostinato.core.errors import Invalid
from ostinato.families import Families, Sample
from ostinato.families.figures import share
from ostinato.families.reservoir import Reservoir
from ostinato.signals import Signal
from ostinato.triage import Audits, Settings, changes, decide, quality
from ostinato.triage.value import best_caching


def redecided(rounds: list[Any]) -> int:
    standing, number = None, 0
    for found in rounds:
        verdict = decide(found, RULES)
        if standing is None or changes(standing, verdict, RULES, found):
            standing, number = decided(found, stakes=found.stakes), number + 1
    return number


def test_quality_that_is_only_just_known_does_not_flutter() -> None:
    rng = random.Random(1)
    rounds = [evidence(stakes="high", quality=share(19, rng.uniform(19, 22))) for _ in range(200)]
    assert {decide(one, RULES).choice for one in rounds} >= {"review"}
    assert len({decide(one, RULES).choice for one in rounds}) > 1
    assert redecided(rounds) <= 2
    gone = evidence(stakes="high", quality=share(8, 9))
    assert changes(decided(rounds[0], choice="cache", stakes="high"), decide(gone, RULES), RULES, gone)
    raised = evidence(stakes="high", quality=share(14, 15))  # of medium stakes before
    assert changes(decided(evidence(), stakes="medium"), decide(raised, RULES), RULES, raised)


def test_how_long_answers_live_does_not_flutter() -> None:
    rng = random.Random(2)

    def noisy() -> Any:
        n = 2_000
        ages = tuple(share(sum(rng.random() < at for _ in range(60)), 60) for at in (0.99, 0.985, 0.98, 0.97, 0.96))
        gaps = tuple(sum(rng.random() < 0.06 for _ in range(n)) / n for _ in range(5))
        return evidence(
            stability_by_age=(*ages, None, None), gaps=(*gaps, 0.0, 0.0), per_month=100_000.0, value=0.01, requests=n
        )

    rounds = [noisy() for _ in range(200)]
    lives = [best_caching(one, RULES).ttl for one in rounds]
    assert sum(a != b for a, b in itertools.pairwise(lives)) > 20  # it would
    assert redecided(rounds) <= 3


def test_what_comes_to_be_unsafe_under_rules_that_stand_is_told_of() -> None:
    standing = decided(evidence(policy=Policy()))
    assert standing.policy == {}  # kept for a day already
    ages = (share(99, 100), share(99, 100), share(10, 100), share(5, 100), share(5, 100), None, None)
    found = evidence(policy=Policy(), stability_by_age=ages, value=0.05)
    verdict = decide(found, RULES)
    assert verdict.choice == "cache" and verdict.policy["cache"]["ttl"] <= 600
    assert changes(standing, verdict, RULES, found)


def test_personal_data_that_comes_later_is_told_of_once() -> None:
    standing = decided(evidence(policy=Policy(scope="project")))
    found = evidence(policy=Policy(scope="project"), personal=share(500, 1_000))
    verdict = decide(found, RULES)
    assert verdict.policy["cache"]["scope"] == "user"
    assert changes(standing, verdict, RULES, found)
    assert not changes(decided(found), verdict, RULES, found)


def test_a_cache_is_not_turned_off_because_nobody_knows_a_price() -> None:
    ages = tuple(share(900, 1_000) for _ in range(7))
    assert decide(evidence(cost=None, policy=Policy(), stability_by_age=ages, gained=0.0), RULES).policy == {}
    assert decide(evidence(cost=1, policy=Policy(), stability_by_age=ages), RULES).policy["cache"] == {"mode": "off"}


def test_nothing_above_low_stakes_passes_by_itself() -> None:
    Settings(automatic=("low",)).check()
    with pytest.raises(Invalid):
        Settings(automatic=("low", "high")).check()


async def test_of_many_judged_answers_the_newest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "_MOST", 20)
    async with inside(PRICED, base=BASE) as world:
        project = await world.first_project()
        for number in range(40):
            answer = await world.ask(CHAT, asked("You are a bank.", f"question {number}"))
            assert answer.status == 200
        ids = [one.request_id for one in await world.rows(40)]
        governing, signals = world.app.governing, world.app.signals
        org = (await world.app.access.list_projects(SYSTEM))[0].org_id
        said = [
            Signal(
                id=ids_.new(world.clock.now()), request_id=one, at=world.clock.now(), org=org, project=project,
                source="scorer", name="exact", value=float(number < 20),
            )
            for number, one in enumerate(ids)
        ]  # fmt: skip
        assert signals.record(said) == 40
        await asyncio.to_thread(signals.flush)
        known = quality.Quality(signals, governing.families, world.clock)
        (only,) = (await known.by_family(project)).values()
        assert only.value == 0.0 and only.n == pytest.approx(20, abs=0.5)


async def test_what_is_much_is_read_once_a_minute_and_what_is_little_whenever_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quality, "_MANY", 3)
    async with inside(PRICED, base=BASE) as world:
        project, signals, room = await world.first_project(), world.app.signals, world.app.governing.families
        known, reads = quality.Quality(signals, room, world.clock), list[str]()
        read = signals.values

        async def counted(of: str, since: int, most: int) -> Any:
            reads.append(of)
            return await read(of, since, most)

        monkeypatch.setattr(signals, "values", counted)

        def say(value: float | None) -> None:
            now = world.clock.now()
            told = {"org": "o", "project": project, "prompt": "support", "prompt_version": 3, "at": now}
            one = Signal(id=ids_.new(now), request_id=ids_.new(now), source="scorer", name="exact", value=value, **told)  # pyright: ignore[reportArgumentType]
            assert signals.record([one]) == 1

        async def shares() -> list[float]:
            return [round(one.n) for one in (await known.by_family(project)).values()]

        assert await shares() == []
        for number in range(1, 4):
            say(1.0)
            assert await shares() == [number]
        assert len(reads) == 4
        say(0.0)
        say(None)
        found = await asyncio.gather(*(shares() for _ in range(5)))
        assert found == [[3]] * 5 and len(reads) == 4
        world.clock.advance(61)
        found = await asyncio.gather(*(shares() for _ in range(5)))
        assert found == [[4]] * 5 and len(reads) == 5


# -- audits -----------------------------------------------------------------------------------------------------------


async def test_nobody_is_asked_again_because_others_ask_much() -> None:
    async with inside("[triage]\naudit_share = 0.2\n", base=PRICED_BASE) as world:
        await repeat(world, "You are a bank.", 50, 50)
        room: Families = world.app.governing.families
        room.flush()
        kept = room.samples(1)[0]
        room._reservoir.take(msgspec.structs.replace(kept, project="q" * 32, print64=1))  # who asked once
        audits = world.app.governing.triaging.audits
        asked_of: list[str] = []
        known: Calls = audits._calls

        class Seen:
            async def journal(self, namespace: str) -> Any:
                return await known.journal(namespace)

            async def ask(self, wanted: Any, *args: Any, **more: Any) -> Any:
                asked_of.append(wanted.project)
                return await known.ask(wanted, *args, **more)

        audits._calls = Seen()
        await audits.round()
        assert len(asked_of) == 10
        assert set(asked_of) == {kept.project}


async def test_two_processes_share_the_purse_of_a_day() -> None:
    extra = "[triage]\naudit_share = 1.0\naudit_budget_dollars = 0.05\n"
    async with inside(extra, base=PRICED_BASE) as world:
        parts = world.app.governing
        both = [
            Audits(parts.families, world.app.calls, world.clock, world.app.config.triage, seed=number)
            for number in range(2)
        ]
        for number in range(120):
            await world.ask(CHAT, asked("You are a bank.", f"question {number}", max_tokens=50))
            if number % 20 == 19:
                parts.families.flush()
                for one in both:
                    await one.round()
                await world.app.calls._journal.drain()
        day = world.clock.now() // 86_400_000_000
        spent = await world.app.calls.journal(f"sample-audit-{await world.first_project()}-{day}")
        assert sum(one.asked for one in both) > 5
        assert spent.nano <= 0.05e9


PRICED_BASE = BASE + '[prices."fake/plain"]\ninput = 10.0\noutput = 40.0\n[policies.nothing]\nmode = "off"\n'


# -- memory -----------------------------------------------------------------------------------------------------------


def sample(number: int, project: str = "p") -> Sample:
    return Sample(
        org="o", project=project, family=f"f{number % 3}", print64=number, user="", alias="a", intent="", prompt="",
        version=0, request=None, answer="x", at=number,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def test_samples_of_one_project_are_its_own() -> None:
    room = Reservoir(50, random.Random(1))
    for number in range(40):
        room.take(sample(number, "pq"[number % 2]))
    assert {one.project for one in room.some(10, "q")} == {"q"}
    assert len(room.some(100)) == 40


async def test_a_long_conversation_is_not_held_for_its_short_question() -> None:
    async with inside(PRICED, base=BASE) as world:
        long = [{"role": "system", "content": "You are a bank. " + "Read this. " * 20_000}]
        await world.ask(CHAT, {"model": "plain", "messages": [*long, {"role": "user", "content": "How?"}]})
        room = world.app.governing.families
        world.app.recorder.flush()
        room.flush()
        assert room.samples(5) == []
        (found,) = await room.list(await world.first_project())
        assert found.requests == 1


async def test_the_event_loop_does_not_wait_for_a_family_that_is_written() -> None:
    async with inside("[triage]\naudit_share = 1.0\n", base=PRICED_BASE) as world:
        await repeat(world, "You are a bank.", 5, 5)
        room = world.app.governing.families
        room.flush()
        let_go = threading.Event()

        def hold() -> None:
            with room._lock:
                let_go.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        round_ = asyncio.create_task(world.app.governing.triaging.audits.round())
        for _ in range(10):
            await asyncio.sleep(0.01)  # the loop goes on
        assert not round_.done()
        let_go.set()
        holder.join()
        assert await round_ > 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_forgetting_while_answers_come_loses_nothing_and_never_fails(traces: Any) -> None:
    from ostinato.core.clock import ManualClock
    from ostinato.families import Settings as FamilySettings
    from ostinato.wire.model import Answer, ChatRequest, Message, Text

    room = Families(traces, ManualClock(), FamilySettings(queue=1_000_000, looked_per_second=1_000_000))
    request = ChatRequest(model="m", messages=(Message("user", (Text("q"),)),))
    stop = threading.Event()

    def come() -> None:
        number = 0
        while not stop.is_set() and number < 20_000:
            number += 1
            room.answered("o", "p", "f", "1", request, Answer("openai.chat", ()), user=("ann", "bob")[number % 2])

    coming = threading.Thread(target=come)
    coming.start()
    try:
        for _ in range(60):
            room.forget("p", "ann")
    finally:
        stop.set()
        coming.join()
    room.forget("p", "ann")
    assert {one.user for one in room._answers} <= {"bob"}


async def test_what_a_run_could_not_gain_long_ago_is_no_word_on_today() -> None:
    from ostinato.core.clock import ManualClock
    from ostinato.triaging import gained

    clock = ManualClock()
    began = clock.now()

    class Runs:
        async def without_gain(self, _: str, since: int) -> frozenset[tuple[str, int]]:
            return frozenset({("support", 3)} if began >= since else ())

    find = gained(Runs(), clock, 90.0)  # pyright: ignore[reportArgumentType]
    assert await find("p") == {("support", 3): 0.0}
    clock.advance(91 * 86_400)
    assert await find("p") == {}
