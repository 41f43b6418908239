"""The account and its report, over the whole gateway and its API."""

import math
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import Plane, opened

from ostinato import kpis, releases, reviews, signals, statistics
from ostinato.access.permissions import ROLES
from ostinato.core import ids
from ostinato.intents.model import Budgets as Declared
from ostinato.savings import accounting, budgets, costs, releasing, summed, tables
from ostinato.savings.model import Cost
from ostinato.traces import CallRow, Filter, Window
from ostinato.wire.model import Usage

MONTH = round(costs.MONTH)
HOUR = 3_600_000_000
LINE = {"day": "2026-01-01", "model": "m", "token": "input"}


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


@pytest.fixture
async def key(plane: Plane) -> str:
    return await plane.key(ROLES["owner"])


async def read(plane: Plane, key: str, path: str) -> Any:
    reply = await plane.call("GET", path, key=key)
    assert reply.status_code == 200, reply.text
    return reply.json()


def lines(account: Any) -> dict[str, Any]:
    return {line["name"]: line for line in account["lines"]}


async def test_hits_are_saved_and_overheads_are_below_zero(plane: Plane, key: str):
    for _ in range(5):
        await plane.world.chat("again", key=key)
    for name, kind, dollars in (("boxes", "infrastructure", 304.36875), ("people", "reviewer", 60.0)):
        body = {"name": name, "kind": kind, "dollars": dollars, "since": plane.world.clock.now() - MONTH}
        assert (await plane.call("POST", "/savings/costs", body, key)).status_code == 201
    await plane.world.rows(5)
    since = plane.world.clock.now() - 24 * HOUR
    account = await read(plane, key, f"/savings?since={since}")
    told = lines(account)
    stats = await read(plane, key, f"/stats?since={since}")
    assert told["exact cache"]["nano"] == stats["saved"] > 0
    assert told["exact cache"]["count"] == 4
    assert (told["semantic cache"]["state"], told["semantic cache"]["nano"]) == ("off", 0)
    # A day of a month of 30.436875 days at $304.36875.
    assert told["infrastructure"]["nano"] == pytest.approx(-10 * 10**9, rel=1e-6)
    assert told["tooling"] == {**told["tooling"], "nano": None, "state": "missing"}
    assert account["net"] == account["gross"] + account["overheads"]
    assert account["net"] < 0
    [figure] = (await read(plane, key, f"/kpis?names=operating_cost&since={since}"))["figures"]
    assert figure["value"] == pytest.approx(10.0, rel=0.01)
    narrow = lines(await read(plane, key, f"/savings?since={since}&project=main"))["infrastructure"]
    assert "whole organization's, in full" in narrow["detail"]
    assert account["pricing_coverage"] == 1.0


async def test_what_the_installation_costs_is_an_overhead_of_the_whole_and_of_no_project():
    async with opened("[kpis]\noperating_cost = 304.36875\n") as plane:
        key = await plane.key(ROLES["owner"])
        since = plane.world.clock.now() - 24 * HOUR
        account = await read(plane, key, f"/savings?since={since}")
        line = lines(account)["operating cost"]
        # A day of a month of 30.436875 days at $304.36875.
        assert (line["kind"], line["state"]) == ("overhead", "counted")
        assert line["nano"] == pytest.approx(-10 * 10**9, rel=1e-6)
        assert account["net"] == account["overheads"] == line["nano"]
        assert (await read(plane, key, f"/savings/roi?since={since}"))["account"]["net"] == account["net"]
        own = await read(plane, key, f"/savings?since={since}&project=main")
        line = lines(own)["operating cost"]
        assert (line["nano"], line["state"], own["net"]) == (None, "missing", 0)
        assert "$10" in line["detail"] and "this project's" in line["detail"]
        assert "operating cost" not in lines(await read(plane, key, f"/savings?since={since}&prompt=greeting"))


