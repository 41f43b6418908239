"""The hold-out in the path of requests: who is drawn, what that means, and that the short cut never knows better."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inside import CHAT, Got, World, inside, question

from ostinato.access import RateLimit
from ostinato.kpis import Scope
from ostinato.prompts import Draft
from ostinato.providers import fake_script
from ostinato.releases import Proposal
from ostinato.savings import Budgets, Keeping, Lottery
from ostinato.traces import Filter, Window

DRAWN = "[savings]\nholdout_share = 0.3\n"


def session(world: World, project: str, held: bool, start: int = 0) -> str:
    """The name of a session that is drawn, or is not."""
    lottery = world.app.governing.lottery
    return next(
        name
        for name in (f"s{number}" for number in itertools.count(start))
        if lottery.held(project, name.encode()) is held
    )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with inside(DRAWN) as world:
        yield world


async def trials(world: World, count: int) -> list[tuple[str, str, str]]:
    """(How it was answered, why, its side) of each row."""
    return [(row.cache, row.reason, row.trial) for row in await world.rows(count)]


async def test_a_session_that_is_drawn_neither_reads_stores_nor_joins(world: World):
    project = await world.first_project()
    held, treated = session(world, project, True), session(world, project, False)
    await world.chat("q", {"ostinato-session": treated})
    calls = world.fake.calls
    for _ in range(3):
        got = await world.chat("q", {"ostinato-session": held})
        assert (got.cache, got.reason) == ("bypass", "holdout")
    assert world.fake.calls == calls + 3
    both = await asyncio.gather(*(world.chat("new", {"ostinato-session": held}) for _ in range(2)))
    assert [got.reason for got in both] == ["holdout"] * 2
    assert world.fake.calls == calls + 5
    assert (await world.chat("new", {"ostinato-session": treated})).cache == "miss"
    assert (await world.chat("new", {"ostinato-session": treated})).cache == "hit-exact"
    told = await trials(world, 8)
    assert told.count(("bypass", "holdout", "held")) == 5
    assert told.count(("miss", "", "treated")) == 2


async def test_without_a_session_the_request_itself_is_drawn_and_stays_so(world: World):
    project = await world.first_project()
    seen: dict[bool, int] = {True: 0, False: 0}
    for number in range(60):
        first = await world.chat(f"question {number}")
        again = await world.chat(f"question {number}")
        held = first.reason == "holdout"
        assert (again.reason == "holdout") is held
        assert held or again.cache == "hit-exact"
        seen[held] += 1
    assert seen[True] > 5
    assert seen[False] > 20
    assert project


async def test_an_intent_that_forbids_it_takes_no_part(world: World):
    project = await world.first_project()
    held = session(world, project, True)
    await world.declare("intents", "legal", {"cache": {"holdout": False}})
    for expected in ("miss", "hit-exact"):
        got = await world.chat("q", {"ostinato-session": held, "ostinato-intent": "legal"})
        assert got.cache == expected
    assert {trial for _, _, trial in await trials(world, 2)} == {""}


async def test_only_what_the_cache_would_take_part_in_is_drawn(world: World):
    project = await world.first_project()
    held = session(world, project, True)
    for extra, headers in [
        ({"temperature": 1.5}, {}),
        ({}, {"cache-control": "no-cache"}),
        ({}, {"cache-control": "no-store"}),
    ]:
        got = await world.chat("q", {"ostinato-session": held, **headers}, **extra)
        assert got.reason != "holdout"
    assert {trial for _, _, trial in await trials(world, 3)} == {""}


async def test_who_asks_for_the_cache_only_gets_it_and_is_left_out_of_both_sides(world: World):
    project = await world.first_project()
    held, treated = session(world, project, True), session(world, project, False)
    await world.chat("q", {"ostinato-session": treated})
    got = await world.chat("q", {"ostinato-session": held, "cache-control": "only-if-cached"})
    assert got.cache == "hit-exact"
    [name] = world.app.governing.lottery._out
    assert name in {row.request_id for row in await world.rows(2) if row.cache == "hit-exact"}
    told = await world.app.governing.savings.holdout(Window(0, world.clock.now() + 1), Filter(org=await org_of(world)))
    assert (told.held.requests, told.treated.requests) == (0, 1)
    assert told.excluded["near a limit, or the cache only was asked"] == 1


async def test_a_key_near_its_rate_takes_no_part_until_its_next_minute(world: World):
    project = await world.first_project()
    held = session(world, project, True)
    key = await world.new_key(rate=RateLimit(10, 86_400.0))
    reasons = [(await world.chat("q", {"ostinato-session": held}, key=key)).reason for _ in range(10)]
    assert reasons[0] == "holdout"
    assert reasons[-1] != "holdout"
    assert world.app.governing.lottery.was_absent("", world.key_id(key), world.clock.now())


# --- with and without the short cut every decision is the same -------------------------------------------------------

TEXTS = st.sampled_from(["one", "one", "two"])
SESSIONS = st.sampled_from(["a", "a", "b", ""])
CONTROL = st.sampled_from(["", "", "", "", "no-cache", "only-if-cached", "max-age=5"])
asks = st.tuples(st.just("ask"), TEXTS, SESSIONS, CONTROL, st.booleans())
# Known to the short cut while its key rests, asked again when it does not.
RESTED = [
    ("purse", True),
    *(("ask", "one", name, "", False) for name in "abcd" for _ in range(3)),
    ("purse", False),
    *(("ask", "one", name, "", False) for name in "abcd"),
]
steps = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 61])),
    st.tuples(st.just("purse"), st.booleans()),
    st.tuples(st.just("intent"), st.booleans()),
)


@st.composite
def stories(draw: st.DrawFn, most: int) -> list[Any]:
    return [draw(asks) if draw(st.integers(0, 3)) else draw(steps) for _ in range(draw(st.integers(4, most)))]


class Sides:
    """Two projects of one server that draw alike: one is asked with the short cut, one without."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys: dict[bool, str] = {}
        self.numbers = itertools.count()
        lottery = world.app.governing.lottery
        held = lottery.held
        # Half of the sessions: most stories are then about some of each.
        lottery._held = 1 << 63
        lottery.held = lambda project, seed: held("both", seed)

    async def prepare(self) -> None:
        for raw, name in ((True, "with"), (False, "without")):
            project = await self.world.new_project(name)
            self.keys[raw] = await self.world.new_key(project)

    async def live(self, story: list[Any]) -> int:
        """Gives how many were answered as held."""
        world, nonce, held = self.world, f"{next(self.numbers)}", 0
        lottery = world.app.governing.lottery
        resting = lottery.rests
        await world.declare("intents", "one", {"match": {"aliases": ["plain"]}, "cache": {"holdout": True}})
        try:
            for step in story:
                if step[0] == "wait":
                    world.clock.advance(step[1])
                elif step[0] == "purse":
                    # Near a limit, or far from it: whatever the time is.
                    lottery.rests = (lambda *_: True) if step[1] else resting
                elif step[0] == "intent":
                    body = {"match": {"aliases": ["plain"]}, "cache": {"holdout": step[1]}}
                    await world.declare("intents", "one", body)
                else:
                    seen, unseen = [await self.ask(raw, nonce, *step[1:]) for raw in (True, False)]
                    assert seen == unseen, step
                    held += seen[1] == "bypass; reason=holdout"
        finally:
            lottery.rests = resting
        return held

    async def ask(self, raw: bool, nonce: str, text: str, name: str, control: str, stream: bool) -> tuple[int, str]:
        headers = {"ostinato-session": f"{name} {nonce}"} if name else {}
        if control:
            headers["cache-control"] = control
        body = question(f"{text} {nonce}", stream=stream)
        got: Got = await self.world.ask(CHAT, body, headers, self.keys[raw], raw=raw)
        return got.status, got.headers.get("ostinato-cache", "")


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[asyncio.Runner, Sides]]:
    with asyncio.Runner() as runner:
        opened = inside(DRAWN)
        made = Sides(runner.run(opened.__aenter__()))
        runner.run(made.prepare())
        yield runner, made
        runner.run(opened.__aexit__(None, None, None))


