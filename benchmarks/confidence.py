"""How sure a model is of its answers, and how far that can be believed: on a real model.

    make bench ARGS='--only confidence'                   SHARED=DIR for SST-2
    .venv/bin/python benchmarks/confidence.py --tasks banking sst2 --examples 200

Each task is asked with sixteen labelled examples before the question, greedily, with log probabilities. The confidence
of an answer is the posterior of its label (``scorers.confidence``), calibrated on one half, shown on the other. The
figure that matters is *caught*: which share of all errors lies among the least confident fifth, where reviewers look.
It has a bound of its own: with 30 % errors no fifth can hold more than two thirds of them.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import optimization
from bench import Bench
from figures import Figure

from ostinato import outbound, providers, wire
from ostinato.core.clock import SystemClock
from ostinato.datasets.model import Example
from ostinato.providers.model import ChatCall
from ostinato.providers.settings import LocalSettings, Settings
from ostinato.scorers import confidence
from ostinato.wire.model import Answer

TASKS = ("sst2", "banking")
SHOTS = 16
GOAL = 0.65


class Outcome(msgspec.Struct, frozen=True):
    """What came of one task."""

    task: str
    n: int
    plain: confidence.Report
    """Of the answers as they were given."""
    balanced: confidence.Report
    """Of those that the posterior gives once the model's leaning to some labels is taken off."""
    seconds: float


def _messages(task: optimization.Task, shots: Sequence[Example], text: str) -> list[dict[str, str]]:
    told = [{"role": "system", "content": task.instruction}]
    for shot in shots:
        told.append({"role": "user", "content": task.question.replace("{{text}}", shot.inputs["text"])})
        told.append({"role": "assistant", "content": f" {shot.reference}"})
    return [*told, {"role": "user", "content": task.question.replace("{{text}}", text)}]


def _balanced(task: optimization.Task, examples: Sequence[Example], seed: int) -> list[Example]:
    """Shots with every label equally often, in an order drawn once."""
    rng = random.Random(seed)
    each = max(1, SHOTS // len(task.labels))
    found: list[Example] = []
    for label in task.labels:
        some = [one for one in examples if one.reference == label and len(one.inputs["text"]) < 160]
        found += rng.sample(some, min(each, len(some)))
    rng.shuffle(found)
    return found


async def measured(task: optimization.Task, provider: Any, examples: int, seed: int) -> Outcome:
    """One task: half of the examples teach the calibration, half show it."""
    train, dev, holdout = task.split(seed)
    shots = _balanced(task, train, seed)
    asked = [*dev, *holdout][: 2 * examples]
    codec = wire.codec("openai.chat")
    began = time.monotonic()

    async def answer(one: Example) -> Answer:
        body = {
            "model": optimization.MODEL,
            "messages": _messages(task, shots, one.inputs["text"]),
            "temperature": 0,
            "max_tokens": 12,
            "grammar": task.content.params["extra_body"]["grammar"],
            **confidence.ASKING,
        }
        reply = await provider.chat(ChatCall(codec.read_request(body), optimization.MODEL, 300.0))
        return reply.answer

    given: list[tuple[dict[str, float], str, str]] = []
    for one in asked:
        told = await answer(one)
        shares = confidence.posterior(told, task.labels)
        assert shares is not None, "this provider tells log probabilities"
        given.append((shares, wire.text_of(told).strip(), str(one.reference)))
    half = len(asked) // 2
    prior = confidence.leaning([shares for shares, _, _ in given[:half]])
    plain = [(shares[said], float(said == wanted)) for shares, said, wanted in given]
    freed = [(confidence.balanced(shares, prior), wanted) for shares, _, wanted in given]
    balanced = [
        (max(shares.values()), float(max(shares, key=lambda label: shares[label]) == wanted))
        for shares, wanted in freed
    ]
    return Outcome(
        task.name, len(asked) - half, _report(plain, half), _report(balanced, half), time.monotonic() - began
    )


def _report(pairs: Sequence[tuple[float, float]], half: int) -> confidence.Report:
    sure, right = [one for one, _ in pairs], [one for _, one in pairs]
    return confidence.report((sure[:half], right[:half]), (sure[half:], right[half:]))


async def run(data: Path, names: Sequence[str], examples: int, seed: int = 0) -> list[Outcome]:
    """All tasks on the local model."""
    clock = SystemClock()
    client = outbound.Client(outbound.Settings(), clock)
    await client.start()
    settings = Settings(kind="local", local=LocalSettings(model=optimization.MODEL, parallel=1))
    provider = providers.build("local", settings, client, clock)
    try:
        await provider.start()
        return [await measured(task, provider, examples, seed) for task in optimization.tasks(data, names)]
    finally:
        await provider.close()
        await client.close()


def measure(bench: Bench) -> list[Figure]:
    """The section of the bench."""
    tick = bench.ticker("confidence", 1)
    tick("asking")
    outcomes = asyncio.run(run(bench.shared / "data", TASKS, 60))
    tick("done")
    return [figure for outcome in outcomes for figure in figures(outcome)]


def figures(outcome: Outcome) -> list[Figure]:
    """What is told of a task."""
    found: list[Figure] = []
    for kind, report in (("", outcome.plain), ("-balanced", outcome.balanced)):
        raw, put_right = report.raw, report.calibrated
        key = f"confidence-{outcome.task}{kind}"
        about = f"{outcome.task}, {optimization.MODEL}, n={outcome.n}{', labels balanced' if kind else ''}"
        detail = {
            "accuracy": raw.accuracy,
            "auroc": raw.auroc,
            "ece": raw.ece,
            "ece_calibrated": put_right.ece,
            "most": min(1.0, 0.2 / (1 - raw.accuracy)) if raw.accuracy < 1 else None,
        }
        caught = None if raw.caught is None else 100 * raw.caught
        found += [
            Figure(
                id=f"{key}-caught",
                what=f"Errors among the least confident fifth: {about}",
                value=caught,
                unit="%",
                asked=100 * GOAL if kind else None,
                more=True,
                detail=detail,
                note="" if raw.accuracy > 0.7 else "a fifth cannot hold more errors than it has answers",
            ),
            Figure(id=f"{key}-auroc", what=f"AUROC of the confidence: {about}", value=raw.auroc, more=True),
            Figure(id=f"{key}-ece", what=f"ECE, calibrated: {about}", value=put_right.ece),
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for task in asked.tasks:
        (outcome,) = asyncio.run(run(asked.shared / "data", [task], asked.examples, asked.seed))
        told = msgspec.to_builtins(outcome)
        for kind in ("plain", "balanced"):
            for part in ("raw", "calibrated"):
                told[kind][part].pop("curve")
            told[kind].pop("isotonic")
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
