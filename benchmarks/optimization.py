"""The search for a better prompt, on a real model: what it finds, proven on examples that it never saw.

    make bench ARGS='--only optimization'                     two seeds; SHARED=DIR for SST-2 and TREC
    .venv/bin/python benchmarks/optimization.py --seeds 0 1 2 3 4      all of it, resumable: one line of JSON a run

The whole way is taken: an App in this process with llama.cpp as its provider, calls through its routes with journal and
ledger, cells by ``evals.Runner``. Each run is the default search with polish and one finalist, then exact McNemar
against the base on sealed examples. Beside it eight examples drawn at random: what anybody gets without a search.

The sealed examples are asked with log probabilities, so the same runs tell how far the model's confidence can be
believed: which share of the errors lies among the least confident fifth, where reviewers look. The calibration is
learnt from the examples that the search scored on.
"""

import argparse
import asyncio
import hashlib
import json
import random
import statistics as plain
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from bench import Bench
from figures import Figure, number
from servers import Missing

from ostinato import config, evals, scorers, statistics
from ostinato.app import App
from ostinato.config.reading import Source
from ostinato.core import ids
from ostinato.core.clock import SystemClock
from ostinato.core.errors import OstinatoError
from ostinato.datasets.model import Example
from ostinato.demo import task as banking
from ostinato.evals import Variant
from ostinato.optimization import search
from ostinato.optimization.model import Candidate, Measured
from ostinato.optimization.search import Problem, Round, SearchPlan, anatomy
from ostinato.optimization.search.grammar import Grammar, Recipe
from ostinato.prompts import Content, Turn, contents
from ostinato.scorers import confidence, opinion
from ostinato.scorers.model import Spec

MODEL = "gemma3-270m"
ALPHA = 0.01
HOLDOUT, DEV, TRAIN = 200, 120, 600
CONFIG = f"""
[providers.gemma]
kind = "local"
local = {{ model = "{MODEL}", parallel = 1 }}
[models.small]
targets = ["gemma/{MODEL}"]
[prices."gemma/{MODEL}"]
input = 0.1
cache_read = 0.025
output = 0.4
"""


