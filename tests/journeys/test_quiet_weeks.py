"""A week without traffic, and one request a day: nothing is divided by nothing, and nobody is woken in vain.

The whole gateway in the test's own process, with its real ledger and rollups; only the clock is wound by hand.
"""

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from control import Plane, opened
from inside import question

from ostinato.access.permissions import ALL

HOUR = 3_600.0
WATCHED = """
[monitoring]
every_seconds = 3600.0
[cases]
watch_seconds = 3600.0
"""
PAGES = (
    "/kpis",
    "/kpis?by=intent",
    "/kpis?preset=support",
    "/kpis?intent=answering",
    "/kpis/series?name=error_rate&step=86400",
    "/triage",
    "/triage/inventory",
    "/savings",
    "/savings/holdout",
    "/savings/roi",
    "/savings/budgets",
    "/savings/costs",
    "/detectors/state",
    "/detectors/index",
    "/detectors/alarms",
    "/stats",
    "/cases",
)
ABOUT_THE_HOUSE = {"audit_freshness", "drift_index"}
"""Figures that are not of traffic."""


class Quiet(Plane):
    """One tenant with an intent whose detectors are on."""

    secret: str
    calls: int = 0

    async def begin(self) -> None:
        self.secret = await self.key(ALL - {"organizations:write"})
        wish = {"title": "Answers", "owner": "care", "stakes": "medium", "project": self.projects["acme/main"]}
        made = await self.call("PUT", "/intents/answering", wish, key=self.secret)
        assert made.status_code in (200, 201), made.text

    async def ask(self, count: int = 1) -> None:
        for _ in range(count):
            self.calls += 1
            body = question(f"What is {self.calls}?")
            got = await self.world.ask(body=body, headers={"ostinato-intent": "answering"}, key=self.secret)
            assert got.status == 200, got.body

    async def hours(self, count: int, asking: Any = None) -> None:
        """Let hours pass, each looked at."""
        for hour in range(count):
            if asking is not None and asking(hour):
                await self.ask()
            self.world.clock.advance(HOUR)
            await asyncio.to_thread(self.app.recorder.flush)
            assert await self.app.governing.monitoring.watch.look(), self.app.governing.monitoring.watch.failing
            await self.app.governing.case_watcher.look()

    async def get(self, path: str) -> Any:
        reply = await self.call("GET", path, key=self.secret)
        assert reply.status_code == 200, (path, reply.text[:500])
        return json.loads(reply.text, parse_constant=lambda name: pytest.fail(f"{path} says {name}"))

    async def alarms(self) -> list[Any]:
        return (await self.get("/detectors/alarms"))["items"]

    async def pages(self, days: float) -> dict[str, Any]:
        """Every page of the last days."""
        now = self.world.clock.now()
        window = f"since={now - int(days * 24 * HOUR * 1e6)}&until={now}"
        with_window = ("/kpis", "/savings", "/stats")
        found: dict[str, Any] = {}
        for page in PAGES:
            timed = page.startswith(with_window) and page not in ("/savings/costs", "/savings/budgets")
            found[page] = await self.get(f"{page}{'&' if '?' in page else '?'}{window}" if timed else page)
        return found


@pytest.fixture
async def quiet() -> AsyncIterator[Quiet]:
    async with opened(WATCHED, kind=Quiet) as plane:
        await plane.begin()
        yield plane


def figures(page: Any) -> list[Any]:
    assert page["figures"]
    for one in page["figures"]:
        for name in ("value", "low", "high"):
            assert one[name] is None or math.isfinite(one[name]), one
        assert one["value"] is not None or one["missing"], f"neither a value nor why there is none: {one}"
    return page["figures"]


async def test_a_week_without_traffic_raises_one_alarm_and_its_pages_say_that_nothing_came(quiet: Quiet) -> None:
    await quiet.hours(8 * 24, lambda _: True)
    assert await quiet.alarms() == []
    await quiet.hours(7 * 24)
    (alarm,) = await quiet.alarms()
    assert (alarm["kind"], alarm["intent"]) == ("missing-data", "answering")
    cases = (await quiet.get("/cases"))["items"]
    assert [(one["kind"], one["alarms"]) for one in cases] == [("missing-data", 1)]
    pages = await quiet.pages(6)
    for page in ("/kpis", "/kpis?preset=support", "/kpis?intent=answering"):
        assert {one["name"] for one in figures(pages[page]) if one["n"]} <= ABOUT_THE_HOUSE, page
    assert pages["/kpis/series?name=error_rate&step=86400"] == []
    await quiet.ask()
    await quiet.hours(3 * 24)
    assert len(await quiet.alarms()) <= 2, "a new silence is a new alarm, and only one"


async def test_one_request_a_day_wakes_nobody_and_its_intervals_are_wide(quiet: Quiet) -> None:
    await quiet.hours(14 * 24, lambda hour: hour % 24 == 9)
    assert await quiet.alarms() == [] and (await quiet.get("/cases"))["items"] == []
    pages = await quiet.pages(14)
    for page in ("/kpis", "/kpis?by=intent", "/kpis?preset=support"):
        figures(pages[page])
    (errors,) = [one for one in figures(pages["/kpis"]) if one["name"] == "error_rate"]
    assert errors["n"] == 14 and errors["value"] == 0.0 and errors["high"] > 0.15, errors
