"""What people and programs read of a table."""

import pytest
from rich.console import Console

from ostinato.cli import cases, evals, roi, tables

ROW = ("09:00:00Z", "0" * 32, "a-rather-long-model-name", "provider/a-rather-long-model-name", 1234)
NAMES = ("time", "request", "model", "target", ">ms")


def test_a_program_gets_a_line_for_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    wide = ("x" * 300, "[red]y[/red]")
    tables.table(("a", "b"), [wide, wide], spare=("a", "b"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["a", "b"], list(wide), list(wide)]


@pytest.mark.parametrize(
    ("width", "shown"), [(200, "time request model target ms"), (80, "time request model ms"), (60, "time request ms")]
)
def test_a_narrow_terminal_gets_fewer_columns(
    width: int, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        tables,
        "Console",
        lambda **options: Console(
            **{"force_terminal": True, "no_color": True, "width": width, "height": 25, **options}
        ),
    )
    monkeypatch.setenv("TERM", "dumb")
    tables.table(NAMES, [ROW], spare=("target", "model"))
    head, row = capsys.readouterr().out.splitlines()
    assert [name for name in shown.split() if name not in head] == []
    assert ("target" in head, "model" in head) == ("target" in shown, "model" in shown)
    assert "0" * 32 in row


def test_times_tell_their_zone() -> None:
    assert tables.when(1_760_000_000_000_000) == tables.clock(1_760_000_000_000_000) == "2025-10-09 08:53:20Z"
    assert tables.when(None) == "-"


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (None, "share", "-"),
        (0.08197, "share", "8.2%"),
        (0.0000749, "dollars", "$0.000075"),
        (1234.5, "dollars", "$1,234.50"),
        (0.2, "seconds", "200.0 ms"),
        (9.0, "minutes", "9 minutes"),
        (1.09, "ratio", "1.09"),
        (-0.1274, "dollars", "-$0.13"),
    ],
)
def test_a_figure_reads_alike_wherever_it_is_shown(value: float | None, unit: str, told: str) -> None:
    assert tables.figure(value, unit) == told


def test_money_below_nothing_has_its_sign_before_the_dollar() -> None:
    assert (tables.dollars(-136_603_900), tables.dollars(0), tables.dollars(None)) == ("-$0.1366039", "$0", "?")


def test_facts_have_no_empty_line_above_them(capsys: pytest.CaptureFixture[str]) -> None:
    tables.facts([("requests", 3), ("errors", 0)])
    assert capsys.readouterr().out.splitlines() == ["requests  3", "errors    0"]


def test_evidence_reads_as_people_write() -> None:
    assert cases._evidence(("since", 1_760_000_000_000_000)) == ("since", "2025-10-09 08:53:20Z")
    assert cases._evidence(("value", 0.6734006734006734)) == ("value", "0.673401")
    assert cases._evidence(("samples", 301)) == ("samples", 301)


def test_what_cost_nothing_is_not_told_to_be_never_paid_back() -> None:
    assert roi._days({"spent": 0, "days": None}) == "nothing was spent"
    assert roi._days({"spent": 5, "days": None}) == "never at this rate"
    assert roi._value({"value": 0.25, "unit": "share"}) == "25.0%"


def test_what_is_missing_of_an_experiment_is_told_with_its_reasons() -> None:
    seven = {"scorer": "seven@f1", "scored": 1, "unscored": 3, "why": {"It gave 7.0,\nnot from 0 to 1.": 3}}
    fine = {"scorer": "exact@00", "scored": 4, "unscored": 0, "why": {}}
    row = {"name": "a@1", "n": 5, "failed": {"upstream_error": 1}, "scorers": [fine, seven]}
    assert evals.missing([row]) == [
        "a@1: 1 of 5 have no answer: upstream_error (1 times).",
        "a@1: seven@f1 left 3 of 4 unscored: It gave 7.0, not from 0 to 1 (3 times).",
    ]
    assert evals.missing([{**row, "failed": {}, "scorers": [fine]}]) == []
