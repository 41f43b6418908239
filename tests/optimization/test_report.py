"""The report: self-contained, without scripts, everything escaped; the digest that is equal for equal findings."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from inside import SYSTEM
from run_kit import Kit, opened, truth

from ostinato.access import ProjectChanges
from ostinato.optimization import findings
from ostinato.optimization.report import CSP, charts, page
from ostinato.optimization.run import Detail

VOID = {"meta", "br", "hr", "line", "rect", "circle", "polyline"}
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


class Judge(HTMLParser):
    """Tags that are opened are closed, and none of them is one that acts or fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        for name, _value in attrs:
            assert not name.startswith("on") and name not in ("src", "href", "style"), (tag, name)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def judged(html: str) -> set[str]:
    judge = Judge()
    judge.feed(html)
    assert not judge.open
    assert not judge.seen & {"script", "img", "link", "iframe", "object", "form", "a"}
    assert "http://" not in html and "https://" not in html
    return judge.seen


@pytest.fixture
async def done() -> Any:
    async with opened() as kit:
        run = await kit.finished(await kit.caller())
        yield kit, run


async def test_it_shows_everything_and_needs_nothing(done: tuple[Kit, Any]) -> None:
    kit, run = done
    detail = await kit.runs.detail(SYSTEM, run.id)
    html = await kit.runs.report(SYSTEM, run.id)
    assert {"svg", "table", "pre", "ul"} <= judged(html)
    titles = re.findall("<h2>([^<]+)</h2>", html)
    assert titles == [
        "Decision",
        "On the sealed examples",
        "What changed",
        "Learning curve",
        "Quality and cost, on the open examples",
        "What it took",
        "Lineage",
        "Refused",
        "What was asked",
    ]
    assert run.digest in html and str(run.number) in html
    assert "unsafe-inline" not in CSP and CSP.startswith("default-src 'none'")
    bare = page(detail, texts=False)
    assert "Say the colour." in html and "Say the colour." not in bare and "datasets:text" in bare


async def test_answers_are_on_it_where_texts_may_be_kept(done: tuple[Kit, Any]) -> None:
    """Open examples only, and out of the journal: what is erased there is nowhere."""
    kit, run = done
    assert "Some answers" not in await kit.runs.report(SYSTEM, run.id), "this project keeps no texts"
    await kit.world.app.access.update_project(SYSTEM, kit.project, ProjectChanges(store_text=True))
    html = await kit.runs.report(SYSTEM, run.id)
    judged(html)
    section = html.split("<h2>Some answers</h2>")[1].split("</section>")[0]
    rows = re.findall(
        r"<tr><td>(better|worse)</td><td>(item a\d+)</td><td>(\w+)</td><td>(\w+)</td><td>(\w+)</td>", section
    )
    assert 5 <= len(rows) <= 10 and {row[0] for row in rows} >= {"better"}
    for kind, asked, right, old, new in rows:
        assert truth(asked.removeprefix("item ")) == right
        assert (new == right) == (kind == "better") and (old == right) == (kind == "worse")
    sealed = await kit.rooms.data.load(run.dataset_version, ("dev",))
    assert {row[1] for row in rows} <= {one.inputs["thing"] for one in sealed}
    blind = await kit.caller("optimizations:read")
    assert "Some answers" not in await kit.runs.report(blind, run.id)
    spent = (await kit.runs.show(SYSTEM, run.id)).spent
    assert spent == (await kit.runs.detail(SYSTEM, run.id)).spent, "nothing is asked for it"
    await kit.world.app.calls.erase(namespace=run.id)
    assert "Some answers" not in await kit.runs.report(SYSTEM, run.id)


async def test_what_a_prompt_says_that_is_never_right() -> None:
    async with opened() as kit:
        await kit.world.app.access.update_project(SYSTEM, kit.project, ProjectChanges(store_text=True))
        kit.painter.base = kit.painter.gain = 0.0
        run = await kit.finished(await kit.caller())
        assert run.state == "nothing-to-gain"
        html = await kit.runs.report(SYSTEM, run.id)
        assert html.count("<td>nothing new</td>") == 5


async def test_nothing_of_it_is_taken_for_markup(done: tuple[Kit, Any]) -> None:
    kit, run = done
    detail = await kit.runs.detail(SYSTEM, run.id)
    told = msgspec.json.decode(msgspec.json.encode(detail))

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        free = ("edit", "why", "template", "prompt", "alias", "sentence", "reason", "out", "message", "dataset", "name")
        return EVIL if isinstance(value, str) and key in free and value not in ("gate", "search", "headroom") else value

    spoiled = msgspec.convert(spoil(told), Detail)
    html = page(spoiled)
    judged(html)
    assert "<script" not in html and "<img" not in html


async def test_equal_findings_have_an_equal_digest(done: tuple[Kit, Any]) -> None:
    kit, run = done
    detail = await kit.runs.detail(SYSTEM, run.id)
    assert findings.digest(detail) == run.digest
    replace = msgspec.structs.replace
    slower = tuple(
        replace(one, measured=replace(one.measured, latency_us=9, cost=7, cached_tokens=1)) for one in detail.records
    )
    later = replace(detail, records=slower, run=replace(run, id="f" * 32, created_at=1, ended_at=2, release="else"))
    assert findings.digest(later) == run.digest
    first = detail.records[0]
    other = (replace(first, measured=replace(first.measured, value=0.25)), *detail.records[1:])
    assert findings.digest(replace(detail, records=other)) != run.digest
    assert findings.digest(replace(detail, run=replace(run, champion="other"))) != run.digest


def test_charts_stand_odd_figures() -> None:
    one = charts.Row("x", 0.0, 0.0, 0.0, False, "")
    for drawn in (
        charts.forest([one]),
        charts.curve([("a", "base", [(0, 1.0)])], "x", "y"),
        charts.scatter([charts.Dot(0, 0, "a", "base")], "x", "y"),
        charts.waterfall([charts.Bar("a", 1e-9, "")], "tokens"),
        charts.waterfall([charts.Bar("a", 1e12, ""), charts.Bar("b", 0, "")], "tokens"),
    ):
        judged(drawn)
        assert "nan" not in drawn and "inf" not in drawn
    assert charts.curve([], "x", "y") == "" and charts.scatter([], "x", "y") == "" and charts.waterfall([], "t") == ""
    dots = [charts.Dot(3, 9, "c", "other"), charts.Dot(1, 5, "a", "other"), charts.Dot(2, 4, "b", "other")]
    assert [dot.name for dot in charts.frontier(dots)] == ["a", "c"]