class Task(msgspec.Struct, frozen=True):
    """A task: its prompt as somebody would write it at first, and its labelled questions."""

    name: str
    instruction: str
    question: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    holdout: int = HOLDOUT
    null: bool = False
    """Whether labels are dealt at random: then no prompt is better than another, and none may be promoted."""

    @property
    def content(self) -> Content:
        labels = " | ".join(json.dumps(label) for label in self.labels)
        return Content(
            kind="chat",
            messages=(Turn("system", self.instruction), Turn("user", self.question)),
            variables={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            params={"temperature": 0, "max_tokens": 12, "extra_body": {"grammar": f'root ::= " "? ({labels})'}},
        )

    def split(self, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
        """To show, to score on, sealed."""
        rows = list(dict.fromkeys(self.rows))
        random.Random(seed).shuffle(rows)
        if self.null:
            labels = [label for _, label in rows]
            random.Random(f"null:{seed}").shuffle(labels)
            rows = [(text, label) for (text, _), label in zip(rows, labels, strict=True)]
        parts: dict[Any, list[tuple[str, str]]] = {"holdout": rows[: self.holdout]}
        parts["dev"] = rows[self.holdout : self.holdout + DEV]
        parts["train"] = rows[self.holdout + DEV :][:TRAIN]
        made = {name: [_example(row, name) for row in some] for name, some in parts.items()}
        return made["train"], made["dev"], made["holdout"]


def _example(row: tuple[str, str], split: Any) -> Example:
    text, label = row
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Example(id=digest[:16], digest=digest, split=split, inputs={"text": text}, reference=label, stratum=label)


SST2 = {"0": "negative", "1": "positive"}
TREC = {
    "ABBR": "Abbreviation",
    "ENTY": "Entity",
    "DESC": "Description",
    "HUM": "Person",
    "LOC": "Location",
    "NUM": "Number",
}


def tasks(data: Path, names: Sequence[str], *, null: bool = False) -> list[Task]:
    """The tasks, with labels at random where ``null``; raises ``Missing`` naming what is not here."""
    return [msgspec.structs.replace(one, null=null) for one in _tasks(data, names)]


def _tasks(data: Path, names: Sequence[str]) -> list[Task]:
    found: list[Task] = []
    for name in names:
        if name == "banking":
            user = banking.messages("{{text}}")[1]["content"]
            rows = tuple((one.text, banking.INTENTS[one.intent]) for one in banking.questions())
            found.append(Task(name, banking.INSTRUCTION, user, tuple(banking.INTENTS.values()), rows))
            continue
        path = data / name / "train.txt"
        if not path.is_file():
            raise Missing(f"{path} is not here: SHARED=DIR names the place of the public data.")
        lines = [line for line in path.read_text(encoding="latin-1").splitlines() if line.strip()]
        if name == "sst2":
            rows = tuple((line[2:].strip(), SST2[line[0]]) for line in lines)
            say, user = "Decide whether the movie review is positive or negative.", "Review: {{text}}\nSentiment:"
            found.append(Task(name, say, user, tuple(SST2.values()), rows))
        else:
            rows = tuple((line.split(" ", 1)[1].strip(), TREC[line.split(":")[0]]) for line in lines)
            say = "Say what type of answer each question asks for. The types are:\n"
            say += "\n".join(f"- {label}" for label in TREC.values())
            found.append(Task(name, say, "Question: {{text}}\nType of answer:", tuple(TREC.values()), rows, 120))
    return found


class Meter:
    """Measures candidates as an optimization run does; counts calls, tokens and seconds."""

    def __init__(self, app: App, project: Any, namespace: str) -> None:
        self._app = app
        self._project = project
        self._namespace = namespace
        self._specs = (Spec(kind="normalized"),)
        self._scorers = scorers.build_all(self._specs, app.scoring(project.org_id, project.id, namespace, None))
        self.calls = self.tokens = self.cached = 0
        self.seconds = 0.0

    async def evaluate(self, one: Candidate, examples: Sequence[Example]) -> list[Measured]:
        """Each example's value."""
        return self.measured(await self.cells(one, examples), examples)

    def measured(self, cells: Sequence[evals.Cell], examples: Sequence[Example]) -> list[Measured]:
        """The same of cells."""
        return [self._measured(cell, example) for cell, example in zip(cells, examples, strict=True)]

    async def cells(
        self, one: Candidate, examples: Sequence[Example], labels: Sequence[str] = ()
    ) -> Sequence[evals.Cell]:
        """Each example's cell; with ``labels`` also how the model's probability is shared among them."""
        content = one.content
        if labels:
            content = msgspec.structs.replace(content, params={**content.params, **confidence.ASKING})
        digest = contents.digest(contents.encode(content))
        variant = Variant(name=one.id, content=content, digest=digest, alias="small")
        began = time.perf_counter()
        # Two under way on one slot: the model never waits for us, and every prompt finds its beginning where it was.
        cells = await self._app.runner.run_many(
            [(variant, example) for example in examples],
            self._scorers,
            org=self._project.org_id,
            project=self._project.id,
            namespace=self._namespace,
            purpose="search",
            specs=self._specs,
            confidence=bool(labels),
            labels=labels,
            concurrency=2,
        )
        self.seconds += time.perf_counter() - began
        return cells

    def _measured(self, cell: evals.Cell, example: Example) -> Measured:
        usage = cell.usage
        if usage is None:
            raise RuntimeError(f"no answer: {cell.error}")
        taken = usage.input + usage.cache_read
        self.calls += 1
        self.tokens += taken
        self.cached += usage.cache_read
        return Measured(
            example=example.id,
            value=cell.value,
            output=cell.output,
            confidence=cell.confidence,
            stratum=example.stratum,
            input_tokens=taken,
            cached_tokens=usage.cache_read,
        )


async def run(app: App, project: Any, job: Task, seed: int) -> dict[str, Any]:
    """One search, and its proof."""
    train, dev, holdout = job.split(seed)
    base = Candidate(id=anatomy.identify(job.content), content=job.content)
    meter = Meter(app, project, ids.new(app.clock.now()))

    async def told(round: Round) -> None:
        return

    problem = Problem(
        base=base,
        train=train,
        dev=dev,
        evaluate=meter.evaluate,
        plan=SearchPlan(finalists=1),
        seed=seed,
        on_round=told,
    )
    found = await search.race(problem)
    searched = {"calls": meter.calls, "seconds": meter.seconds, "tokens": meter.tokens, "cached": meter.cached}
    best = found.finalists[0] if found.finalists else base
    grammar = Grammar(base, train, problem.plan, seed=seed)
    drawn = random.Random(f"eight:{seed}").sample(sorted(grammar.shelf.texts), 8)
    eight = grammar.make(Recipe(shots=tuple(drawn), layout="turns"), base)
    cells = {name: await meter.evaluate(one, holdout) for name, one in (("base", base), ("eight", eight))}
    sealed, taught = await meter.cells(best, holdout, job.labels), await meter.cells(best, dev, job.labels)
    alone = _sureness(taught, taught), _sureness(sealed, taught)
    learnt, sureness = await _seconded(app, train, (dev, taught), (holdout, sealed), alone)
    cells["best"] = meter.measured(sealed, holdout)
    values = {name: [one.value or 0.0 for one in some] for name, some in cells.items()}
    wins = sum(a < b for a, b in zip(values["base"], values["best"], strict=True))
    losses = sum(a > b for a, b in zip(values["base"], values["best"], strict=True))
    means = {name: 100 * plain.fmean(row) for name, row in values.items()}
    p = statistics.mcnemar(wins, losses)
    return {
        "task": job.name,
        "seed": seed,
        **{name: round(value, 1) for name, value in means.items()},
        "gain": round(means["best"] - means["base"], 1),
        "over_eight": round(means["best"] - means["eight"], 1),
        "p": p,
        "promoted": p < ALPHA and best is not base,
        "edit": best.edit,
        "taught": learnt,
        "sureness": sureness,
        "alone": alone[1],
        "raw": _sureness(sealed, ()),
        "stopped": found.stopped,
        **searched,
    }


def _sureness(cells: Sequence[evals.Cell], taught: Sequence[evals.Cell]) -> list[tuple[float, float]]:
    """How sure the model was of each answer, and how right: as reviewing ranks them, the leaning to some labels that
    the open examples have ``taught`` taken off; without these as the model tells it."""
    leaning = [one.posterior for one in taught]
    evened = confidence.evened([one.output for one in cells], [one.posterior for one in cells], leaning)
    sure = evened if evened is not None else [one.confidence for one in cells]
    assert None not in sure, "the local model tells log probabilities"
    return [(round(one or 0.0, 6), cell.value or 0.0) for one, cell in zip(sure, cells, strict=True)]


Sure = list[tuple[float, float]]


async def _seconded(
    app: App,
    train: Sequence[Example],
    open_: tuple[Sequence[Example], Sequence[evals.Cell]],
    sealed: tuple[Sequence[Example], Sequence[evals.Cell]],
    alone: tuple[Sure, Sure],
) -> tuple[Sure, Sure]:
    """The same of open and sealed examples with the second opinion of labelled ones, weighed by the open answers."""
    embedder = app.improving.embedder
    if embedder is None:
        return alone
    seen: list[list[opinion.Witnessed]] = []
    believed = True
    for (examples, cells), sure in zip((open_, sealed), alone, strict=True):
        told = await evals.seconding.opinions(embedder, train, examples)
        assert told is not None, "every task has labels"
        witnesses = evals.seconding.witnessed(cells, told, [one for one, _ in sure])
        seen.append([one for one in witnesses if one is not None])
        if examples is open_[0]:
            believed = evals.seconding.believed(told, witnesses)
    if not believed:
        return alone
    stacked = opinion.stack(seen[0])
    taught, shown = (
        [(round(stacked.of(one.sure, one.seconded), 6), float(one.right)) for one in some] for some in seen
    )
    return taught, shown


async def started(place: Path) -> tuple[App, Any]:
    """An App on the model, and its project. Raises ``Missing`` without weights or llama.cpp."""
    tables = {**tomllib.loads(CONFIG), "storage": {"directory": str(place)}}
    app = App(config.parse(tables, Source("bench.toml", CONFIG), {}), SystemClock())
    try:
        await app.start()
        _, project, _ = await app.access.first_start()
    except OstinatoError as error:
        await app.stop()
        raise Missing(f"{error.message} {error.hint}") from None
    return app, project


def told(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """The figures of some runs."""
    cached, tokens = sum(row["cached"] for row in rows), sum(row["tokens"] for row in rows)
    promoted = [row["p"] for row in rows if row["promoted"]]
    runs = f"{len(rows)} runs, {MODEL}"
    detail = {"runs": [{name: one for name, one in row.items() if name not in _PAIRS} for row in rows]}
    by_task = ", ".join(
        f"{name} {number(plain.fmean(r['base'] for r in rows if r['task'] == name))} -> "
        f"{number(plain.fmean(r['best'] for r in rows if r['task'] == name))}"
        for name in dict.fromkeys(row["task"] for row in rows)
    )
    return [
        Figure(
            id="search-gain",
            what="search: mean gain on sealed examples over zero-shot",
            value=plain.fmean(row["gain"] for row in rows),
            unit="points",
            asked=18,
            goal=20.7,
            more=True,
            note=f"{runs}: {by_task}",
            detail=detail,
        ),
        Figure(
            id="search-over-eight",
            what="the same over eight random examples",
            value=plain.fmean(row["over_eight"] for row in rows),
            unit="points",
            asked=5,
            more=True,
            note=f"smallest {min(row['over_eight'] for row in rows)}, largest {max(row['over_eight'] for row in rows)}",
        ),
        Figure(
            id="search-p",
            what="largest p of a promoted run (exact McNemar)",
            value=max(promoted, default=None),
            asked=ALPHA,
            note=f"{len(promoted)} of {len(rows)} promoted",
        ),
        Figure(
            id="search-calls",
            what="calls of a search, probe and polish included",
            value=max(row["calls"] for row in rows),
            asked=540,
            goal=300,
            note=f"median {plain.median(row['calls'] for row in rows):.0f}; the sealed examples apart",
        ),
        Figure(
            id="search-seconds",
            what="longest search",
            value=max(row["seconds"] for row in rows),
            unit="s",
            asked=180,
            note=f"median {plain.median(row['seconds'] for row in rows):.0f} s; on two idle cores",
        ),
        Figure(
            id="search-cached",
            what="prompt tokens from the prefix cache",
            value=100 * cached / tokens,
            unit="%",
            asked=85,
            goal=90,
            more=True,
        ),
        *(
            figure
            for name in TASKS
            if (some := [r for r in rows if r["task"] == name])
            for figure in _caught(name, some)
        ),
    ]


def _caught(task: str, rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What reviewers of the least confident fifth see, of the answers of all runs of a task."""
    learnt, shown, untouched, alone = ([pair for row in rows for pair in row[name]] for name in _PAIRS)
    report = confidence.report(
        ([sure for sure, _ in learnt], [right for _, right in learnt]),
        ([sure for sure, _ in shown], [right for _, right in shown]),
    )
    raw = report.raw
    told, own = (
        statistics.caught([sure for sure, _ in some], [1 - right for _, right in some]) for some in (untouched, alone)
    )
    about = f"{task}, {MODEL}, n={len(shown)}, {100 * raw.accuracy:.1f} % right"
    return [
        Figure(
            id=f"confidence-{task}-caught",
            what=f"errors among the least confident fifth: {about}",
            value=None if raw.caught is None else 100 * raw.caught,
            unit="%",
            asked=65 if task in REVIEWED else None,
            more=True,
            note=f"no fifth can hold more than {100 * min(1.0, 0.2 / max(1 - raw.accuracy, 1e-9)):.0f} %; "
            f"without a second opinion {100 * (own or 0.0):.0f} %, as the model tells it {100 * (told or 0.0):.0f} %",
        ),
        Figure(id=f"confidence-{task}-auroc", what=f"AUROC of the confidence: {task}", value=raw.auroc, more=True),
        Figure(
            id=f"confidence-{task}-ece",
            what=f"expected calibration error once calibrated: {task}",
            value=report.calibrated.ece,
            note=f"{raw.ece:.3f} before",
        ),
    ]


TASKS = ("sst2", "trec", "banking")
REVIEWED = ("sst2", "banking")
_PAIRS = ("taught", "sureness", "raw", "alone")
"""Of a run's row: pairs of how sure and how right, on the examples scored on, on the sealed ones, and on these as the
model tells it, with its leaning and without."""


Done = list[dict[str, Any]]


async def all_of(
    data: Path,
    names: Sequence[str],
    seeds: Sequence[int],
    tick: Callable[[str], Any],
    done: Done,
    keep: Any = None,
    *,
    null: bool = False,
) -> Done:
    """Every task with every seed; what is ``done`` already is not done again. ``keep`` is told of each run."""
    rows = [row for row in done if row["task"] in names and row["seed"] in seeds]
    jobs = tasks(data, names, null=null)
    with tempfile.TemporaryDirectory(prefix="ostinato-search-") as place:
        app, project = await started(Path(place))
        try:
            for seed in seeds:
                for job in jobs:
                    tick(f"{job.name} {seed}")
                    if any((row["task"], row["seed"]) == (job.name, seed) for row in rows):
                        continue
                    rows.append(await run(app, project, job, seed))
                    if keep is not None:
                        keep(rows[-1])
        finally:
            await app.stop()
    return rows


def measure(bench: Bench) -> list[Figure]:
    """Two seeds of all three tasks."""
    seeds = range(2)
    tick = bench.ticker("optimization", len(seeds) * len(TASKS))
    rows = asyncio.run(all_of(bench.shared / "data", TASKS, seeds, tick, []))
    tick("done")
    return told(rows)


def main() -> None:
    """The same apart, with as many seeds as one likes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument("--shared", type=Path, default=here.parent.parent / "shared")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--lines", type=Path, default=here / "out" / "optimization.jsonl", help="one line a run")
    parser.add_argument("--null", action="store_true", help="labels dealt at random: nothing may be promoted")
    options = parser.parse_args()
    options.lines.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in options.lines.read_text().splitlines()] if options.lines.exists() else []

    def keep(row: dict[str, Any]) -> None:
        with options.lines.open("a") as file:
            file.write(json.dumps(row) + "\n")

    rows = asyncio.run(
        all_of(options.shared / "data", options.tasks, options.seeds, print, done, keep, null=options.null)
    )
    for one in told(rows):
        print(f"{one.what}: {number(one.value)} {one.unit} (asked {one.asked}) {one.verdict}; {one.note}")


if __name__ == "__main__":
    main()
