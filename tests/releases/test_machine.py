"""Any order of anything, in two processes on one database: what a release must never do, judged by a model of its own.

The model keeps in plain Python what was proposed, by whom, under which circumstances, and who approved it. Whenever a
start, a step or a promotion goes through, the model must agree that it may; after every action both processes answer
what the database says, and the database says nothing that cannot be.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from release_kit import (
    ALICE,
    ALICE_AGAIN,
    BOB,
    CAROL,
    HIGH,
    LOW,
    PROJECT,
    Process,
    Shared,
    add_prompt,
    declare,
    installation,
    point,
)

from ostinato import prompts
from ostinato.access import Caller, principal_of
from ostinato.core.clock import ManualClock
from ostinato.core.errors import NotFound, OstinatoError
from ostinato.prompts.model import Protection
from ostinato.releases import OPEN, NewEvidence, Plan, Proposal, Release, Step

PEOPLE = (ALICE, ALICE_AGAIN, BOB, CAROL)
PLANS = (Plan(), Plan(steps=(Step(0.2),)), Plan(steps=(Step(0.1), Step(0.6)), control=0.1))
SEEDS = [f"session {index}".encode() for index in range(12)]
HOUR = 3_600_000_000


NTH = st.sampled_from((0, 0, 0, 0, 1, 2))
"""Which release an action is about, the newest first."""

APPROVERS = st.sampled_from(((BOB,), (CAROL,), (BOB, CAROL)))

some_release = precondition(lambda machine: machine.order)


class Known:
    """What the model remembers of one release."""

    def __init__(self, release: Release, author: str, circumstances: Any, at: int) -> None:
        self.id = release.id
        self.digest = release.digest
        self.author = author
        self.circumstances = circumstances
        self.at = at
        self.approvals: set[str] = set()
        self.evidence: dict[str, bool] = {}
        self.reviewed_by_another = False


class Machine(RuleBasedStateMachine):
    """Two processes; ``runner``, ``processes``, ``shared`` and ``clock`` are set by the test."""

    runner: asyncio.Runner
    processes: tuple[Process, Process]
    shared: Shared
    clock: ManualClock
    count = 0

    @initialize(gated=st.booleans())
    def begin(self, gated: bool) -> None:
        type(self).count += 1
        self.name = f"prompt-{self.count}"
        self.known: dict[str, Known] = {}
        self.order: list[str] = []
        self.shared.may_not.clear()
        self.shared.requirements[""] = LOW
        self.protection = Protection(True, 1, ("evidence:safety",) if gated else ())
        self.moved = False
        self.done = 0

        def write(connection: Any) -> None:
            add_prompt(connection, 1, self.name, 4)
            declare(connection, "production", self.protection)

        self.processes[0].transact(write)
        self.point(1, 0)
        self.first_leaf = len(self.processes[0].leaves())

    # -- what anybody may try ------------------------------------------------------------------------------------------

    @rule(
        who=st.sampled_from(PEOPLE),
        number=st.integers(1, 4),
        plan=st.sampled_from(PLANS),
        at=st.integers(0, 1),
    )
    def propose(self, who: Caller, number: int, plan: Plan, at: int) -> None:
        wish = Proposal(prompt=self.name, number=number, plan=plan, reason="better")
        made = self.attempt(self.processes[at].releases.propose(who, wish))
        if made is not None:
            self.known[made.id] = Known(made, principal_of(who), self.circumstances(), self.clock.now())
            self.order.append(made.id)

    @some_release
    @rule(nth=NTH, who=st.sampled_from(PEOPLE), at=st.integers(0, 1), stale=st.booleans())
    def approve(self, nth: int, who: Caller, at: int, stale: bool) -> None:
        release = self.pick(nth)
        known = self.known[release]
        digest = "0" * 64 if stale and self.count % 2 else known.digest
        if self.attempt(self.processes[at].releases.approve(who, release, digest)) is not None:
            assert principal_of(who) != known.author, "nobody approves their own"
            assert digest == known.digest
            known.approvals.add(principal_of(who))

    @some_release
    @rule(nth=NTH, passed=st.booleans(), at=st.integers(0, 1))
    def attach(self, nth: int, passed: bool, at: int) -> None:
        release = self.pick(nth)
        evidence = NewEvidence("safety", "d" * 64, passed)
        if self.attempt(self.processes[at].releases.attach(ALICE, release, evidence)) is not None:
            self.known[release].evidence["safety"] = passed

    @some_release
    @rule(nth=NTH, who=st.sampled_from(PEOPLE), at=st.integers(0, 1))
    def review(self, nth: int, who: Caller, at: int) -> None:
        release = self.pick(nth)
        evidence = NewEvidence("diff-reviewed", self.known[release].digest, True)
        if self.attempt(self.processes[at].releases.attach(who, release, evidence)) is not None:
            assert principal_of(who) != self.known[release].author
            self.known[release].reviewed_by_another = True

    @some_release
    @rule(nth=NTH, at=st.integers(0, 1), verb=st.sampled_from(("start", "advance", "promote", "promote")))
    def go(self, nth: int, at: int, verb: str) -> None:
        release = self.pick(nth)
        after = self.attempt(getattr(self.processes[at].releases, verb)(CAROL, release))
        if after is not None:
            self.moved = self.moved and after.state != "active"
            self.may_run(release)
            if verb == "start":
                self.may_start(release)

    @some_release
    @rule(
        nth=NTH,
        at=st.integers(0, 1),
        verb=st.sampled_from(("rollback", "rollback", "rollback", "rollback", "pause", "resume", "withdraw", "reject")),
    )
    def back(self, nth: int, at: int, verb: str) -> None:
        release = self.pick(nth)
        digest = (self.known[release].digest, "no") if verb == "reject" else ()
        self.attempt(getattr(self.processes[at].releases, verb)(CAROL, release, *digest))

    @some_release
    @rule(
        nth=NTH,
        at=st.integers(0, 1),
        start=st.booleans(),
        passed=st.sampled_from((True, True, False, None)),
        by=APPROVERS,
    )
    def prepare(self, nth: int, at: int, start: bool, passed: bool | None, by: tuple[Caller, ...]) -> None:
        """Everything that a release may need, from those who may give it; and perhaps its start."""
        if passed is not None:
            self.attach(nth, passed, at)
        self.review(nth, BOB, at)
        for who in by:
            self.approve(nth, who, at, False)
        if start:
            self.go(nth, 1 - at, "start")

    @rule(number=st.integers(1, 4), at=st.integers(0, 1), plan=st.sampled_from(PLANS))
    def ship(self, number: int, at: int, plan: Plan) -> None:
        """The usual way, up to the start."""
        self.propose(ALICE, number, plan, at)
        if self.order:
            self.prepare(0, at, True, True, (BOB, CAROL))

    # -- what happens around them --------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(("revoke", "restore", "stakes", "protect", "move", "wait")),
        who=st.sampled_from((BOB, CAROL)),
        number=st.integers(1, 4),
        at=st.integers(0, 1),
    )
    def disturb(self, what: str, who: Caller, number: int, at: int) -> None:
        """Rights, policies, labels and time do not stand still."""
        if what == "revoke":
            self.shared.may_not.add(principal_of(who))
        elif what == "restore":
            self.shared.may_not.clear()
        elif what == "stakes":
            self.shared.requirements[""] = LOW if self.shared.requirements[""] is HIGH else HIGH
        elif what == "protect":
            gates = () if self.protection.gates else ("evidence:safety",)
            self.protection = Protection(release_required=True, approvals=1, gates=gates)
            self.processes[0].transact(lambda c: declare(c, "production", self.protection))
        elif what == "move":
            self.point(number, at)
            self.moved = True
        else:
            self.clock.advance(40 * 3600)

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def both_agree_with_the_database(self) -> None:
        self.runner.run(self.agree())

    @invariant()
    def what_stands_is_possible(self) -> None:
        standing = self.assignment()
        found = self.runner.run(self.processes[0].releases.list(ALICE, prompt=self.name))
        states = {release.id: release.state for release in found}
        assert sum(state == "active" for state in states.values()) <= 1
        assert sum(state in OPEN for state in states.values()) <= 1
        if standing.release:
            assert states[standing.release] == "active", "what is in force is active"
            assert {one.id: one.number for one in found}[standing.release] == standing.number
        active = [release for release, state in states.items() if state == "active"]
        if not self.moved:
            assert active == ([standing.release] if standing.release else []), "what is active is in force"
        if standing.canary is not None:
            assert states[standing.canary.release] in ("canary", "paused")

    @invariant()
    def every_deed_has_its_leaf(self) -> None:
        leaves = self.processes[1].leaves()[self.first_leaf :]
        voids = leaves.count("releases:void")
        assert len(leaves) - voids == self.done

    def pick(self, nth: int) -> str:
        return self.order[-1 - min(nth, len(self.order) - 1)]

    # -- the model -----------------------------------------------------------------------------------------------------

    def circumstances(self) -> Any:
        """All that a proposal is bound to."""
        return (self.base(), self.shared.requirements[""], self.protection)

    def base(self) -> tuple[int, str]:
        standing = self.assignment()
        return standing.number, standing.release

    def may_run(self, release: str) -> None:
        """A share of the traffic takes all evidence, under the circumstances of the proposal."""
        known = self.known[release]
        _, requirements, protection = known.circumstances
        assert (self.shared.requirements[""], self.protection) == (requirements, protection), "nothing has changed"
        if "evidence:safety" in protection.gates:
            assert known.evidence.get("safety"), "never without its evidence"
        if requirements.human_review:
            assert known.reviewed_by_another

    def may_start(self, release: str) -> None:
        """A start takes enough approvals of others, who may still give them, in time."""
        known = self.known[release]
        _, requirements, protection = known.circumstances
        counted = known.approvals - self.shared.may_not - {known.author}
        assert len(counted) >= max(requirements.approvals, protection.approvals), "never without its approvals"
        assert self.clock.now() < known.at + 72 * HOUR, "nor with stale ones"
        after = self.assignment()
        moved_by_itself = (after.number, after.release)
        if after.canary is not None:
            assert moved_by_itself == known.circumstances[0], "the base is the one that was seen"

    def assignment(self) -> prompts.Assignment:
        found = self.processes[0].database.query(lambda c: prompts.assignment(c, PROJECT, self.name, "production"))
        assert found is not None
        return found

    def point(self, number: int, at: int) -> None:
        async def move() -> None:
            point(self.processes[at], number, prompt=self.name)

        self.runner.run(move())

    def attempt(self, action: Awaitable[Any]) -> Any:
        """What came of it; ``None`` where it was refused, which must be in our own words."""

        async def tried() -> Any:
            try:
                return await action
            except OstinatoError as error:
                assert error.message and error.code
                return None

        result = self.runner.run(tried())
        self.done += result is not None
        return result

    async def agree(self) -> None:
        def drawn(process: Process) -> list[Any]:
            try:
                found = [process.prompts.value.resolve(PROJECT, self.name, seed) for seed in SEEDS]
            except NotFound:
                return []
            return [(one.number, one.release, one.arm) for one in found]

        one, other = self.processes
        fresh = one.fresh()
        wanted = [fresh.resolve(PROJECT, self.name, seed) for seed in SEEDS]
        for _ in range(200):
            if drawn(one) == drawn(other) == [(x.number, x.release, x.arm) for x in wanted]:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the processes do not agree with the database")


def run(url: str, clock: ManualClock, examples: int, steps: int, **more: Any) -> None:
    shared = Shared()
    with asyncio.Runner() as runner:
        stack = installation(url, clock, shared)
        make = runner.run(stack.__aenter__())
        try:
            processes = (runner.run(make()), runner.run(make()))
            machine = type(
                "Started", (Machine,), {"runner": runner, "processes": processes, "shared": shared, "clock": clock}
            )
            run_machine(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    **more,
                ),
            )
        finally:
            runner.run(stack.__aexit__(None, None, None))


def test_any_order_of_anything(database_url: str, clock: ManualClock) -> None:
    run(database_url, clock, 12 if database_url.startswith("sqlite") else 6, 30)


@pytest.mark.soak
def test_any_order_of_anything_for_long(database_url: str, clock: ManualClock) -> None:
    run(database_url, clock, 1_000, 60)
