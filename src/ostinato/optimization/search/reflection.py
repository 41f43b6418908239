"""GEPA: a strong model reads what went wrong and rewrites instruction and question; its answers are not trusted.

The package ``gepa`` chooses whom to change next and whom to keep; measuring, counting, stopping and writing down are
ours. It runs in a thread of its own and asks for everything over the event loop.
"""

import asyncio
import concurrent.futures
import importlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from ostinato.core import hashing
from ostinato.core.errors import LimitReached, OstinatoError
from ostinato.datasets.model import Example
from ostinato.optimization.model import Measured
from ostinato.optimization.search import anatomy as parts
from ostinato.optimization.search.anatomy import Unusable
from ostinato.optimization.search.course import Course, Stopped
from ostinato.optimization.search.grammar import Grammar, Recipe

Ask: TypeAlias = Callable[[str], Awaitable[str]]
"""Asks the reflection model: text in, text out."""

STEPS: Final = 12
"""Rewritings that are asked for, at most."""
MINIBATCH: Final = 5
"""Examples that one rewriting looks at."""
_SHOWN: Final = 2_000
"""Characters of one input or output that the reflection model is shown."""

INSTRUCTION, QUESTION = "instruction", "question"
_NOTHING: Final = "(none)"
_PROMPT: Final = """A prompt for a language model shall be improved. This part of it is the {part}:

```
{text}
```

Below are inputs, what the model answered, and what is right.

{cases}

Write a better {part}. Keep what works, and say what the answers show to be missing or unclear. {rule} \
Do not repeat the examples. Answer with the new {part} between two lines of ``` and nothing else.
"""
_RULES: Final = {
    INSTRUCTION: "It must not hold any placeholder in braces.",
    QUESTION: "Every placeholder in braces stands for data: each must stay in it, spelled exactly as it is.",
}

T = TypeVar("T")


async def reflect(
    course: Course,
    grammar: Grammar,
    start: str,
    open_examples: Sequence[Example],
    scored: Sequence[Example],
    ask: Ask,
    *,
    seed: int,
    steps: int = STEPS,
) -> None:
    """Let GEPA rewrite the candidate ``start``; what comes of it enters ``course``.

    ``open_examples`` are shown to the reflection model, ``scored`` only decide. Raises ``Stopped`` where plan or budget
    ends, and whatever measuring or asking raises: what was measured until then stays.
    """
    recipe = course.recipes.get(start, Recipe(layout=grammar.own))
    shown = [example for example in open_examples if example.id not in recipe.shots and not example.erased]
    if len(shown) < MINIBATCH or not scored:
        return
    bridge = _Bridge(asyncio.get_running_loop())
    adapter = _Adapter(course, grammar, start, recipe, bridge, ask, len(scored))
    work = asyncio.ensure_future(asyncio.to_thread(_run, adapter, shown, list(scored), seed, steps))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        bridge.stop()
        await asyncio.wait([work])
        work.exception()  # looked at, so that nobody is told of it: it is this cancellation
        raise
    except Exception as error:
        if bridge.failure is None:
            course.refuse("rewritten by the reflection model", f"It ended early: {type(error).__name__}.")
    if bridge.failure is not None:
        raise bridge.failure


def _run(adapter: "_Adapter", shown: list[Example], scored: list[Example], seed: int, steps: int) -> None:
    gepa: Any = importlib.import_module("gepa")  # 0.2 s, and only who reflects pays for it

    def ended(state: Any) -> bool:
        return adapter.ended(state.i, steps)

    gepa.optimize(
        seed_candidate=adapter.seed(),
        trainset=shown,
        valset=scored,
        adapter=adapter,
        reflection_minibatch_size=MINIBATCH,
        stop_callbacks=[ended],
        logger=_Silence(),
        run_dir=None,
        seed=seed,
        raise_on_exception=True,
    )