async def test_our_own_calls_are_overheads_by_purpose(plane: Plane, key: str):
    from ostinato.calls import tables as journal

    home = plane.projects["acme/main"]
    values = {
        "namespace": "n", "example": "", "org": plane.organizations["acme/main"], "project": home, "alias": "a",
        "target": "t", "replicate": 0, "answer": None, "usage": b"", "tokens": 1, "upstream_us": 1,
        "at": plane.world.clock.now(),
    }  # fmt: skip
    rows = [
        {**values, "key": purpose, "purpose": purpose, "cost": cost}
        for purpose, cost in (("search", 5), ("gate", 7), ("judge", 11), ("experiment", None))
    ]
    await plane.app.work.run(lambda c: c.execute(journal.paid_call.insert(), rows))
    plane.world.clock.advance(1)
    told = lines(await read(plane, key, "/savings"))
    assert (told["optimizer"]["nano"], told["judge"]["nano"], told["evaluation"]["nano"]) == (-12, -11, 0)
    assert "1 of them have no price" in told["evaluation"]["detail"]


async def test_wrong_hits_cost_what_somebody_has_said_and_are_missing_until_then(plane: Plane, key: str):
    await plane.app.ledger_database.run(lambda c: c.exec_driver_sql("SELECT 1"))
    room, now = plane.app.signals, plane.world.clock.now()
    for number, (value, weight) in enumerate([(0.0, 10.0), (0.0, 10.0), (1.0, 10.0)]):
        room.record(
            [
                signals.Signal(
                    id=ids.new(now), request_id=f"r{number}", at=now, org=plane.organizations["acme/main"],
                    project=plane.projects["acme/main"], source="review", name="right", value=value, weight=weight,
                    origin="o",
                )
            ]
        )  # fmt: skip
    assert room.flush()
    plane.world.clock.advance(1)
    told = lines(await read(plane, key, "/savings"))["wrong hits"]
    assert (told["nano"], told["state"], told["count"]) == (None, "missing", 20)
    body = {"name": "wrong", "kind": "wrong-hit", "dollars": 0.5}
    await plane.call("POST", "/savings/costs", body, key)
    plane.world.clock.advance(1)
    assert lines(await read(plane, key, "/savings"))["wrong hits"]["nano"] == -10 * 10**9


def test_a_monthly_cost_falls_into_a_window_by_its_days():
    cost = Cost(
        name="a", org="o", kind="tooling", nano=MONTH, project="", since=HOUR, until=3 * HOUR, note="", changed_at=0,
        changed_by="", version=1,
    )  # fmt: skip
    assert costs.per_month(cost, 0, 2 * HOUR) == HOUR
    assert costs.per_month(cost, 2 * HOUR, 9 * HOUR) == HOUR
    assert costs.per_month(cost, 4 * HOUR, 9 * HOUR) == 0


async def test_the_prefix_cache_is_worth_its_discount_less_its_surcharge(plane: Plane, key: str):
    body = {"input": 3.0, "cache_read": 0.3, "cache_write": 3.75, "output": 15.0}
    await plane.world.declare("prices", "fake/cached", body)
    usage = Usage(10, 1_000_000, 100_000, 5)
    at = plane.world.clock.now()
    record(plane, at, model="cached", usage=usage, cost=plane.app.prices.value.price("fake", "cached", usage, at))
    plane.world.clock.advance(1)
    line = lines(await read(plane, key, "/savings"))["provider prefix cache"]
    assert line["nano"] == round((1.0 * 2.7 - 0.1 * 0.75) * 10**9)
    assert line["count"] == 1


def record(plane: Plane, at: int, **fields: Any) -> str:
    row = CallRow(
        **{
            "request_id": ids.new(at), "at": at, "org": plane.organizations["acme/main"],
            "project": plane.projects["acme/main"], "key_id": "k", "wire": "openai.chat", "provider": "fake",
            "model": "plain", "target": "fake/plain", "alias": "plain", "upstream_us": 1000, "total_us": 1100,
            **fields,
        }
    )  # fmt: skip
    plane.app.recorder.call(row)
    return row.request_id


