"""The Grafana dashboard asks for nothing that the page of metrics does not have."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import inside

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
        await world.app.governing.notifying.look()
        return world.app.metrics_page().decode()


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


def test_panels_have_their_own_place_and_id() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken
        taken |= cells