class _Adapter:
    """What GEPA asks for: measure texts on examples, and write better ones."""

    def __init__(
        self, course: Course, grammar: Grammar, start: str, recipe: Recipe, bridge: "_Bridge", ask: Ask, whole: int
    ) -> None:
        self._course = course
        self._grammar = grammar
        self._parent = start
        self._recipe = recipe
        self._bridge = bridge
        self._ask = ask
        self._whole = whole
        self._refused: dict[str, str] = {}
        self._batch: Any = importlib.import_module("gepa.core.adapter").EvaluationBatch
        self._signature: Any = importlib.import_module("gepa.strategies.instruction_proposal")

    def seed(self) -> dict[str, str]:
        """The texts that rewriting begins with."""
        texts = {QUESTION: self._recipe.question or self._grammar.anatomy.question}
        if self._grammar.rewordable:
            texts = {INSTRUCTION: self._grammar.said(self._recipe) or _NOTHING, **texts}
        return texts

    def ended(self, step: int, steps: int) -> bool:
        """Whether GEPA stops here: enough steps, no room for another one, or something broke."""
        return step + 1 >= steps or self._bridge.failure is not None or not self._course.room(2, MINIBATCH)

    def evaluate(self, batch: list[Example], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Scores of a candidate on a batch. One that cannot be used gets nothing, and nothing is paid for it."""
        try:
            name = self._enter(candidate)
        except Unusable as unusable:
            traces = [self._trace(example, None, str(unusable)) for example in batch]
            return self._batch([""] * len(batch), [0.0] * len(batch), traces, num_metric_calls=0)
        row = self._bridge.call(self._measure(name, batch))
        scores = [0.0 if one.value is None else one.value for one in row]
        traces = [self._trace(example, one, "") for example, one in zip(batch, row, strict=True)]
        return self._batch([one.output for one in row], scores, traces if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What the reflection model is shown: input, answer, what is right."""
        return {name: list(eval_batch.trajectories) for name in components_to_update}

    def propose_new_texts(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """New texts of the parts named, from the reflection model."""
        found: dict[str, str] = {}
        for part in components_to_update:
            cases = "\n\n".join(
                f"Input: {case['input']}\nAnswer: {case['output']}\nRight: {case['right']}\n{case['told']}".rstrip()
                for case in reflective_dataset[part]
            )
            asked = _PROMPT.format(part=part, text=candidate[part], cases=cases, rule=_RULES[part])
            answer = self._bridge.call(self._asked(asked))
            told: object = self._signature.InstructionProposalSignature.output_extractor(answer)["new_instruction"]
            found[part] = told if isinstance(told, str) and told.strip() else candidate[part]
        return found

    def _enter(self, texts: Mapping[str, str]) -> str:
        """The candidate with these texts: id. Raises ``Unusable``; the reason is written down once."""
        key = hashing.digest_of(dict(texts)).hex()
        if key in self._refused:
            raise Unusable(self._refused[key])
        said = texts.get(INSTRUCTION)
        question = texts[QUESTION]
        recipe = msgspec.structs.replace(
            self._recipe,
            said=self._recipe.said if said is None else "" if said == _NOTHING else said,
            question="" if question == self._grammar.anatomy.question else question,
        )
        if dict(texts) == self.seed():
            return self._parent
        parent = self._course.candidates[self._parent]
        edit = "rewritten by the reflection model"
        try:
            self._fixed(recipe)
            made = self._grammar.make(recipe, parent, edit, "reflection")
        except Unusable as unusable:
            self._refused[key] = str(unusable)
            self._course.refuse(edit, str(unusable), parent.id)
            raise
        self._course.enter(made, recipe)
        return made.id

    def _fixed(self, recipe: Recipe) -> None:
        """See that the instruction is a text: a placeholder in it would be filled with a caller's data."""
        if recipe.said and not parts.fixed(recipe.said, self._grammar.base.content, self._grammar.pieces):
            raise Unusable("The new instruction holds placeholders, or braces that cannot be read.")

    async def _measure(self, name: str, batch: Sequence[Example]) -> list[Measured]:
        await self._course.measure([name], batch)
        if len(batch) == self._whole:
            await self._course.close("reflection", [self._parent, name], batch)
        return [self._course.table[name][example.id] for example in batch]

    async def _asked(self, prompt: str) -> str:
        try:
            return await self._ask(prompt)
        except LimitReached as error:
            raise Stopped(error.code) from error
        except OstinatoError as error:
            # A model that cannot be asked ends the rewriting, not the run: what was found without it counts.
            raise Stopped(error.code) from error

    def _trace(self, example: Example, one: Measured | None, told: str) -> dict[str, str]:
        values = "; ".join(f"{name}: {value}" for name, value in example.inputs.items())
        if one is not None:
            told = "(could not be scored)" if one.value is None else f"Score: {one.value:g} of 1"
        return {
            "input": values[:_SHOWN],
            "output": (one.output if one is not None else "")[:_SHOWN],
            "right": parts.answer_of(example)[:_SHOWN],
            "told": told,
        }


class _Bridge:
    """From GEPA's thread to the event loop and back. The first failure ends everything."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.failure: Exception | None = None
        self._loop = loop
        self._lock = threading.Lock()
        self._stopped = False
        self._pending: concurrent.futures.Future[Any] | None = None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop and wait for it. GEPA swallows some errors and tries again: not past this point."""
        with self._lock:
            if self._stopped or self.failure is not None:
                work.close()
                raise self.failure or Stopped("cancelled")
            pending = self._pending = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return pending.result()
        except Exception as error:
            self.failure = error
            raise

    def stop(self) -> None:
        """Let nothing more begin, and break off what is under way."""
        with self._lock:
            self._stopped = True
            if self._pending is not None:
                self._pending.cancel()


class _Silence:
    """GEPA's log would print texts of other people."""

    def log(self, message: str) -> None:
        """Nothing."""