async def test_budgets_of_somebody_else_s_intents_are_told_to_nobody(plane: Plane, key: str):
    beta, side = plane.projects["beta/main"], plane.projects["acme/side"]
    await plane.world.declare("intents", "theirs", {"project": beta, "budgets": {"tokens_per_request": 7}})
    await plane.world.declare("intents", "aside", {"project": side, "budgets": {"tokens_per_request": 7}})
    await plane.world.declare("intents", "shared", {"budgets": {"tokens_per_request": 100}})
    now = plane.world.clock.now()
    hour = now - now % HOUR
    touches = [
        {"hour": hour, "project": project, "intent": intent, "effect": "refused", "count": count}
        for project, intent, count in (
            (beta, "theirs", 3),
            (beta, "shared", 5),
            (plane.projects["acme/main"], "shared", 2),
        )
    ]
    await plane.app.ledger_database.run(lambda c: c.execute(tables.touch.insert(), touches))
    plane.world.clock.advance(1)
    told = {one["intent"]: one["refused"] for one in await read(plane, key, "/savings/budgets")}
    assert "theirs" not in told
    assert told["shared"] == 2
    bound = await plane.key(frozenset({"kpis:read"}))
    assert [one["intent"] for one in await read(plane, bound, "/savings/budgets")] == ["shared"]


def change(plane: Plane, now: int) -> releasing.Change:
    return releasing.Change(
        id="new", project=plane.projects["acme/main"], prompt="greeting", base="old", base_number=1,
        began=now, since=now, until=now + HOUR,
    )  # fmt: skip


async def calls(plane: Plane, now: int, *, arm: str = "stable") -> None:
    """Fifty of the new release, with half the input, and fifty of the old one."""
    for number in range(50):
        at = now + number * 1_000_000
        common = {"prompt": "greeting"}
        record(
            plane, at, **common, prompt_version=2, release="new", arm="canary", usage=Usage(500, output=100), cost=600
        )
        record(plane, at, **common, prompt_version=1, release="old", arm=arm, usage=Usage(1000, output=100), cost=1100)


def told(
    plane: Plane, now: int, release: str, values: list[float], *, source: signals.Source = "scorer", name: str = "right"
) -> None:
    for value in values:
        plane.app.signals.record(
            [
                signals.Signal(
                    id=ids.new(now), request_id=ids.new(now), at=now + 1, org=plane.organizations["acme/main"],
                    project=plane.projects["acme/main"], source=source, name=name, value=value, release=release,
                    prompt="greeting",
                )
            ]
        )  # fmt: skip


async def effect(plane: Plane, now: int) -> releasing.Effect:
    assert plane.app.recorder.flush() and plane.app.signals.flush()
    return await plane.app.ledger_database.read(
        lambda c: releasing.effect(c, change(plane, now), 0.02, plane.app.prices.value)
    )


async def test_a_release_saves_nothing_until_quality_is_shown_to_hold(plane: Plane):
    now = plane.world.clock.now()
    await calls(plane, now, arm="control")
    found = await effect(plane, now)
    assert (found.shorter + found.cheaper, found.randomized, found.quality) == (25_000, True, None)
    [shorter, cheaper] = releasing.lines([found])
    assert (shorter.nano, shorter.state, cheaper.nano) == (0, "withheld", 0)
    told(plane, now, "new", [1.0] * 900 + [0.0] * 100)
    told(plane, now, "old", [1.0] * 900 + [0.0] * 100)
    found = await effect(plane, now)
    assert found.quality is not None and not found.quality.holds
    assert [line.state for line in releasing.lines([found])] == ["withheld", "withheld"]
    told(plane, now, "new", [1.0] * 1_000)
    found = await effect(plane, now)
    assert found.quality is not None and found.quality.holds
    made = releasing.lines([found])
    assert [line.state for line in made] == ["counted", "counted"]
    assert sum(line.nano or 0 for line in made) == 25_000
    assert "at random" in made[0].detail


