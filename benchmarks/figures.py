"""What a benchmark gives: figures with what was asked of them, and the table they are shown in."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Figure(msgspec.Struct, kw_only=True):
    """One measured number."""

    id: str
    """Stable name, such as ``hit-4k``: the key in the JSON."""
    what: str
    value: float | None = None
    """``None``: not measured; ``note`` says why."""
    unit: str = ""
    asked: float | None = None
    """The bar; ``None``: reported only."""
    goal: float | None = None
    more: bool = False
    """Whether more is better."""
    note: str = ""
    detail: dict[str, Any] = {}
    """What it was made of."""

    def reaches(self, mark: float | None) -> bool | None:
        """Whether the value is as good as ``mark``; ``None`` where there is nothing to compare."""
        if mark is None or self.value is None:
            return None
        return self.value >= mark if self.more else self.value <= mark

    @property
    def verdict(self) -> str:
        """``goal``, ``yes``, ``NO``, ``skipped`` or, where nothing was asked, nothing."""
        if self.value is None:
            return "skipped"
        if self.reaches(self.goal):
            return "goal"
        asked = self.reaches(self.asked)
        if asked is None:
            return "" if self.goal is None else "below goal"
        return "yes" if asked else "NO"


def skipped(id: str, what: str, why: str) -> Figure:
    """A row for what could not be measured here."""
    return Figure(id=id, what=what, note=why)


def number(value: float | None) -> str:
    """A figure with three digits that mean something."""
    if value is None:
        return "-"
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def marked(figure: Figure, value: float | None) -> str:
    """A bar or a goal with its direction."""
    return "" if value is None else f"{'>=' if figure.more else '<='} {number(value)}"


def cells(figure: Figure) -> tuple[str, str, str, str, str, str]:
    """The row of a figure: what, asked, goal, measured, verdict, note."""
    measured = number(figure.value) if figure.value is None else f"{number(figure.value)} {figure.unit}".strip()
    asked, goal = marked(figure, figure.asked), marked(figure, figure.goal)
    return figure.what, asked, goal, measured, figure.verdict, figure.note


HEADINGS = ("figure", "asked", "goal", "measured", "reached", "remark")


def show(console: Console, figures: Iterable[Figure], title: str) -> None:
    """Print the closing table."""
    table = Table(title=title, title_justify="left", show_lines=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in {"asked", "goal", "measured"} else "left")
    colours = {"goal": "bold green", "yes": "green", "NO": "bold red", "skipped": "yellow", "below goal": "yellow"}
    for figure in figures:
        row = cells(figure)
        colour = colours.get(row[4], "")
        table.add_row(*row[:3], f"[{colour}]{row[3]}" if colour else row[3], row[4], escape(row[5]))
    console.print(table)


def markdown(figures: Iterable[Figure]) -> str:
    """The table for ``RESULTS.md``."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "| --- | ---: | ---: | ---: | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in cells(figure)) + " |" for figure in figures]
    return "\n".join(lines) + "\n"


def save(directory: Path, machine: dict[str, Any], figures: list[Figure]) -> Path:
    """Write the run as JSON: one file a run, and ``latest.json``."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine, "figures": msgspec.to_builtins(figures)}, indent=1)
    path = directory / f"{machine['date'].replace(':', '')}-{machine['commit']}.json"
    for target in (path, directory / "latest.json"):
        target.write_text(text + "\n")
    return path
