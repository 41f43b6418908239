"""The second half, told step by step on the console: what happens, who does it, and what came of it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ostinato.demo import loop, worth
from ostinato.demo.child import DIRECTORY, HELD_OUT, Child
from ostinato.demo.desk import People
from ostinato.demo.replay import Outcome
from ostinato.demo.task import Question
from ostinato.demo.traffic import LEVELS, Level
from ostinato.demo.worth import Worth

_NANO: Final = 1_000_000_000


class Story(msgspec.Struct, frozen=True):
    """How it ended, for programs."""

    state: str
    """Of the run: ``proposed``, ``refused``, ``nothing-to-gain`` ..."""
    why: str
    calls: int
    seconds: float
    """Of the run."""
    release: str = ""
    """State of the release at its end; empty: none was proposed."""
    worth: Worth | None = None
    report: str = ""
    errors: list[str] = []


def tell(console: Console, child: Child, questions: Sequence[Question], requests: int) -> Story:
    """Improve the prompt, prove it, release it; tell all of it. Raises ``DemoError``.

    ``requests``: at each level of repetition, once the loop is closed.
    """
    labelled, fresh = loop.split(questions)
    people = People(child.url, child.key)
    try:
        _say(console, "The same prompt, governed", _OPENING.format(labelled=len(labelled), fresh=len(fresh)))
        loop.register(people, labelled)
        _plan(console, people)
        with progress_of(console) as bar:
            task = bar.add_task("improving", total=1000)

            def shown(progress: dict[str, Any]) -> None:
                run, best = progress["run"], progress.get("best")
                told = f"improving: {run['phase'] or run['state']}"
                told += f", best so far {best:.0%}" if best is not None else ""
                bar.update(task, completed=int(1000 * progress["share"]), description=told)

            improved = loop.improve(people.ana, shown)
            bar.update(task, completed=1000)
        report = DIRECTORY / "report.html" if child.directory == DIRECTORY else child.directory / "report.html"
        report.write_text(people.ana.text(f"/optimizations/{improved.run['id']}/report"), encoding="utf-8")
        spent = improved.progress["spent"]
        told = f"{spent.get('calls', 0)} calls, {spent.get('tokens', 0):,} tokens, ${spent.get('nano', 0) / _NANO:.6f}"
        console.print(improved.run.get("why") or improved.run["state"], style="bold", markup=False, highlight=False)
        console.print(
            f"It tried {improved.progress['candidates']} candidates and took {told}, the proof included. All that was"
            f" tried, gained and spent is on one page: {report}",
            markup=False,
            highlight=False,
        )
        story = Story(
            state=improved.run["state"],
            why=improved.run.get("why", ""),
            calls=spent.get("calls", 0),
            seconds=improved.seconds,
            report=str(report),
        )
        if improved.run["state"] != "proposed":
            console.print(_REFUSED, markup=False, highlight=False)
            return story
        release = _released(console, child, people, improved.run["release"], fresh)
        story = msgspec.structs.replace(story, release=release["state"])
        if release["state"] != "active":
            console.print(f"The canary was taken back: {release['ended_why']}.\n", markup=False, highlight=False)
            return story
        levels = _weighed(console, child, people, fresh, requests)
        found = worth.account(levels, spent.get("nano", 0) / _NANO, loop.VALUE_PER_SUCCESS)
        console.print()
        console.print(worth.table(found))
        console.print(worth.by_level(found))
        console.print("In brackets: 95 % intervals, by resampling customers.", style="dim", highlight=False)
        console.print(f"\n{worth.conclusion(found)}\n", style="bold", highlight=False)
        errors = [one.error for _, some in levels for one in some if one.error]
        return msgspec.structs.replace(story, worth=found, errors=errors)
    finally:
        people.close()


def progress_of(console: Console) -> Progress:
    """A bar as everywhere in the demo."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _say(console: Console, title: str, text: str) -> None:
    console.print(f"\n{title}", style="bold")
    console.print(text, markup=False, highlight=False)


def _weighed(
    console: Console, child: Child, people: People, fresh: Sequence[Question], requests: int
) -> list[tuple[Level, list[Outcome]]]:
    _say(console, "What was it worth?", _WEIGHED.format(share=f"{100 * HELD_OUT:.0f} %", requests=requests))
    with progress_of(console) as bar:
        task = bar.add_task("traffic with the hold-out", total=len(LEVELS) * requests)
        return loop.weigh(child, people, fresh, requests, lambda _: bar.update(task, advance=1))


def _plan(console: Console, people: People) -> None:
    plan = people.ana.post("/optimizations/plan", loop.wish())
    gain = plan.get("smallest_gain")
    _say(
        console,
        "Ana asks for a better prompt",
        f"Plan: about {plan['about']:,} calls of {plan['alias']}, {plan['calls']:,} at most; "
        f"{plan['pairs']} sealed examples"
        + (f", which can prove a gain of {100 * gain:.0f} points or more." if gain is not None else "."),
    )
    for notice in plan.get("notices", ()):
        console.print(f"  {notice['level']}: {notice['message']}", markup=False, highlight=False)


def _released(
    console: Console, child: Child, people: People, release_id: str, fresh: Sequence[Question]
) -> dict[str, Any]:
    _say(console, "Rui approves, and customers try it", _CANARY)
    loop.approve_and_start(people, release_id)
    with progress_of(console) as bar:
        task = bar.add_task("canary at 25 %", total=3)

        def shown(release: dict[str, Any]) -> None:
            steps = release["plan"]["steps"]
            step = release.get("step", 0)
            share = steps[step]["share"] if step < len(steps) else 1.0
            told = f"canary at {100 * share:.0f} %" if release["state"] == "canary" else f"release {release['state']}"
            bar.update(task, completed=min(step + 1, 3), description=told)

        return loop.roll_out(child, people, release_id, fresh, shown)


_OPENING: Final = """\
The prompt becomes version 1 of bank/topic in the registry, for an intent of low stakes. Ana writes prompts, Rui
approves them, the application may only call them. {labelled} labelled questions become a dataset: part to learn from,
part to choose by, part sealed, which only the gate may open. {fresh} other questions are the traffic."""

_CANARY: Final = """\
Nobody approves their own work. The better version gets 25 %, then 50 % of the customers; as many ask the old one
beside it. Each tells whether the topic was right, and two guardrails watch: quality and errors. No harm, and it goes
on by itself."""

_WEIGHED: Final = """\
Now {share} of the customers are drawn to be answered without the cache, and, independently, {share} by the first
prompt. So four random parts of the same traffic can be compared: {requests} requests at each of 3 levels."""

_REFUSED: Final = """\
Nothing was proven to be better, so nothing changes: a search always finds something that looks better, and the sealed
examples say whether it is. That is what they are for.
"""