@settings(max_examples=30, deadline=None)
@given(story=stories(24))
@example(story=RESTED)
@example(story=[*RESTED, ("intent", False), *RESTED[1:4], ("intent", True), *RESTED])
def test_with_and_without_the_short_cut_every_decision_is_the_same(
    sides: tuple[asyncio.Runner, Sides], story: list[Any]
):
    runner, both = sides
    runner.run(both.live(story))


@pytest.mark.soak
@settings(max_examples=2000, deadline=None)
@given(story=stories(60))
def test_with_and_without_the_short_cut_long_stories_end_the_same(
    sides: tuple[asyncio.Runner, Sides], story: list[Any]
):
    runner, both = sides
    runner.run(both.live(story))


# --- the release before ---------------------------------------------------------------------------------------------


@pytest.fixture
async def released() -> AsyncIterator[World]:
    """Two releases of a prompt, one after the other; half of the sessions are drawn for the one before."""
    async with inside("[savings]\nholdout_share = 0.0\nbaseline_share = 0.5\n") as world:
        caller = world.app.access.authenticate(world.key, world.clock.now())
        await world.declare("intents", "greet", {"stakes": "low"})
        await world.app.prompts.create(caller, None, "greeting", intent="greet")
        for number, text in enumerate(("Say hello.", "Say hi."), 1):
            content = {"messages": [{"role": "system", "template": text}], "params": {"model": "plain"}}
            await world.app.prompts.add_version(caller, None, "greeting", msgspec.convert(content, Draft))
            await release(world, caller, number)
        await world.app.governing.keeping.reload()
        yield world


