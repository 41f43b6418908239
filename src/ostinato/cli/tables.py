"""Printing rows and amounts for people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from ostinato.core import money


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "None.") -> None:
    """A table; ``empty`` where there is no row. Columns that begin with ``>`` are aligned to the right."""
    console = Console()
    shown = list(rows)
    if not shown:
        console.print(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in shown:
        drawn.add_row(*(str(cell) for cell in row))
    console.print(drawn)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    table(("", ""), pairs)


def when(micros: int | None) -> str:
    """A time, to the second, in UTC."""
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if micros else "-"


def dollars(nano: int | None) -> str:
    """Money; ``?`` where it is unknown."""
    return "?" if nano is None else "$" + money.to_dollars(nano)


def milliseconds(us: int | None) -> str:
    return "-" if us is None else f"{us / 1000:.2f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