async def test_a_release_that_costs_more_is_shown_below_zero_whatever_its_quality(plane: Plane):
    now = plane.world.clock.now()
    for number in range(40):
        at = now + number * 1_000_000
        record(plane, at, prompt="greeting", prompt_version=2, release="new", usage=Usage(2000, output=100), cost=2100)
        record(
            plane,
            at - HOUR,
            prompt="greeting",
            prompt_version=1,
            release="old",
            usage=Usage(1000, output=100),
            cost=1100,
        )
    found = await effect(plane, now)
    assert not found.randomized
    made = releasing.lines([found])
    assert sum(line.nano or 0 for line in made) == -40_000
    assert made[0].state == "counted"


async def test_thirty_good_answers_of_thirty_do_not_show_that_quality_holds(plane: Plane):
    now = plane.world.clock.now()
    await calls(plane, now, arm="control")
    for release in ("new", "old"):
        told(plane, now, release, [1.0] * 40)
    found = await effect(plane, now)
    assert found.quality is not None and found.quality.mean == 0
    assert not found.quality.holds
    # Two thousand of two thousand do.
    for release in ("new", "old"):
        told(plane, now, release, [1.0] * 2_000)
    found = await effect(plane, now)
    assert found.quality is not None and found.quality.holds


async def test_a_release_is_found_beneath_the_calls_of_busier_prompts(plane: Plane, monkeypatch: pytest.MonkeyPatch):
    now = plane.world.clock.now()
    await calls(plane, now, arm="control")
    alone = await effect(plane, now)
    for number in range(500):
        record(plane, now + (100 + number) * 1_000_000, prompt="busy", prompt_version=1, usage=Usage(9), cost=9)
    monkeypatch.setattr(releasing, "_READ", 60)
    found = await effect(plane, now)
    assert (found.new, found.old) == (alone.new, alone.old)
    assert (found.new.n, found.old.n, found.shorter + found.cheaper) == (50, 50, 25_000)
    # However busy the others are, what is read stays bounded: then it is too little to say anything.
    monkeypatch.setattr(releasing, "_PAGES", 3)
    assert (await effect(plane, now)).new.n == 0


async def test_a_release_is_compared_with_what_was_before_it_began_however_old_it_is(plane: Plane, key: str):
    begun, day = plane.world.clock.now(), 24 * HOUR
    for number in range(40):
        for start, release, version, tokens in ((begun - HOUR, "old", 1, 1_000), (begun + 40 * day, "new", 2, 500)):
            record(
                plane, start + number * 1_000_000, prompt="greeting", prompt_version=version, release=release,
                usage=Usage(tokens, output=100), cost=tokens + 100,
            )  # fmt: skip
    told(plane, begun - HOUR, "old", [1.0] * 2_000)
    told(plane, begun + 40 * day, "new", [1.0] * 2_000)
    row = {
        "id": "new", "org": plane.organizations["acme/main"], "project": plane.projects["acme/main"],
        "prompt": "greeting", "base_release": "old", "base_number": 1, "state": "active", "started_at": begun,
    }  # fmt: skip
    await plane.app.control.run(lambda c: c.execute(filled(releases.tables.release, row)))
    plane.world.clock.advance(40 * 86_400 + 3_600)
    assert plane.app.recorder.flush() and plane.app.signals.flush()
    account = await read(plane, key, f"/savings?since={begun + 40 * day}&prompt=greeting")
    [line] = [line for line in account["lines"] if line["release"] and line["name"] == "shorter prompts"]
    assert (line["nano"], line["state"]) == (20_000, "counted"), line["detail"]
    by_rows = releasing.Change(
        id="new", project=plane.projects["acme/main"], prompt="greeting", base="old", base_number=1,
        began=begun, since=begun + 40 * day, until=plane.world.clock.now(),
    )  # fmt: skip
    prices = plane.app.prices.value
    found = await plane.app.ledger_database.read(lambda c: releasing.effect(c, by_rows, 0.02, prices))
    assert (found.old.n, found.shorter, found.counts) == (40, 20_000, True)


async def test_how_often_people_had_to_help_is_no_measure_of_quality(plane: Plane):
    now = plane.world.clock.now()
    await calls(plane, now, arm="control")
    for release in ("new", "old"):
        told(plane, now, release, [1.0] * 2_000, source="outcome", name="escalated")
    assert (await effect(plane, now)).quality is None


