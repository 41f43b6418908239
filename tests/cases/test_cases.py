"""What becomes of an alarm until its case is closed, on both engines; and that of two processes one wins."""

import asyncio
from typing import Any

import msgspec
import pytest
from case_kit import ALICE, BOB, ORG, PROJECT, READER, STRANGER, SYSTEM, Process, caller

from ostinato import storage
from ostinato.access import Caller
from ostinato.cases import Alarm, Case, Settings, store
from ostinato.cases.cases import PEOPLE
from ostinato.cases.settings import Automatic
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound

DAY = 86_400


async def opened(one: Process, **more: Any) -> Case:
    case_id = await one.cases.on_alarm(one.alarm(**more))
    return (await one.cases.show(SYSTEM, case_id)).case


async def acted(one: Process, case: Case, name: Any = "notify", by: Any = ALICE) -> Case:
    await one.cases.propose(by, case.id, name)
    return await one.cases.approve(by, case.id)


async def test_an_alarm_opens_a_case_with_what_was_known(one: Process) -> None:
    alarm = one.alarm(statistic=31.0, threshold=20.0, samples=180)
    found = await one.cases.show(READER, await one.cases.on_alarm(alarm))
    case = found.case
    assert (case.state, case.severity, case.owner, case.alarms) == ("detected", "medium", "ann", 1)
    assert case.evidence == {"mean": 0.7, "statistic": 31.0, "threshold": 20.0, "samples": 180, "alarm": alarm.id}
    assert case.title == "quality: quality:cusum on the intent usual (31, threshold 20)"
    assert [line.action for line in found.playbook][:2] == ["raise-sampling", "roll-back"]
    assert case.due_at - case.opened_at == DAY * 1_000_000
    assert one.leaves() == ["cases:open"] and one.events() == ["cases:open"]


async def test_equal_alarms_join_and_are_counted(one: Process) -> None:
    first = await opened(one)
    for number in range(4):
        one.clock.advance(10)
        assert await one.cases.on_alarm(one.alarm(evidence={"mean": 0.1 * number})) == first.id
    case = (await one.cases.show(SYSTEM, first.id)).case
    assert case.alarms == 5 and case.last_at == one.clock.now() and case.latest == {"mean": 0.1 * 3}
    assert case.evidence["mean"] == 0.7, "the evidence stays as it was"
    assert one.leaves() == ["cases:open"]
    assert await one.cases.on_alarm(one.alarm(intent="small")) != first.id


async def test_two_organizations_never_share_a_case(one: Process) -> None:
    """Of the whole of an organization, the project is empty: only the organization tells two alarms apart."""
    mine = await opened(one, project="", intent="", detector="audit:keeper")
    theirs = await opened(one, project="", intent="", detector="audit:keeper", org="f" * 32)
    assert mine.id != theirs.id and (mine.org, theirs.org) == (ORG, "f" * 32)
    assert (mine.alarms, theirs.alarms) == (1, 1)


async def test_cases_from_before_their_keys_named_the_organization_are_joined(one: Process) -> None:
    first, ended = await opened(one), await opened(one, intent="small")
    await one.cases.dismiss(ALICE, ended.id, reason="no")
    storage.downgrade(one.database, "0022_updating")
    storage.migrate(one.database)
    assert await one.cases.on_alarm(one.alarm()) == first.id
    assert await one.cases.on_alarm(one.alarm(intent="small")) == ended.id
    with pytest.raises(Conflict):
        one.database.transact(lambda c: store.insert(c, msgspec.structs.replace(first, id="0" * 32)))


async def test_only_what_was_read_is_approved(one: Process) -> None:
    case = await opened(one)
    seen = await one.cases.propose(ALICE, case.id, "notify", reason="a word is enough")
    await one.cases.reject(BOB, case.id, reason="more is needed")
    await one.cases.propose(BOB, case.id, "roll-back", {"release": "r" * 32})
    with pytest.raises(Conflict) as refused:
        await one.cases.approve(ALICE, case.id, version=seen.version)
    assert refused.value.code == "version_moved" and not one.done


async def test_two_processes_open_one_case(one: Process, other: Process) -> None:
    ids = await asyncio.gather(*(process.cases.on_alarm(process.alarm()) for process in (one, other) for _ in range(5)))
    assert len(set(ids)) == 1
    case = (await one.cases.show(SYSTEM, ids[0])).case
    assert case.alarms == 10 and one.leaves() == ["cases:open"]


