"""The Grafana dashboard asks for nothing that the page of metrics does not have."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import World, inside

from ostinato.cases import Alert
from ostinato.traces import semconv

DASHBOARD = Path(__file__).parents[2] / "docs/dashboards/ostinato.json"
NAME = re.compile(r"\b((?:ostinato|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_PROMETHEUS = {"job", "instance", "le"}


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return asked + [one["definition"] for one in board["templating"]["list"] if "definition" in one]


async def page() -> str:
    async with inside() as world:
        for text in ("one", "one", "two"):
            assert (await world.chat(text)).status == 200
        assert (await world.chat("three", model="nothing")).status == 404
        await world.rows(4)
        await eventful(world)
        await world.app.governing.notifying.look()
        return world.app.metrics_page().decode()


async def eventful(world: World) -> None:
    """A case, an alert in alarm, a tripped intent."""
    rooms, project = world.app.governing, await world.first_project()
    actor = world.app.access.authenticate(world.key, world.clock.now())
    await rooms.cases.open(actor, project, kind="quality", title="It is so.", severity="high")
    await rooms.alerts.declare(actor, project, "many", Alert(metric="requests", operator=">", threshold=1.0))
    await world.declare("intents", "help", {"title": "Help"})
    await rooms.breakers.trip(actor, project, "help", code="tried", reason="It is tried out.")
    await rooms.case_watcher.look()


async def test_every_name_and_label_is_on_the_page() -> None:
    text = await page()
    there = {
        name + suffix for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M) for suffix in SUFFIXES[kind]
    }
    labels: dict[str, set[str]] = {}
    for name, told in re.findall(r"^([a-z0-9_]+)\{([^}]*)\}", text, re.M):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', told))
    asked = queries()
    assert len(asked) > 30
    for query in asked:
        names = NAME.findall(query)
        assert names, query
        for name, matchers in names:
            assert name in there, f"{name}, asked for by {query}"
            known = labels.get(name, set()) | OF_PROMETHEUS
            wanted = set(re.findall(r"(\w+)(?:=~|!=|!~|=)", matchers))
            wanted |= {one for some in re.findall(r"by \(([^)]*)\)", query) for one in some.split(", ")}
            if name in labels:
                assert wanted <= known, f"{wanted - known} of {name}, asked for by {query}"


async def test_what_stands_is_told_beside_the_ledger() -> None:
    text = await page()
    for line in (
        'ostinato_cases_open{severity="high"} 1.0',
        'ostinato_cases_open{severity="critical"} 0.0',
        'ostinato_cases_overdue{severity="high"} 0.0',
        'ostinato_alerts{state="alarm"} 1.0',
        'ostinato_breakers_open{of="intent",state="tripped"} 1.0',
        "ostinato_detectors_alarms_total 0.0",
        'ostinato_intent_requests_total{cache="hit-exact",intent="none"} 1.0',
        'ostinato_intent_requests_total{cache="miss",intent="none"} 2.0',
        'ostinato_kpi{name="first_pass_success"} 1.0',
        'ostinato_holdout_sessions{side="held"} 0.0',
    ):
        assert line in text.splitlines(), line
    # Nobody has rated anything, and nobody is held out: missing, not zero.
    assert 'name="csat"' not in text and "ostinato_holdout_saved_usd{" not in text


def test_the_page_and_opentelemetry_have_one_list_of_names() -> None:
    asked = " ".join(queries())
    for name in semconv.VIEWS:
        assert name.replace(".", "_") in asked or name == semconv.HOLDOUT_SESSIONS


def test_panels_have_their_own_place_and_id() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken
        taken |= cells
