"""The benchmarks run, at miniature counts; what is missing is said; what is measured is what it says it is."""

import json
import subprocess
import sys
from pathlib import Path

import machine
import pytest
import results
import servers
from figures import Figure, markdown, skipped
from yardstick import Case, Yardstick, ratio

RUN = servers.CHILDREN.parent / "run.py"


def test_a_run_skips_what_it_has_not_and_measures_the_rest(tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--shared", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    command += ["--only", "hits", "ledger", "--ledger-rows", "600"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "make bench SHARED=DIR" in " ".join(ran.stdout.split())
    found = json.loads((tmp_path / "out" / "latest.json").read_text())
    figures = {figure["id"]: figure for figure in found["figures"]}
    assert figures["hits"]["value"] is None
    assert figures["ledger-row"]["value"] > 0
    assert figures["ledger-row"]["detail"]["written"] == 600
    assert found["machine"]["cores"] >= 1


class Counted(Yardstick):
    """A yardstick whose load and upstream are numbers."""

    def __init__(self, place: Path, requests: int, reached: int, bad: int = 0) -> None:
        self.place, self.tag, self.lib = place, "", self
        self.seen, self.row, self.reached = 0, {"requests": requests, "bad": bad, "cpu_us": 10.0}, reached
        (place / "bodies-gpt-4o-mini").mkdir()
        (place / "bodies-gpt-4o-mini" / "body_4k.json").write_text("@@NONCE@@")

    def settled(self) -> int:
        return self.seen

    def post(self, *_: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b""

    def wrk(self, *_: object) -> dict[str, object]:
        self.seen += self.reached
        return dict(self.row)


@pytest.mark.parametrize(
    ("mode", "reached", "bad", "said"),
    [
        ("hit", 3, 0, "called hits"),
        ("miss", 970, 0, "called misses"),
        ("hit", 0, 2, "answers were bad"),
        ("hit", 2, 0, ""),
        ("miss", 1000, 0, ""),
    ],
)
def test_a_run_that_is_not_what_it_says_is_refused(
    tmp_path: Path, mode: str, reached: int, bad: int, said: str
) -> None:
    yardstick = Counted(tmp_path, 1000, reached, bad)
    case = Case("one", "http://127.0.0.1:9", "4k", mode=mode, upstream=True)
    if said:
        with pytest.raises(RuntimeError, match=said):
            yardstick.run(case, 1)
        assert case.rows == []
    else:
        yardstick.run(case, 1)
        assert case.rows[0]["upstream"] == reached


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that becomes half as fast between two rounds changes no ratio."""
    one, other = Case("one", "", "4k"), Case("other", "", "4k")
    one.rows = [{"cpu_us": 20.0}, {"cpu_us": 40.0}, {"cpu_us": 22.0}]
    other.rows = [{"cpu_us": 10.0}, {"cpu_us": 20.0}, {"cpu_us": 10.0}]
    assert ratio(one, other) == 2.0
    assert ratio(one, Case("none", "", "4k")) is None


def test_a_figure_is_judged_in_its_direction() -> None:
    less = Figure(id="a", what="less", value=1.5, asked=1.9, goal=1.0)
    assert [less.verdict, Figure(id="a", what="", value=0.9, asked=1.9, goal=1.0).verdict] == ["yes", "goal"]
    more = Figure(id="b", what="more", value=120, asked=140, goal=250, more=True)
    assert more.verdict == "NO"
    assert skipped("c", "nginx", "not here").verdict == "skipped"
    table = markdown([less, more, skipped("c", "nginx", "apt-get install nginx-light")])
    assert "| less | <= 1.9 | <= 1 | 1.5 | yes |" in table
    assert "| more | >= 140 | >= 250 | 120 | NO |" in table
    assert "| nginx |  |  | - | skipped | apt-get install nginx-light |" in table


def test_results_keep_one_table_a_name_and_whatever_else_is_there(tmp_path: Path) -> None:
    page, described = tmp_path / "RESULTS.md", machine.describe()
    results.record(page, "all", described, [Figure(id="a", what="first", value=1.0)])
    page.write_text(page.read_text() + "\n## Soak\n\nkept\n")
    results.record(page, "latency", described, [Figure(id="b", what="other", value=3.0)])
    results.record(page, "all", described, [Figure(id="a", what="second", value=2.0)])
    text = page.read_text()
    assert text.startswith("# Results")
    assert "| first |" not in text
    assert text.index("| second |") < text.index("kept") < text.index("| other |")