async def release(world: World, caller: Any, number: int, prompt: str = "greeting") -> None:
    room = world.app.releases
    made = await room.propose(caller, Proposal(prompt=prompt, number=number, reason="to see"))
    secret = await world.new_key(permissions=frozenset({"releases:approve", "releases:read"}))
    other = world.app.access.authenticate(secret, world.clock.now())
    await room.approve(other, made.id, made.digest)
    made = await room.start(caller, made.id)
    assert made.state == "active"


async def greet(world: World, name: str, prompt: str = "greeting", **headers: str) -> Got:
    body = {"model": f"prompt:{prompt}", "messages": [{"role": "user", "content": "I am here."}]}
    return await world.ask(CHAT, body, {"ostinato-session": name, **headers})


def drawn(world: World, project: str, wanted: bool) -> str:
    lottery = world.app.governing.lottery
    names = (f"s{number}" for number in itertools.count())
    return next(name for name in names if lottery.baseline(project, name.encode()) is wanted)


async def test_a_session_that_is_drawn_gets_the_release_before_and_its_row_says_so(released: World):
    world, project = released, await released.first_project()
    for wanted, told in ((True, "version=1"), (False, "version=2")):
        name = drawn(world, project, wanted)
        for expected in ("miss", "hit-exact", "hit-exact"):
            got = await greet(world, name)
            assert got.cache == expected
            assert told in got.headers["ostinato-prompt"]
            assert got.headers["ostinato-prompt"].endswith("arm=baseline") is wanted
    rows = await world.rows(6)
    assert sorted((row.arm, row.prompt_version) for row in rows) == [("", 2)] * 3 + [("baseline", 1)] * 3
    assert len({row.release for row in rows}) == 2


async def test_high_stakes_and_a_release_that_was_taken_back_are_never_gone_back_to(released: World):
    world, project = released, await released.first_project()
    name = drawn(world, project, True)
    for rules, told in (({"review": {"baseline_holdout": False}}, "version=2"), ({}, "version=1")):
        await world.declare("intents", "greet", {"stakes": "low", **rules})
        assert told in (await greet(world, name)).headers["ostinato-prompt"]
    await world.declare("intents", "greet", {"stakes": "high", "owner": "somebody"})
    assert "version=2" in (await greet(world, name)).headers["ostinato-prompt"]
    await world.declare("intents", "greet", {"stakes": "low"})
    caller = world.app.access.authenticate(world.key, world.clock.now())
    [active] = await world.app.releases.list(caller, state="active")
    await world.app.releases.rollback(caller, active.id, "to see")
    await world.app.governing.keeping.reload()
    assert world.app.governing.keeping.before() == {}
    assert "version=1" in (await greet(world, name)).headers["ostinato-prompt"]


