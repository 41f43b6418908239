"""Two processes on one database: what both do at once, and what each of them then answers."""

import asyncio
import random
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from release_kit import (
    ALICE,
    BOB,
    CANARY,
    CAROL,
    LOW,
    PROJECT,
    Opener,
    Process,
    Shared,
    declare,
    point,
)

from ostinato import prompts
from ostinato.audit import Log
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, OstinatoError, Unavailable
from ostinato.releases import Plan, Step, Watcher
from ostinato.releases.watching import ACTOR

SEEDS = [f"session {index}".encode() for index in range(50)]


def assigned(process: Process) -> prompts.Assignment:
    found = process.database.query(lambda c: prompts.assignment(c, PROJECT, "greeting", "production"))
    assert found is not None
    return found


async def test_both_see_every_step(one: Process, other: Process) -> None:
    release = await one.approved(plan=CANARY)
    for process, step in ((other, "start"), (one, "advance"), (other, "promote"), (one, "rollback")):
        await getattr(process.releases, step)(CAROL, release.id)
        await one.agree_on(other, SEEDS)
    assert other.resolve().number == 1


@pytest.mark.parametrize("step", ["start", "advance", "rollback", "pause"])
async def test_of_two_at_once_one_wins(one: Process, other: Process, step: str) -> None:
    release = await (one.approved if step == "start" else one.started)(plan=CANARY)
    said = await asyncio.gather(
        *(getattr(process.releases, step)(CAROL, release.id, version=release.version) for process in (one, other)),
        return_exceptions=True,
    )
    assert sorted(isinstance(result, Conflict) for result in said) == [False, True], said
    assert one.leaves().count(f"releases:{step}") == 1


async def test_two_proposals_at_once(one: Process, other: Process) -> None:
    said = await asyncio.gather(one.proposed(2), other.proposed(3), return_exceptions=True)
    assert sorted(isinstance(result, Conflict) for result in said) == [False, True], said
    assert len(await one.releases.list(ALICE)) == 1


async def test_an_emergency_meets_a_start(one: Process, other: Process) -> None:
    """Whatever comes first, the label ends where the emergency wants it."""
    for attempt in range(5):
        active = await one.started(2)
        follower = await one.approved(3, plan=Plan() if attempt % 2 else CANARY)
        said = await asyncio.gather(
            one.releases.rollback(CAROL, active.id),
            other.releases.start(CAROL, follower.id),
            return_exceptions=True,
        )
        for result in said:
            assert not isinstance(result, BaseException) or isinstance(result, Conflict), said
        await one.agree_on(other, SEEDS)
        standing = assigned(one)
        states = {release.id: release.state for release in await one.releases.list(ALICE, state="active")}
        assert set(states) <= {standing.release}, "what is active is what is in force"
        while states:
            await one.releases.rollback(CAROL, standing.release)
            standing = assigned(one)
            states = {release.id: "" for release in await one.releases.list(ALICE, state="active")}
        for open_ in await one.releases.list(ALICE):
            if open_.state in ("canary", "paused"):
                await one.releases.rollback(CAROL, open_.id)
            elif open_.state in ("proposed", "approved"):
                await one.releases.withdraw(ALICE, open_.id)
        assert standing.number == 1


# -- nothing half-written ----------------------------------------------------------------------------------------------

TABLES = (
    "release",
    "release_event",
    "release_evidence",
    "approval_request",
    "approval_decision",
    "prompt_assignment",
    "prompt_move",
    "audit_leaf",
    "audit_head",
    "notice",
)