async def test_what_the_providers_prefix_cache_spares_is_not_counted_for_the_release_as_well(plane: Plane):
    body = {"input": 1.0, "cache_read": 0.1, "output": 1.0}
    await plane.world.declare("prices", "fake/again", body)
    now = plane.world.clock.now()
    price = plane.app.prices.value.price
    for number in range(40):
        at = now + number * 1_000_000
        for version, release, usage in ((1, "old", Usage(1_000, output=10)), (2, "new", Usage(100, 900, output=10))):
            cost = price("fake", "again", usage, at)
            arm = "control" if release == "old" else "canary"
            record(
                plane,
                at,
                model="again",
                prompt="greeting",
                prompt_version=version,
                release=release,
                arm=arm,
                usage=usage,
                cost=cost,
            )
    found = await effect(plane, now)
    assert found.new.cost < found.old.cost / 4
    assert (found.shorter, found.cheaper) == (0, 0)


async def test_sums_tell_of_a_release_what_its_rows_do(plane: Plane):
    await plane.world.declare(
        "prices", "fake/again", {"input": 1.0, "cache_read": 0.1, "cache_write": 2.0, "output": 1.0}
    )
    now = plane.world.clock.now()
    prices = plane.app.prices.value
    for number in range(40):
        at = now + number * 1_000_000
        for version, release, usage in ((1, "old", Usage(900, 100)), (2, "new", Usage(100, 700, 50, 10))):
            cost = prices.price("fake", "again", usage, at)
            common: dict[str, Any] = {"model": "again", "target": "fake/again", "prompt": "greeting", "usage": usage}
            arm = "control" if release == "old" else ""
            record(plane, at, **common, cost=cost, prompt_version=version, release=release, arm=arm)
            record(plane, at, **common, cost=cost, prompt_version=1, release=release, arm="baseline", session="b")
    plane.world.clock.advance(100)
    assert plane.app.recorder.flush()
    one = change(plane, now)
    told_by_rows = await plane.app.ledger_database.read(lambda c: releasing.rows(c, one, prices))
    told_by_sums = await summed.sides(plane.app.ledger, prices, one)
    assert told_by_sums is not None
    for rows, sums in zip(told_by_rows[:2], told_by_sums[:2], strict=True):
        assert (rows.n, rows.input, rows.output, rows.cost) == (sums.n, sums.input, sums.output, sums.cost)
        assert sums.discount == pytest.approx(rows.discount)
        assert sums.us == pytest.approx(rows.us, rel=0.05)
    assert told_by_rows[1].n == 80
    window, mine = Window(now, now + HOUR), Filter(org=plane.organizations["acme/main"])
    exact = await plane.app.ledger_database.read(lambda c: accounting.prefix_cache(c, prices, window, mine))
    assert await summed.discount(plane.app.ledger, prices, window, mine) == exact.nano != 0


async def test_sums_tell_of_quality_what_its_signals_do(plane: Plane):
    now = plane.world.clock.now()
    told(plane, now, "new", [1.0] * 70 + [0.2] * 30)
    told(plane, now, "old", [1.0] * 60 + [0.0] * 40)
    told(plane, now, "old", [1.0] * 60, name="only here")
    for release in ("new", "old"):
        told(plane, now, release, [1.0] * 40, source="outcome", name="escalated")
    plane.world.clock.advance(10)
    assert plane.app.signals.flush()
    one = change(plane, now)
    by_rows = await plane.app.ledger_database.read(lambda c: releasing._quality(c, one, 0.02))
    by_sums = await summed.quality(plane.app.ledger, one, 0.02)
    assert by_rows is not None and by_sums is not None
    assert (by_sums.n_new, by_sums.n_old) == (by_rows.n_new, by_rows.n_old) == (100, 100)
    for name in ("low", "high", "mean"):
        assert getattr(by_sums, name) == pytest.approx(getattr(by_rows, name))
    new, old = ([*some, 0.0, 1.0] for some in ([1.0] * 70 + [0.2] * 30, [1.0] * 60 + [0.0] * 40))
    mine, theirs = (statistics.weighted_mean(some, [1.0] * 102) for some in (new, old))
    half = math.hypot(mine.high - mine.mean, theirs.high - theirs.mean)
    assert by_sums.low == pytest.approx(mine.mean - theirs.mean - half)


