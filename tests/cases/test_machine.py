"""The state machine of a case under any order of steps, by people and by alarms: it is always in one of its states,
every step but a join leaves exactly one leaf and one event, and no action is carried out twice."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from case_kit import ALICE, BOB, SYSTEM, Process, seed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ostinato import storage
from ostinato.cases import tables
from ostinato.cases.model import ENDED, NEXT, OPEN, STATES, Case
from ostinato.core.clock import ManualClock
from ostinato.core.errors import OstinatoError

INTENTS = st.sampled_from(["small", "usual", "grave"])
WHO = st.sampled_from([ALICE, BOB])


class Machine(RuleBasedStateMachine):
    """Steps of two people and of the clock, on one database."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        url = f"sqlite:///{Path(self.directory.name) / 'control.db'}"
        self.process = Process(url, self.clock)
        storage.migrate(self.process.database)
        self.process.database.transact(seed)
        self.known: dict[str, str] = {}
        self.proposed: dict[str, str] = {}

    def teardown(self) -> None:
        self.process.database.close()
        self.loop.close()
        self.directory.cleanup()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def case(self, intent: str) -> Case | None:
        case_id = self.known.get(intent)
        return None if case_id is None else self.run(self.process.cases.show(SYSTEM, case_id)).case

    def step(self, intent: str, work: Any, *, to: set[str]) -> None:
        """Try a step: it is refused, or it leads where it may, with one leaf more."""
        before = self.case(intent)
        if before is None:
            work.close()
            return
        leaves = len(self.process.leaves())
        try:
            self.run(work)
        except OstinatoError:
            after = self.case(intent)
            assert after == before and len(self.process.leaves()) == leaves, "what is refused changes nothing"
            return
        after = self.case(intent)
        assert after is not None and after.state in to, (before.state, after.state)
        assert after.version > before.version and len(self.process.leaves()) > leaves

    @rule(intent=INTENTS)
    def alarm(self, intent: str) -> None:
        before = self.case(intent)
        case_id = self.run(self.process.cases.on_alarm(self.process.alarm(intent=intent)))
        after = self.run(self.process.cases.show(SYSTEM, case_id)).case
        if before is not None and before.state in OPEN:
            assert case_id == before.id and after.alarms == before.alarms + 1
        if before is not None and case_id != before.id:
            assert before.state in ENDED
        self.known[intent] = case_id

    @rule(intent=INTENTS, who=WHO)
    def triage(self, intent: str, who: Any) -> None:
        self.step(intent, self.process.cases.triage(who, self.known.get(intent, "")), to={"triaged"})

    @rule(intent=INTENTS, who=WHO)
    def comment(self, intent: str, who: Any) -> None:
        self.step(intent, self.process.cases.comment(who, self.known.get(intent, ""), "hm"), to=set(STATES))

    @rule(intent=INTENTS, who=WHO)
    def propose(self, intent: str, who: Any) -> None:
        self.step(intent, self.process.cases.propose(who, self.known.get(intent, ""), "notify"), to={"proposed"})

    @rule(intent=INTENTS, who=WHO, fails=st.booleans())
    def approve(self, intent: str, who: Any, fails: bool) -> None:
        before = self.case(intent)
        self.process.fails = fails
        self.step(intent, self.process.cases.approve(who, self.known.get(intent, "")), to={"executed", "triaged"})
        after = self.case(intent)
        if before is not None and after is not None and after.state == "executed" != before.state and intent == "grave":
            (action,) = [one for one in self.run(self.process.cases.actions(after.id)) if one.id == after.action]
            assert action.decided_by != action.proposed_by, "nobody approves their own at high stakes"

    @rule(intent=INTENTS, who=WHO)
    def reject(self, intent: str, who: Any) -> None:
        self.step(intent, self.process.cases.reject(who, self.known.get(intent, ""), reason="no"), to={"triaged"})

    @rule(intent=INTENTS, who=WHO, helped=st.booleans())
    def verify(self, intent: str, who: Any, helped: bool) -> None:
        to = {"verified"} if helped else {"triaged"}
        self.step(intent, self.process.cases.verify(who, self.known.get(intent, ""), helped=helped), to=to)

    @rule(intent=INTENTS, who=WHO)
    def close(self, intent: str, who: Any) -> None:
        self.step(intent, self.process.cases.close(who, self.known.get(intent, "")), to={"closed"})

    @rule(intent=INTENTS, who=WHO)
    def dismiss(self, intent: str, who: Any) -> None:
        self.step(intent, self.process.cases.dismiss(who, self.known.get(intent, ""), reason="no"), to={"dismissed"})

    @rule(seconds=st.sampled_from([60, 600, 90_000, 1_300_000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.run(self.process.watcher.look())
        assert self.process.watcher.failing == ""

    @invariant()
    def every_step_is_written_down_once(self) -> None:
        event = tables.event
        rows = self.process.database.query(
            lambda c: c.execute(sa.select(event.c.case, event.c.verb, event.c.state, event.c.leaf, event.c.untold)
                                .order_by(event.c.case, event.c.number)).all()
        )  # fmt: skip
        leaves = [leaf for leaf in self.process.leaves() if leaf != "cases:act"]
        assert sorted(leaves) == sorted(f"cases:{row.verb}" for row in rows)
        assert len({row.leaf for row in rows}) == len(rows)
        assert all(row.untold is None for row in rows) and len(self.process.told) == len(rows)
        last: dict[str, str] = {}
        for row in rows:
            before = last.get(row.case)
            assert before is None or row.state == before or row.state in NEXT[before], (before, row.state, row.verb)
            last[row.case] = row.state

    @invariant()
    def one_case_of_a_key_is_open_and_no_action_is_done_twice(self) -> None:
        case = tables.case
        keys = self.process.database.query(
            lambda c: c.scalars(sa.select(case.c.key).where(case.c.state.in_(OPEN))).all()
        )
        assert len(keys) == len(set(keys))
        orders = [order.id for order in self.process.done]
        assert len(orders) == len(set(orders))


def test_any_order_of_steps() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
