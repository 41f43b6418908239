"""The loop as a whole: the demo's task, improved, released and cached, beside what there was before.

The gateway's own hold-out deals customers to four random parts (first or better prompt, with and without the cache), at
three levels of repetition that were fixed before the first run.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
from bench import Bench
from figures import Figure
from rich.console import Console
from servers import Missing

from ostinato.demo import loop, report, task, telling, worth
from ostinato.demo.child import MODELS, Child, DemoError

REQUESTS = 400
"""At each level."""
MIDDLE = "some"


def measure(bench: Bench) -> list[Figure]:
    """Improve, prove, release, weigh: some minutes."""
    tick = bench.ticker("loop", 1)
    tick("the whole loop")
    model = MODELS["gemma"]
    with Path(os.devnull).open("w") as nowhere:
        try:
            with Child(model, bench.place / "loop") as child:
                child.wait()
                story = telling.tell(Console(file=nowhere), child, task.questions(), REQUESTS)
        except DemoError as error:
            raise Missing(str(error)) from None
    tick("done")
    if story.worth is None:
        raise RuntimeError(f"The loop was not closed: {story.state}, {story.why}")
    if story.errors:
        raise RuntimeError(f"{len(story.errors)} requests failed, the first with {story.errors[0]}")
    return told(story.worth, f"{model.name}, {REQUESTS} requests at each level", story.seconds)


def told(found: worth.Worth, about: str, seconds: float) -> list[Figure]:
    """The figures."""
    detail: dict[str, Any] = msgspec.to_builtins(found)
    before, after = found.whole.first_plain, found.whole.better_cached
    with_optimizer = found.with_optimizer
    return [
        *(
            Figure(
                id=f"loop-times-{one.name}",
                what=f"{one.name} repetition: a successful answer cost before, without cache and with the first prompt",
                value=one.times.value,
                unit="times as much",
                goal=5 if one.name == MIDDLE else None,
                more=True,
                note=f"{_interval(one.times)}; with the cache alone {_cache_alone(one)}; "
                f"{one.better_cached.hits / max(1, one.better_cached.requests):.0%} hits",
                detail=detail if one.name == MIDDLE else {},
            )
            for one in found.levels
        ),
        Figure(
            id="loop-gain",
            what="all levels: more of all requests right at once",
            value=None if found.whole.gain.value is None else 100 * found.whole.gain.value,
            unit="points",
            goal=15,
            more=True,
            note=f"{_interval(found.whole.gain, 100)}; {about}",
        ),
        Figure(
            id="loop-cost",
            what="a successful answer, the optimizer paid by this traffic alone",
            value=None if with_optimizer is None else 1e6 * with_optimizer,
            unit="micro-dollars",
            note=f"{_micro(before.cost_per_success)} before, {_micro(after.cost_per_success)} after without it; "
            f"it cost {_micro(found.optimizer_cost)}",
        ),
        Figure(
            id="loop-payback",
            what=f"requests after which the optimizer is paid, at ${loop.VALUE_PER_SUCCESS:g} for a success",
            value=found.payback,
            unit="requests",
            note="never" if found.payback is None else f"a request is worth {_micro(found.a_request)} more",
        ),
        Figure(
            id="loop-p50",
            what="p50 of a request, after",
            value=after.p50,
            unit="ms",
            note=f"{report.milliseconds(before.p50)} before",
        ),
        Figure(id="loop-seconds", what="the run, its proof included", value=seconds, unit="s"),
    ]


def _cache_alone(one: worth.Parts) -> str:
    before, after = one.first_plain.cost_per_success, one.first_cached.cost_per_success
    return f"{before / after:.1f}" if before and after else "-"


def _interval(found: worth.Between, scale: float = 1.0) -> str:
    if found.low is None or found.high is None:
        return "no interval"
    return f"95 %: {scale * found.low:.2f} to {scale * found.high:.2f}"


def _micro(dollars: float | None) -> str:
    return "-" if dollars is None else f"${1e6 * dollars:.2f} per million"
