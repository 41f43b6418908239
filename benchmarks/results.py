"""Keeps the latest run in ``RESULTS.md``, between two marks; the rest of the page is left as it is."""

from pathlib import Path
from typing import Any

import figures
import machine

BEGIN, END = "<!-- make bench -->", "<!-- end -->"
HEAD = f"""# Results

What was asked of Ostinato and what was measured. CPU is that of the whole process tree per request, on one core, with
everything on: authentication, scope, limits, cache on both tiers, ledger, metrics. Ratios are taken between
neighbouring rounds of one run, because machines drift; the unit is a no-op ASGI application on the same uvicorn that
reads the body and answers with as many headers. `make bench` measures again; with `ARGS=--record` it writes the table
below.

{BEGIN}
{END}
"""


def record(page: Path, described: dict[str, Any], found: list[figures.Figure]) -> None:
    """Put this run in the place of the last one."""
    text = page.read_text() if page.exists() else ""
    if BEGIN not in text:
        text = HEAD + text
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = figures.markdown(found)
    page.write_text(f"{before}{BEGIN}\n{machine.sentence(described)}\n\n{table}{END}{after}")