def everything(process: Process) -> dict[str, list[Any]]:
    def read(connection: sa.Connection) -> dict[str, list[Any]]:
        return {name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"').all())) for name in TABLES}

    return process.database.query(read)


class FailingLog(Log):
    """Fails after the leaf was written, as a crash before the commit would."""

    failing = False

    def append(self, *arguments: Any, **options: Any) -> int:
        index = super().append(*arguments, **options)
        if self.failing:
            raise Unavailable("The machine has stopped.")
        return index


async def test_a_step_that_fails_leaves_nothing(open_process: Opener, clock: ManualClock) -> None:
    process = await open_process()
    log = FailingLog(process.database, clock, process.notices, secret=b"s" * 32)
    broken = await open_process(log=log)
    point(process, 1)
    release = await process.proposed(plan=Plan(steps=(Step(0.1), Step(0.2))))
    digest = release.digest
    steps: list[tuple[str, Any]] = [
        ("approve", (BOB, release.id, digest)),
        ("start", (CAROL, release.id)),
        ("pause", (CAROL, release.id)),
        ("resume", (CAROL, release.id)),
        ("advance", (CAROL, release.id)),
        ("promote", (CAROL, release.id)),
        ("rollback", (CAROL, release.id)),
    ]
    for verb, arguments in steps:
        before = everything(process)
        log.failing = True
        with pytest.raises(Unavailable):
            await getattr(broken.releases, verb)(*arguments)
        log.failing = False
        assert everything(process) == before, verb
        await getattr(process.releases, verb)(*arguments)
        assert everything(process) != before
    before = everything(process)
    log.failing = True
    with pytest.raises(Unavailable):
        await broken.proposed(3)
    assert everything(process) == before


# -- rollouts that go on by themselves ---------------------------------------------------------------------------------

AUTO = Plan(steps=(Step(0.1, min_samples=10, min_minutes=5), Step(0.5, min_samples=20)), auto=True, no_data_minutes=30)


async def test_an_automatic_rollout_goes_all_the_way(
    one: Process, other: Process, shared: Shared, clock: ManualClock
) -> None:
    release = await one.started(plan=AUTO)
    watchers = [Watcher(one.releases), Watcher(other.releases)]

    async def look() -> tuple[str, int]:
        await asyncio.gather(*(watcher.look() for watcher in watchers))
        now = (await one.releases.show(ALICE, release.id)).release
        return now.state, now.step

    assert await look() == ("canary", 0)
    shared.samples[release.id] = {"canary": 10, "stable": 90}
    assert await look() == ("canary", 0), "the time is not over"
    clock.advance(300)
    assert await look() == ("canary", 1), "two watchers take one step"
    assert await look() == ("canary", 1), "ten samples are too few for this one"
    shared.samples[release.id] = {"canary": 20}
    assert await look() == ("active", 2)
    assert one.leaves().count("releases:advance") == 1 and one.leaves().count("releases:promote") == 1
    history = (await one.releases.show(ALICE, release.id)).history
    assert history[-1].actor == "system:releases"


async def test_it_waits_while_judges_are_doubted_and_still_goes_back_for_harm(
    one: Process, shared: Shared, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    release = await one.started(plan=AUTO)
    watcher = Watcher(one.releases)
    doubted = {"": "", release.project: "tone: agrees with people by a kappa of 0.41"}

    async def doubts(project: str) -> str:
        return doubted[project]

    watcher.doubts = doubts
    shared.samples[release.id] = {"canary": 10, "stable": 90}
    clock.advance(300)
    for _ in range(2):
        await watcher.look()
        assert (await one.releases.show(ALICE, release.id)).release.step == 0
    assert caplog.text.count("a kappa of 0.41") == 1
    doubted[release.project] = ""
    await watcher.look()
    assert (await one.releases.show(ALICE, release.id)).release.step == 1
    doubted[release.project] = "tone: agrees with people by a kappa of 0.41"
    shared.samples[release.id] = {}
    clock.advance(31 * 60)
    await watcher.look()
    assert (await one.releases.show(ALICE, release.id)).release.state == "rolled_back"


async def test_no_data_rolls_back(one: Process, shared: Shared, clock: ManualClock) -> None:
    release = await one.started(plan=AUTO)
    watcher = Watcher(one.releases)
    clock.advance(29 * 60)
    await watcher.look()
    assert (await one.releases.show(ALICE, release.id)).release.state == "canary"
    clock.advance(60)
    await watcher.look()
    told = (await one.releases.show(ALICE, release.id)).release
    assert told.state == "rolled_back" and "nothing in 30 minutes" in told.ended_why
    assert one.resolve().number == 1


async def test_without_the_ledger_nothing_advances(one: Process, shared: Shared, clock: ManualClock) -> None:
    release = await one.started(plan=AUTO)
    shared.samples[release.id] = {"canary": 1000}
    shared.failing = Unavailable("The ledger is away.")
    watcher = Watcher(one.releases)
    clock.advance(3600)
    await watcher.look()
    shown = await one.releases.show(ALICE, release.id)
    assert (shown.release.step, shown.waits) == (0, "The ledger is away.")
    assert watcher.failing == "The ledger is away."
    shared.failing = None
    await watcher.look()
    assert (await one.releases.show(ALICE, release.id)).release.step == 1
    assert watcher.failing == ""


async def test_what_stands_in_the_way_pauses_an_automatic_rollout(
    one: Process, shared: Shared, clock: ManualClock
) -> None:
    release = await one.started(plan=AUTO)
    shared.samples[release.id] = {"canary": 1000}
    clock.advance(600)
    shared.requirements[""] = type(shared.requirements[""])(2, True, False, False, version="other")
    await Watcher(one.releases).look()
    dossier = await one.releases.show(ALICE, release.id)
    assert dossier.release.state == "paused"
    assert "policies have changed" in dossier.history[-1].reason


async def test_a_manual_rollout_is_left_alone(one: Process, clock: ManualClock) -> None:
    release = await one.started(plan=CANARY)
    clock.advance(10**6)
    await Watcher(one.releases).look()
    assert (await one.releases.show(ALICE, release.id)).release.state == "canary"


async def test_the_watcher_runs_by_itself(one: Process, shared: Shared, clock: ManualClock) -> None:
    release = await one.started(plan=AUTO)
    watcher = Watcher(one.releases)
    watcher.start()
    shared.samples[release.id] = {"canary": 1000}
    clock.advance(300)
    for _ in range(200):
        await asyncio.sleep(0.01)
        clock.advance(10)
        if (await one.releases.show(ALICE, release.id)).release.state == "active":
            break
    await watcher.stop()
    assert (await one.releases.show(ALICE, release.id)).release.state == "active"
    assert one.database.query(
        lambda c: prompts.assignment(c, release.project, "greeting", "production")
    ).assigned_by == (f"system:{ACTOR.name}")


# -- under load --------------------------------------------------------------------------------------------------------


def alone(process: Process, shared: Shared) -> None:
    """Without approvals, which are not what is counted here."""
    process.transact(lambda c: declare(c, "production", prompts.Protection(release_required=True)))
    shared.requirements[""] = msgspec.structs.replace(LOW, approvals=0)


async def rollbacks(one: Process, other: Process, count: int) -> int:
    """Promote and roll back ``count`` times under resolves in both processes; gives how many resolves there were.

    A resolve must yield what was in force at some moment between its process's last two looks at the database: never a
    version under a generation that is not its own, and after the change returned, never what was taken back.
    """
    generations: dict[str, int] = {}
    resolved = 0
    done = False
    chance = random.Random(7)

    async def traffic(process: Process) -> None:
        nonlocal resolved
        while not done:
            for _ in range(50):
                found = process.resolve(seed=chance.randbytes(8))
                expected = generations.setdefault(found.generation, found.number)
                assert found.number == expected, "one generation, one version"
                resolved += 1
            await asyncio.sleep(0.002)

    load = [asyncio.create_task(traffic(process)) for process in (one, other)]
    try:
        base = await one.proposed(2)
        await one.releases.start(CAROL, base.id)
        generations[base.id] = 2
        for turn in range(count):
            process, peer = (one, other) if turn % 2 else (other, one)
            release = await process.proposed(3 + turn % 3)
            generations[release.id] = release.number
            await peer.releases.start(CAROL, release.id)
            assert peer.resolve().generation == release.id
            await process.releases.rollback(CAROL, release.id)
            assert process.resolve().generation == base.id, "warm: the generation of before"
            for task in load:
                if task.done():
                    task.result()
            for _ in range(400):
                if peer.resolve().generation == base.id:
                    break
                await asyncio.sleep(0.005)
            assert peer.resolve().generation == base.id, "within two seconds"
    finally:
        done = True
        await asyncio.gather(*load)
    return resolved


async def test_rollbacks_under_load(one: Process, other: Process, shared: Shared) -> None:
    alone(one, shared)
    assert await rollbacks(one, other, 500 if one.database.dialect == "sqlite" else 50) > 1_000


@pytest.mark.soak
async def test_many_rollbacks_under_load(one: Process, other: Process, shared: Shared) -> None:
    alone(one, shared)
    assert await rollbacks(one, other, 10_000) > 100_000


async def test_while_the_database_is_away_the_last_snapshot_serves(one: Process) -> None:
    release = await one.started(2)
    one.database.close()
    assert one.resolve().release == release.id
    with pytest.raises(OstinatoError):
        await one.releases.rollback(CAROL, release.id)
    await one.prompts.reload()
    assert one.prompts.failing and one.resolve().release == release.id