async def test_an_intent_that_forbids_it_is_heeded_however_the_request_comes_to_it(released: World):
    world, project = released, await released.first_project()
    caller = world.app.access.authenticate(world.key, world.clock.now())
    await world.app.prompts.create(caller, None, "loose")
    for number, text in enumerate(("Say hello.", "Say hi."), 1):
        content = {"messages": [{"role": "system", "template": text}], "params": {"model": "plain"}}
        await world.app.prompts.add_version(caller, None, "loose", msgspec.convert(content, Draft))
        await release(world, caller, number, "loose")
    await world.app.governing.keeping.reload()
    await world.declare("intents", "grave", {"stakes": "high", "owner": "somebody"})
    name = drawn(world, project, True)
    assert "version=1" in (await greet(world, name, prompt="loose")).headers["ostinato-prompt"]
    got = await greet(world, name, prompt="loose", **{"ostinato-intent": "grave"})
    assert (got.headers["ostinato-intent"], "version=2" in got.headers["ostinato-prompt"]) == ("grave", True)
    await world.declare("intents", "grave", {"stakes": "high", "owner": "somebody", "match": {"aliases": ["plain"]}})
    assert "version=2" in (await greet(world, name, prompt="loose")).headers["ostinato-prompt"]


async def test_the_short_cut_does_not_outrun_what_is_known_of_the_release_before(released: World):
    world, project = released, await released.first_project()
    name, keeping = drawn(world, project, True), released.app.governing.keeping
    await keeping.stop()  # it reads again by itself
    known, keeping._before = keeping.before(), {}
    for _ in range(3):
        assert "version=2" in (await greet(world, name)).headers["ostinato-prompt"]
    keeping._before = known
    assert "version=1" in (await greet(world, name)).headers["ostinato-prompt"]


# --- what is fetched behind an answer past its time ------------------------------------------------------------------


async def test_an_answer_past_its_time_saves_nothing_as_its_call_is_made_all_the_same():
    policy = "[policies.p]\nttl = 10.0\nttl_jitter = 0.0\nstale_while_revalidate = 50.0\n"
    async with inside(DRAWN + policy) as world:
        project = await world.first_project()
        headers = {"ostinato-session": session(world, project, False)}
        since = world.clock.now()
        assert (await world.chat("q", headers)).cache == "miss"
        world.clock.advance(20)
        assert (await world.chat("q", headers)).cache == "stale"
        rows = await world.rows(3)
        behind = next(row for row in rows if row.reason == "refresh")
        assert (behind.trial, behind.saved, behind.counterfactual) == ("treated", -(behind.cost or 0), 0)
        org = rows[0].org
        window, mine = Window(since - 1, world.clock.now() + 1), Filter(org=org)
        stats = await world.app.ledger.stats(window, mine)
        assert (stats.requests, stats.misses, stats.hits) == (2, 1, 1)
        assert stats.saved == 0
        assert stats.counterfactual == stats.cost > 0
        side = (await world.app.governing.savings.holdout(window, mine)).treated
        assert side.requests == 2
        page = await world.app.governing.kpis.figures(Scope(org=org), window, names=["first_pass_success"])
        assert page.figures[0].detail["conversations"] == 1


async def test_a_stale_answer_where_the_call_failed_is_one_request_of_the_hold_out_and_no_error():
    policy = "[policies.p]\nttl = 10.0\nttl_jitter = 0.0\nstale_if_error = 50.0\n"
    async with inside(DRAWN + policy) as world:
        project = await world.first_project()
        headers = {"ostinato-session": session(world, project, False)}
        assert (await world.chat("q", headers)).cache == "miss"
        world.clock.advance(20)
        world.fake._base = fake_script.read("500")
        assert (await world.patiently(CHAT, question("q"), headers)).cache == "stale"
        rows = await world.rows(3)
        assert sorted((row.status, row.trial) for row in rows) == [(200, ""), (200, "treated"), (502, "treated")]
        window = Window(0, world.clock.now() + 1)
        side = (await world.app.governing.savings.holdout(window, Filter(org=await org_of(world)))).treated
        assert (side.requests, side.error_rate, side.sessions) == (2, 0.0, 1)


# --- budgets ----------------------------------------------------------------------------------------------------------


async def test_a_request_s_budget_cuts_the_answer_and_refuses_what_is_too_long(world: World):
    await world.declare("intents", "faq", {"budgets": {"tokens_per_request": 200}})
    headers = {"ostinato-intent": "faq"}
    for expected in ("miss", "hit-exact", "hit-exact"):
        name = session(world, await world.first_project(), False)
        got = await world.chat("short", {**headers, "ostinato-session": name})
        assert got.cache == expected
        left = int(got.headers["ostinato-budget"].removeprefix("max_tokens="))
        assert 150 < left < 200
    assert "ostinato-budget" not in (await world.chat("short", headers, max_tokens=10)).headers
    assert "ostinato-budget" not in (await world.chat("short")).headers
    refused = await world.chat("long " * 400, headers)
    assert (refused.status, refused.json()["error"]["code"]) == (413, "over_token_budget")
    touched = {one.effect: one.count for one in world.app.governing.budgets.touches()}
    assert touched["refused"] == 1
    assert touched["cut"] >= 1