async def test_calls_of_our_own_are_not_among_what_callers_paid_for(plane: Plane, key: str):
    at = plane.world.clock.now()
    usage = Usage(100, 900, output=10)
    record(plane, at, usage=usage, cost=500)
    record(plane, at, usage=usage, cost=7_000, key_id="", reason="loop", tags="loop:gate", prompt="greeting")
    plane.world.clock.advance(1)
    account = await read(plane, key, "/savings")
    assert (account["cost"], account["counterfactual"]) == (500, 500)
    assert lines(account)["provider prefix cache"]["count"] == 1
    narrow = lines(await read(plane, key, "/savings?prompt=greeting"))
    assert (narrow["optimizer"]["nano"], narrow["optimizer"]["count"]) == (-7_000, 1)


async def test_what_optimization_paid_back_and_whether_quality_holds_are_figures(plane: Plane, key: str):
    def figures(found: Any) -> dict[str, Any]:
        return {one["name"]: one for one in found["figures"]}

    path = "/kpis?names=quality_noninferiority,optimization_payback"
    told_of = figures(await read(plane, key, path))
    assert "no release" in told_of["quality_noninferiority"]["missing"]
    assert "nothing was spent" in told_of["optimization_payback"]["missing"]
    now = plane.world.clock.now()
    await calls(plane, now, arm="control")
    for release in ("new", "old"):
        told(plane, now, release, [1.0] * 2_000)
    record(plane, now, cost=25_000, key_id="", reason="loop", tags="loop:gate", prompt="greeting")
    row = {
        "id": "new", "org": plane.organizations["acme/main"], "project": plane.projects["acme/main"],
        "prompt": "greeting", "base_release": "old", "base_number": 1, "state": "active", "started_at": now,
    }  # fmt: skip
    await plane.app.control.run(lambda c: c.execute(filled(releases.tables.release, row)))
    plane.world.clock.advance(3600)
    since = plane.world.clock.now() - 24 * HOUR
    told_of = figures(await read(plane, key, f"{path}&since={since}&prompt=greeting"))
    quality, payback = told_of["quality_noninferiority"], told_of["optimization_payback"]
    assert (quality["value"], quality["n"], quality["detail"]["holds"]) == (0.0, 4_000, True)
    assert quality["low"] > -0.02
    # A day's saving is what was spent; the window is widened to whole buckets.
    assert payback["value"] == pytest.approx(1.0, rel=0.1)


async def test_what_people_spend_on_reviews_is_part_of_what_a_success_costs(plane: Plane, key: str):
    await plane.world.chat("a question", key=key)
    await plane.world.rows(1)
    now, table = plane.world.clock.now(), reviews.tables
    home = {"org": plane.organizations["acme/main"], "project": plane.projects["acme/main"]}
    rows = [
        filled(table.queue, {"id": "q", "name": "q", **home}),
        filled(table.item, {"id": "i", "queue_id": "q", "created_at": now, **home}),
        filled(table.verdict, {"item_id": "i", "principal": "u", "seconds": 1_800.0, "at": now}),
    ]
    await plane.app.control.run(lambda c: [c.execute(one) for one in rows])
    plane.world.clock.advance(1)

    async def figure() -> dict[str, Any]:
        return (await read(plane, key, "/kpis?names=cost_per_success"))["figures"][0]

    before = await figure()
    assert "hour" in before["detail"]["review_missing"]
    body = {"name": "people", "kind": "reviewer", "dollars": 60.0, "since": now - MONTH}
    assert (await plane.call("POST", "/savings/costs", body, key)).status_code == 201
    after = await figure()
    assert (after["detail"]["review"], after["value"]) == (30.0, pytest.approx(before["value"] + 30.0))
    series = await read(plane, key, "/kpis/series?name=cost_per_success")
    assert series[0]["value"] == pytest.approx(after["value"])
    # What metrics show is of all organizations together: the same, as there is no other.
    room, whole = plane.app.governing.kpis, kpis.Scope(org="")
    window = Window(now - 86_400_000_000, plane.world.clock.now())
    shown = (await room.figures(whole, window, names=["cost_per_success"])).figures[0]
    assert (shown.detail["review"], shown.value) == (30.0, pytest.approx(after["value"]))