async def test_the_whole_way_leaves_a_leaf_at_each_step(one: Process) -> None:
    case = await opened(one)
    await one.cases.triage(ALICE, case.id, owner="bob", reason="it is so")
    await one.cases.comment(ALICE, case.id, "since the last release")
    await one.cases.propose(ALICE, case.id, "open-breaker", {"held": True}, reason="until we know")
    done = await one.cases.approve(ALICE, case.id, reason="yes")
    assert done.state == "executed" and one.done[0].params == {"held": True} and one.done[0].case.owner == "bob"
    one.clock.advance(901)
    await one.watcher.look()
    await one.watcher.look()
    found = await one.cases.show(READER, case.id)
    assert found.case.state == "closed" and found.case.closed_at == one.clock.now()
    assert [event.verb for event in found.history] == [
        "open", "triage", "comment", "propose", "approve", "execute", "verify", "close",
    ]  # fmt: skip
    leaves = one.leaves()
    assert [leaf for leaf in leaves if leaf != "cases:act"] == [f"cases:{event.verb}" for event in found.history]
    assert leaves.count("cases:act") == 2, "what is intended elsewhere, and its outcome"
    assert one.events() == [f"cases:{event.verb}" for event in found.history]
    assert found.actions[0].helped is True and found.actions[0].facts == {"done": 1}
    assert all(event.leaf is not None for event in found.history)


async def test_at_high_stakes_somebody_else_must_say_yes(one: Process) -> None:
    case = await opened(one, intent="grave")
    assert (case.severity, case.owner) == ("high", "eva")
    await one.cases.propose(ALICE, case.id, "notify")
    with pytest.raises(Denied, match="somebody else"):
        await one.cases.approve(ALICE, case.id)
    assert one.done == []
    assert (await one.cases.approve(BOB, case.id)).state == "executed"


async def test_an_action_that_fails_takes_the_case_back(one: Process) -> None:
    case = await opened(one)
    one.fails = True
    back = await acted(one, case)
    assert back.state == "triaged" and back.escalated == 1
    one.fails = False
    one.clock.advance(0.001)  # ids of one moment are in no order
    assert (await acted(one, case)).state == "executed"
    states = [(action.state, action.facts.get("code")) for action in (await one.cases.show(SYSTEM, case.id)).actions]
    assert states == [("failed", "internal_error"), ("done", None)]


async def test_an_action_that_nobody_can_carry_out_is_refused_with_the_reason(one: Process) -> None:
    case = await opened(one)
    assert (await acted(one, case, "close-semantic")).state == "triaged"
    (action,) = (await one.cases.show(SYSTEM, case.id)).actions
    assert action.facts["code"] == "action_not_available"


async def test_what_did_not_help_escalates_and_may_be_tried_differently(one: Process) -> None:
    case = await acted(one, await opened(one))
    one.clock.advance(800)
    await one.cases.on_alarm(one.alarm())
    one.clock.advance(101)
    await one.watcher.look()
    back = (await one.cases.show(SYSTEM, case.id)).case
    assert (back.state, back.severity, back.owner, back.escalated) == ("triaged", "high", "operator", 1)
    assert (await one.cases.show(SYSTEM, case.id)).actions[0].helped is False


async def test_what_comes_back_soon_opens_the_case_again(one: Process) -> None:
    case = await acted(one, await opened(one))
    one.clock.advance(901)
    for _ in range(2):
        await one.watcher.look()
    one.clock.advance(13 * DAY)
    assert await one.cases.on_alarm(one.alarm()) == case.id
    again = (await one.cases.show(SYSTEM, case.id)).case
    assert (again.state, again.reopened, again.alarms) == ("detected", 1, 2)
    await one.cases.dismiss(ALICE, case.id, reason="we live with it")
    one.clock.advance(15 * DAY)
    assert await one.cases.on_alarm(one.alarm()) != case.id, "after two weeks it is another case"


async def test_a_dismissed_alarm_is_quiet_for_a_day(one: Process) -> None:
    case = await opened(one)
    await one.cases.dismiss(ALICE, case.id, reason="a false alarm")
    one.clock.advance(3_600)
    assert await one.cases.on_alarm(one.alarm()) == case.id
    assert (await one.cases.show(SYSTEM, case.id)).case.state == "dismissed"
    one.clock.advance(DAY)
    await one.cases.on_alarm(one.alarm())
    assert (await one.cases.show(SYSTEM, case.id)).case.state == "detected"


