"""How soon what detectors found was found, and how soon it was contained: beside the drift index."""

from typing import Any

from case_kit import ALICE, ORG, OTHER, PROJECT, Process

from ostinato.cases import Case
from ostinato.kpis import drifting
from ostinato.kpis.model import Reading, Scope
from ostinato.traces import Window

SECOND = 1_000_000


async def projects(org: str) -> list[tuple[str, str]]:
    return [(PROJECT, "main"), (OTHER, "other")] if org == ORG else []


async def index(project: str, intent: str | None) -> float | None:
    return {PROJECT: 0.4, OTHER: 1.3}[project] if intent is None else None


async def unknown(project: str, intent: str | None) -> float | None:
    return None


async def opened(one: Process, **more: Any) -> Case:
    return (await one.cases.show(ALICE, await one.cases.on_alarm(one.alarm(**more)))).case


async def reading(one: Process, scope: Scope, known: drifting.Index = index, since: int = 0) -> Reading:
    window = Window(since, one.clock.now() + 1)
    return await drifting.drift(known, projects, one.cases.handled)(scope, window)


async def test_the_index_is_told_with_how_cases_were_found_and_contained(one: Process) -> None:
    begun = one.clock.now()
    contained = await opened(one, since=begun - 100 * SECOND)
    one.clock.advance(30)
    await one.cases.propose(ALICE, contained.id, "notify", {})
    await one.cases.approve(ALICE, contained.id)
    nothing = await opened(one, detector="latency:psi", kind="latency", since=one.clock.now() - 300 * SECOND)
    await one.cases.dismiss(ALICE, nothing.id, reason="a load test")
    await opened(one, detector="alert:slow", kind="latency")
    await opened(one, detector="policy", kind="policy")
    told = (await reading(one, Scope(org=ORG))).detail
    assert (told["project"], told["all"]) == ("other", {"main": 0.4, "other": 1.3})
    assert (told["cases"], told["time_to_detect"], told["time_to_contain"], told["contained"]) == (2, 200.0, 30.0, 1)
    false = told["false_alarms"]
    assert (false["value"], false["n"]) == (1.0, 1) and 0 < false["low"] < 0.5
    assert (await reading(one, Scope(org=ORG, project=PROJECT))).value == 0.4
    assert (await reading(one, Scope(org=ORG, intent="grave"), unknown)).detail == {"cases": 0}
    assert (await reading(one, Scope(org=ORG), since=one.clock.now())).detail["cases"] == 1, "the latter began before"
    one.clock.advance(1)
    assert (await reading(one, Scope(org=ORG), since=one.clock.now())).detail["cases"] == 0


async def test_cases_are_told_while_no_detector_knows_what_is_usual(one: Process) -> None:
    await opened(one, kind="missing-data")
    found = await reading(one, Scope(org=ORG, project=PROJECT), unknown)
    assert found.value is None and found.missing and found.detail["cases"] == 1
    assert found.detail["time_to_contain"] is None and found.detail["false_alarms"]["value"] is None
    other = await reading(one, Scope(org="somebody-else"), unknown)
    assert other.detail == {"cases": 0}