def filled(table: sa.Table, row: dict[str, Any]) -> sa.Insert:
    """A row with something in every column that must have something."""
    blank: dict[type, Any] = {int: 0, str: "", float: 0.0, bool: False}
    for column in table.columns:
        if column.name not in row and not column.nullable:
            try:
                row[column.name] = blank[column.type.python_type]
            except (NotImplementedError, KeyError):
                row[column.name] = {}
    return table.insert().values(**row)


async def test_the_report_has_both_sides_and_what_nobody_has_told_is_missing(plane: Plane, key: str):
    for _ in range(4):
        await plane.world.chat("again", key=key)
    await plane.world.rows(4)
    plane.world.clock.advance(1)
    report = await read(plane, key, "/savings/roi")
    without, with_it = report["caching"]
    assert without["cost"] == pytest.approx(4 * with_it["cost"], rel=1e-6)
    assert report["levels"] == []
    assert {"resolution_rate", "containment"} <= set(report["workflow"])
    told_of = {name: one["value"] for name, one in report["workflow"].items()}
    assert told_of["rework"] is not None
    assert told_of["cost_per_success"] > 0
    assert report["payback"]["days"] is None
    assert report["holdout"]["why"]


async def test_an_invoice_handed_in_twice_is_one_and_its_comparison_is_that_of_now(plane: Plane, key: str):
    day = "2026-11-01"
    body = {"provider": "fake", "lines": [{"day": day, "model": "plain", "token": "input", "tokens": 10}]}
    first = (await plane.call("POST", "/savings/invoices", body, key)).json()
    again = (await plane.call("POST", "/savings/invoices", body, key)).json()
    assert first["id"] == again["id"]
    found = await read(plane, key, f"/savings/invoices/{first['id']}")
    assert (found["within"], found["gaps"][0]["missing"]) == (False, "ledger")
    record(plane, costs.midnight(day) + 5, usage=Usage(10), cost=10)
    assert (await read(plane, key, f"/savings/invoices/{first['id']}"))["within"] is True


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/savings/costs", {"name": "No!", "kind": "tooling", "dollars": 1.0}, "invalid_cost"),
        ("/savings/costs", {"name": "a", "kind": "tooling", "dollars": -1.0}, "invalid_cost"),
        ("/savings/costs", {"name": "a", "kind": "tooling", "dollars": 1.0, "since": 5, "until": 5}, "invalid_cost"),
        ("/savings/invoices", {"provider": "p", "lines": []}, "invalid_invoice"),
        ("/savings/invoices", {"provider": "p", "lines": [{**LINE, "day": "x"}]}, "invalid_day"),
        ("/savings/invoices", {"provider": "p", "lines": [{**LINE, "token": "x"}]}, "invalid_invoice"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(plane: Plane, key: str, path: str, body: Any, code: str):
    reply = await plane.call("POST", path, body, key)
    assert (reply.status_code, reply.json()["code"]) == (400, code)


@pytest.mark.parametrize("query", ["since=5&until=4", "since=-1", f"until={2**60}", "since=0"])
async def test_a_window_that_is_none_is_refused(plane: Plane, key: str, query: str):
    reply = await plane.call("GET", f"/savings?{query}", key=key)
    assert reply.status_code == 400


def test_a_budget_of_a_day_is_told_as_it_was_declared() -> None:
    told = budgets.judged(Declared(dollars_per_day=0.00002), budgets.Today(tokens=38, nano=260_000))
    assert told == "It has cost $0.00026 today, and its budget is $0.00002."