async def test_an_alarm_from_before_the_end_opens_nothing(one: Process) -> None:
    """Watches give what stands: what a process that has just started sees was known before."""
    alarm = one.alarm()
    case_id = await one.cases.on_alarm(alarm)
    one.clock.advance(60)
    await one.cases.dismiss(ALICE, case_id, reason="known")
    one.clock.advance(2 * DAY)
    assert await one.cases.on_alarm(alarm) == case_id
    assert (await one.cases.show(SYSTEM, case_id)).case.state == "dismissed"


async def test_nobody_came_in_time(one: Process) -> None:
    case = await opened(one)
    one.clock.advance(DAY - 1)
    await one.watcher.look()
    assert not (await one.cases.show(SYSTEM, case.id)).case.overdue
    one.clock.advance(1)
    for _ in range(3):
        await one.watcher.look()
    late = (await one.cases.show(SYSTEM, case.id)).case
    assert late.overdue and late.escalated == 1 and one.events() == ["cases:open", "cases:overdue"]
    moved = await one.cases.triage(ALICE, case.id)
    assert not moved.overdue and moved.due_at == one.clock.now() + DAY * 1_000_000


async def test_a_case_that_is_found_to_be_worse_has_less_time_and_is_not_late_at_once(one: Process) -> None:
    case = await opened(one)
    usual = await one.cases.triage(ALICE, case.id)
    worse = await one.cases.triage(ALICE, case.id, severity="critical")
    assert worse.due_at == one.clock.now() + 3_600_000_000 < usual.due_at
    await one.watcher.look()
    assert not (await one.cases.show(SYSTEM, case.id)).case.overdue
    milder = await one.cases.triage(ALICE, case.id, severity="low")
    assert milder.due_at == worse.due_at
    one.clock.advance(3_600)
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.overdue


@pytest.mark.parametrize(("intent", "goes"), [("small", True), ("usual", False), ("grave", False)])
async def test_only_what_the_configuration_lists_goes_by_itself(one: Process, intent: str, goes: bool) -> None:
    rule = Automatic(kind="quality", action="open-breaker", stakes="low", params={"held": True})
    process = Process(one.database.url, one.clock, Settings(automatic=(rule,)))
    try:
        case_id = await process.cases.on_alarm(process.alarm(intent=intent))
        other_kind = await process.cases.on_alarm(process.alarm(kind="latency", intent="small", detector="slow"))
        await process.watcher.look()
        case = (await process.cases.show(SYSTEM, case_id)).case
        assert case.state == ("executed" if goes else "detected") and len(process.done) == int(goes)
        assert (await process.cases.show(SYSTEM, other_kind)).case.state == "detected"
        if goes:
            verbs = [event.verb for event in (await process.cases.show(SYSTEM, case_id)).history]
            assert verbs == ["open", "propose", "automatic", "execute"]
            await process.watcher.look()
            assert len(process.done) == 1
    finally:
        process.database.close()


async def test_two_processes_act_once(one: Process, other: Process) -> None:
    case = await opened(one)
    await one.cases.propose(ALICE, case.id, "notify")
    tried = await asyncio.gather(
        one.cases.approve(ALICE, case.id), other.cases.approve(BOB, case.id), return_exceptions=True
    )
    assert sum(isinstance(result, Case) for result in tried) == 1
    assert sum(isinstance(result, Conflict) for result in tried) == 1
    assert len(one.done) + len(other.done) == 1


async def test_what_a_crash_left_undone_is_done_by_the_next_process(one: Process, other: Process) -> None:
    case = await opened(one)
    await one.cases.propose(ALICE, case.id, "notify")

    async def crash(order: object) -> Any:
        raise asyncio.CancelledError

    one.cases.bind("notify", crash)
    with pytest.raises(asyncio.CancelledError):
        await one.cases.approve(ALICE, case.id)
    assert (await other.cases.show(SYSTEM, case.id)).case.state == "approved"
    (effect,) = await other.log.unfinished(other.clock.now() + 1, ["cases:act"])
    for _ in range(2):
        await other.cases.carry_out(effect.payload)
    assert (await other.cases.show(SYSTEM, case.id)).case.state == "executed" and len(other.done) == 1


async def test_what_was_not_told_is_told_later_and_once(one: Process, other: Process) -> None:
    async def broken(*_: object) -> None:
        raise ConnectionError

    one.cases.tell = broken
    with pytest.raises(ConnectionError):
        await one.cases.on_alarm(one.alarm())
    assert await other.cases.retell() == 1 and other.events() == ["cases:open"]
    assert await other.cases.retell() == 0
    assert "title" not in str(other.told), "no texts of people"