async def test_a_day_s_budget_is_over_within_a_round_and_with_the_next_day_it_is_not(world: World):
    project = await world.first_project()
    await world.declare("intents", "faq", {"budgets": {"tokens_per_day": 30}})
    budgets, keeping = world.app.governing.budgets, world.app.governing.keeping
    await keeping.round()
    assert budgets.over(project, "faq") is None
    for number in range(5):
        await world.chat(f"question {number}", {"ostinato-intent": "faq"})
    assert world.app.recorder.flush()
    await keeping.round()
    assert "30" in (budgets.over(project, "faq") or "")
    assert budgets.over(project, "other") is None
    world.clock.advance(86_400)
    await keeping.round()
    assert budgets.over(project, "faq") is None


async def test_what_budgets_touched_is_written_down_and_forgotten_after_a_year(world: World):
    await world.declare("intents", "faq", {"budgets": {"tokens_per_request": 200}})
    await world.chat("q", {"ostinato-intent": "faq"})
    await world.app.governing.keeping.round()

    def rows(name: str) -> Any:
        return lambda c: c.exec_driver_sql(f"SELECT * FROM {name} ORDER BY seq").mappings().all()

    read = world.app.ledger_database.read
    assert [(row["effect"], row["count"]) for row in await read(rows("budget_touch"))] == [("cut", 1)]
    keeping = world.app.governing.keeping
    for days, left in ((400, 1), (2, 0)):
        keeping._rounds = 719
        world.clock.advance(days * 86_400)
        await keeping.round()
        assert len(await read(rows("budget_touch"))) == left
    assert [row["share"] for row in await read(rows("holdout_rule"))] == [0.3]


async def test_of_two_shares_the_one_declared_last_is_obeyed_by_all_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
):
    governing, clock = world.app.governing, world.clock
    project, database = await world.first_project(), world.app.ledger_database
    newly = next(
        name
        for name in (f"s{number}" for number in itertools.count())
        if not governing.lottery.held(project, name.encode())
        and int.from_bytes(governing.lottery._draw(project, name.encode())[:8], "big") < 1 << 63
    )
    headers = {"ostinato-session": newly}
    for expected in ("miss", "hit-exact", "hit-exact"):
        assert (await world.chat("q", headers)).cache == expected
    settings = msgspec.structs.replace(world.app.config.savings, holdout_share=0.5)
    lottery = Lottery(settings, b"s" * 32)
    parts = {"control": world.app.control, "traces": database, "clock": clock, "intents": world.app.intents}
    elsewhere = Keeping(
        **parts, settings=settings, lottery=lottery, limits=Budgets(), state=world.app.access.budgets.state
    )
    for _ in range(3):
        await elsewhere.round()
        await governing.keeping.round()
    assert (governing.lottery.share, lottery.share) == (0.5, 0.5)
    told = [one.message for one in caplog.records if "another process" in one.message]
    assert len(told) == 1
    assert "holdout_share = 0.3" in told[0]

    def shares(connection: Any) -> list[float]:
        return list(connection.exec_driver_sql("SELECT share FROM holdout_rule ORDER BY seq").scalars())

    assert await database.read(shares) == [0.3, 0.5]
    # Who is drawn only now was known to the short cut.
    assert (await world.chat("q", headers)).reason == "holdout"
    again = Keeping(
        **parts,
        settings=world.app.config.savings,
        lottery=Lottery(world.app.config.savings, b"s" * 32),
        limits=Budgets(),
        state=world.app.access.budgets.state,
    )
    await again.round()  # started anew: declared anew
    await elsewhere.round()
    assert (await database.read(shares), lottery.share) == ([0.3, 0.5, 0.3], 0.3)
    caplog.clear()
    await governing.keeping.round()  # its own again: nothing to complain of
    assert governing.lottery.share == 0.3
    assert not [one for one in caplog.records if "another process" in one.message]


async def org_of(world: World) -> str:
    return world.app.access.authenticate(world.key, world.clock.now()).org
