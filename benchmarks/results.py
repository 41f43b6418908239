"""Keeps the latest runs in ``RESULTS.md``, each between two marks with its name; the rest of the page is left alone."""

from pathlib import Path
from typing import Any

import figures
import machine

HEAD = """# Results

What was asked of Ostinato and what was measured. CPU is that of the whole process tree per request, on one core, with
everything on: authentication, scope, limits, cache on both tiers, ledger, metrics. Ratios are taken between
neighbouring rounds of one run, because machines drift; the unit is a no-op ASGI application on the same uvicorn that
reads the body and answers with as many headers. `make bench` measures again; with `ARGS=--record` it writes the first
table below. Latency beside other work on the same cores says more about that work than about the gateway, so there may
be a second table from `chrt -r 1 make bench ARGS='--record latency --only misses streams steady'`, in which everything
measured, load and upstream included, goes before all other work.
"""


def record(page: Path, name: str, described: dict[str, Any], found: list[figures.Figure]) -> None:
    """Put this run in the place of the last one of the same ``name``; a first one goes to the end of the page."""
    begin, end = f"<!-- run: {name} -->", f"<!-- end: {name} -->"
    text = page.read_text() if page.exists() else HEAD
    if begin not in text:
        text += f"\n## Bench: {name}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{machine.sentence(described)}\n\n{figures.markdown(found)}{end}{after}")
