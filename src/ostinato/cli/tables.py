"""Printing rows and amounts for people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from ostinato.core import money

_GAP = 2
_ENDLESS = 100_000
"""The width where no terminal is written to: a program reads the lines, so each row is one."""


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "None.", spare: Sequence[str] = ()
) -> None:
    """A table; ``empty`` where there is no row. Columns that begin with ``>`` are aligned to the right.

    Where the terminal is too narrow, the columns of ``spare`` are left out, in that order, until the rest fits.
    """
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=_ENDLESS)
    shown = [[str(cell) for cell in row] for row in rows]
    if not shown:
        console.print(empty)
        return
    kept = _fitting([column.lstrip(">") for column in columns], shown, console.width, spare)
    drawn = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for index in kept:
        right = columns[index].startswith(">")
        drawn.add_column(columns[index].lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in shown:
        drawn.add_row(*(row[index] for index in kept))
    console.print(drawn)


def _fitting(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, spare: Sequence[str]) -> list[int]:
    """Which columns to show in ``width`` characters."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(names, *rows, strict=True)]
    kept = list(range(len(names)))
    for name in spare:
        if sum(widths[index] + _GAP for index in kept) - _GAP <= width:
            break
        kept.remove(names.index(name))
    return kept


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    table(("", ""), pairs)


def when(micros: int | None) -> str:
    """A time, to the second, in UTC."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if micros else "-"


def clock(micros: int) -> str:
    """The same, without the date where it is today's."""
    at = datetime.fromtimestamp(micros / 1_000_000, UTC)
    return at.strftime("%H:%M:%SZ") if at.date() == datetime.now(UTC).date() else when(micros)


def dollars(nano: int | None) -> str:
    """Money; ``?`` where it is unknown."""
    if nano is None:
        return "?"
    return f"{'-' if nano < 0 else ''}${money.to_dollars(abs(nano))}"


def milliseconds(us: int | None) -> str:
    return "-" if us is None else f"{us / 1000:.2f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def figure(value: float | None, unit: str) -> str:
    """A figure of the catalogue in its unit."""
    if value is None:
        return "-"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "seconds":
        return f"{value * 1000:,.1f} ms" if abs(value) < 1 else f"{value:,.1f} s"
    if unit == "dollars":
        sign = "-" if value < 0 else ""
        return f"{sign}${abs(value):,.6f}" if abs(value) < 0.01 else f"{sign}${abs(value):,.2f}"
    return f"{value:,.3g}" if unit == "ratio" else f"{value:,.3g} {unit}"