async def test_what_cannot_be_is_refused(one: Process) -> None:
    case = await opened(one)
    with pytest.raises(Conflict, match="no action waits"):
        await one.cases.approve(ALICE, case.id)
    with pytest.raises(Conflict, match="no action whose effect"):
        await one.cases.verify(ALICE, case.id, helped=True)
    with pytest.raises(Conflict, match="cannot become closed"):
        await one.cases.close(ALICE, case.id)
    with pytest.raises(Invalid, match="Say why"):
        await one.cases.dismiss(ALICE, case.id, reason=" ")
    with pytest.raises(Invalid, match="knows no 'everything'"):
        await one.cases.propose(ALICE, case.id, "flush-scope", {"everything": True})
    with pytest.raises(Conflict, match="moved on"):
        await one.cases.triage(ALICE, case.id, version=7)
    with pytest.raises(NotFound):
        await one.cases.show(STRANGER, case.id)
    with pytest.raises(NotFound):
        await one.cases.dismiss(STRANGER, case.id, reason="mine")
    with pytest.raises(Denied):
        await one.cases.triage(READER, case.id)
    assert await one.cases.list(STRANGER) == []
    assert one.leaves() == ["cases:open"]


async def test_a_target_is_held_only_by_who_may_act_everywhere(one: Process) -> None:
    case = await opened(one)
    await one.cases.propose(ALICE, case.id, "open-breaker", {"target": "fake/plain"})
    with pytest.raises(Denied, match="everybody's"):
        await one.cases.approve(BOB, case.id)
    assert one.done == []


async def test_a_project_has_so_many_open_cases(one: Process) -> None:
    process = Process(one.database.url, one.clock, Settings(open_cases=3))
    try:
        ids = [await process.cases.on_alarm(process.alarm(f"detector:{number}")) for number in range(6)]
        assert [bool(one) for one in ids] == [True] * 3 + [False] * 3 and process.cases.refused == 3
    finally:
        process.database.close()


async def test_people_open_cases_too(one: Process) -> None:
    case = await one.cases.open(ALICE, PROJECT, kind="other", title="Users complain", intent="grave")
    assert (case.state, case.severity, case.title) == ("detected", "high", "Users complain")
    with pytest.raises(Invalid, match="no intent"):
        await one.cases.open(ALICE, PROJECT, kind="other", title="x", intent="nowhere")


@pytest.mark.parametrize(
    ("about", "action", "params"),
    [
        ({"intent": "small"}, "open-breaker", {"intent": "grave"}),
        ({"intent": ""}, "open-breaker", {"intent": "grave"}),
        ({"intent": "small"}, "roll-back", {"release": "grave.1"}),
        ({"intent": "small", "prompt": "grave.p"}, "roll-back", {}),
        ({"intent": "", "release": "grave.1"}, "roll-back", {}),
    ],
)
async def test_the_stakes_are_those_of_what_is_reached_not_of_the_case(
    one: Process, about: dict[str, str], action: Any, params: dict[str, Any]
) -> None:
    case = await opened(one, **about)
    await one.cases.propose(ALICE, case.id, action, params)
    again = Caller(**{**msgspec.structs.asdict(ALICE), "key_id": "alice-2", "key_prefix": "alice-2"})
    for self_again in (ALICE, again):
        with pytest.raises(Denied, match="somebody else"):
            await one.cases.approve(self_again, case.id)
    assert one.done == []
    assert (await one.cases.approve(BOB, case.id)).state == "executed"


async def test_the_stakes_of_a_prompts_case_are_those_of_its_intent(one: Process) -> None:
    case = await opened(one, intent="", prompt="grave.p")
    assert (case.stakes, case.severity, case.owner) == ("high", "high", "eva")


async def test_nothing_that_reaches_high_stakes_goes_by_itself(one: Process) -> None:
    rule = Automatic(kind="quality", action="open-breaker", params={"intent": "grave"})
    one.cases.settings = msgspec.structs.replace(one.settings, automatic=(rule,))
    case = await opened(one, intent="small")
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.state == "proposed" and one.done == []


async def test_a_case_is_no_way_around_a_right_that_somebody_lacks(one: Process) -> None:
    case = await opened(one)
    await one.cases.propose(ALICE, case.id, "roll-back")
    with pytest.raises(Denied, match="releases:operate"):
        await one.cases.approve(caller("carl", without="releases:operate"), case.id)
    assert one.done == []
    assert (await one.cases.approve(BOB, case.id)).state == "executed"


async def test_what_still_stands_has_not_been_helped_and_is_not_closed(one: Process, other: Process) -> None:
    """A watch tells of a state once: that it is silent afterwards does not mean that it is over."""
    stands = [one.alarm("review:late", kind="review", intent="usual")]

    async def look() -> list[Alarm]:
        return stands

    for process in (one, other):
        process.watcher.watch("reviews", look)
        await process.watcher.look()
    (case,) = await one.cases.list(SYSTEM)
    assert case.alarms == 1, "what another process has told already is not told again"
    await acted(one, case)
    one.clock.advance(901)
    await one.watcher.look()
    back = (await one.cases.show(SYSTEM, case.id)).case
    assert (back.state, back.escalated) == ("triaged", 1)
    await one.cases.propose(ALICE, back.id, "notify")
    await one.cases.approve(BOB, back.id)
    stands.clear()
    one.clock.advance(901)
    for _ in range(2):
        await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.state == "closed"


async def test_of_what_people_found_no_machine_says_that_it_helped(one: Process) -> None:
    case = await one.cases.open(ALICE, PROJECT, kind="other", title="Users complain")
    await acted(one, case)
    one.clock.advance(901)
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.state == "executed"
    one.clock.advance(3_000)
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.state == "triaged"


@pytest.mark.parametrize("ending", ["dismissed", "closed"])
async def test_what_ended_while_a_clock_was_ahead_is_told_of_again(one: Process, ending: str) -> None:
    one.clock.jump(400 * DAY)
    case = await opened(one)
    if ending == "dismissed":
        await one.cases.dismiss(ALICE, case.id, reason="no")
    else:
        await acted(one, case)
        await one.cases.verify(ALICE, case.id, helped=True)
        await one.cases.close(ALICE, case.id)
    one.clock.jump(-400 * DAY)
    again = await opened(one)
    assert (again.id, again.state) == (case.id, "detected")


async def test_a_clock_that_was_ahead_puts_off_nothing_for_a_year(one: Process) -> None:
    one.clock.jump(400 * DAY)
    waiting, done = await opened(one), await opened(one, intent="small")
    await acted(one, done)
    one.clock.jump(-400 * DAY)
    for _ in range(2):
        await one.watcher.look()
    standing = [(await one.cases.show(SYSTEM, one_of.id)).case for one_of in (waiting, done)]
    assert [case.overdue for case in standing] == [False, False], "not at once"
    assert standing[1].state == "executed", "by the corrected clock it was only just done"
    one.clock.advance(one.settings.verify_seconds)
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, done.id)).case.state == "verified"
    one.clock.advance(DAY)
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, waiting.id)).case.overdue


async def test_less_time_holds_for_open_cases_and_makes_none_late_at_once(one: Process) -> None:
    case = await opened(one)
    one.clock.advance(3 * 3_600)
    one.cases.settings = msgspec.structs.replace(one.settings, due_hours={"medium": 2.0})
    before = len(one.events())
    for _ in range(3):
        await one.watcher.look()
    standing = (await one.cases.show(SYSTEM, case.id)).case
    assert (standing.overdue, standing.due_at) == (False, one.clock.now() + 2 * 3_600_000_000)
    assert len(one.events()) == before, "nothing has happened to it"
    one.clock.advance(2 * 3_600)
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.overdue


async def test_more_time_holds_from_the_next_state_on(one: Process) -> None:
    case = await opened(one)
    one.cases.settings = msgspec.structs.replace(one.settings, due_hours={"medium": 240.0})
    await one.watcher.look()
    assert (await one.cases.show(SYSTEM, case.id)).case.due_at == case.due_at
    moved = await one.cases.triage(ALICE, case.id)
    assert moved.due_at == one.clock.now() + 10 * DAY * 1_000_000


async def test_what_no_figure_tells_of_waits_for_nobody_longer_than_ever_after_a_clock_was_ahead(one: Process) -> None:
    one.clock.jump(400 * DAY)
    case = await opened(one, detector=f"{PEOPLE}alice")
    await acted(one, case)
    one.clock.jump(-400 * DAY)
    for _ in range(6):
        await one.watcher.look()
        one.clock.advance(one.settings.verify_seconds)
    standing = (await one.cases.show(SYSTEM, case.id)).case
    assert (standing.state, standing.escalated) == ("triaged", 1)
