"""A gateway with a dataset and a model that answers as a test decides."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside, until

from ostinato import datasets, evals, prompts, scorers
from ostinato.core.clock import SystemClock
from ostinato.providers.model import ChatCall, ChatReply
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Text, Usage

EXACT = scorers.Spec(kind="exact")
GOOD = evals.Contender(name="good", content=prompts.Draft(text="Good: {{text}}"), model="plain")
BAD = evals.Contender(name="bad", content=prompts.Draft(text="Bad: {{text}}"), model="plain")


class Model:
    """In place of the fake's answers: ``say(prompt)`` gives the text."""

    def __init__(self) -> None:
        self.say: Callable[[str], str] = lambda prompt: prompt
        self.asked: list[str] = []
        self.before: Callable[[int], Any] = lambda _n: None

    async def chat(self, call: ChatCall) -> ChatReply:
        block = call.request.messages[-1].content[0]
        assert isinstance(block, Text)
        self.asked.append(block.text)
        held = self.before(len(self.asked))
        if held is not None:
            await held
        usage = Usage(input=6, cache_read=4, output=2)
        text = self.say(block.text)
        events = (Start("m"), BlockStart(0, "text"), Delta(0, text), BlockStop(0), Finish("stop"), usage)
        return ChatReply(Answer("openai.chat", events))


class Lab:
    def __init__(self, world: World, model: Model) -> None:
        self.world = world
        self.model = model
        self.door = world.app.experiments

    async def dataset(self, count: int = 120, **fields: Any) -> str:
        """Examples ``tN`` whose answer is yes or no, in two strata."""
        examples = [
            datasets.NewExample(
                inputs={"text": f"t{n}"},
                reference="yes" if n % 2 else "no",
                stratum="odd" if n % 2 else "even",
                **fields,
            )
            for n in range(count)
        ]
        await self.world.app.datasets.create(
            SYSTEM, "topics", project=await self.world.first_project(), examples=examples
        )
        return "topics"

    def wish(self, *variants: evals.Contender, **fields: Any) -> evals.Wish:
        named = {"dataset": "topics", "scorers": (EXACT,), "splits": ("train", "dev"), **fields}
        return evals.Wish(variants=variants, **named)

    async def begin(self, *variants: evals.Contender, **fields: Any) -> evals.Experiment:
        return await self.door.create(SYSTEM, self.wish(*variants, **fields), project=await self.world.first_project())

    async def ended(self, experiment_id: str) -> evals.Progress:
        """An experiment once it does not go on any more."""
        for _ in range(1500):
            told = await self.door.show(SYSTEM, experiment_id)
            if told.experiment.state not in ("queued", "running"):
                return told
            await asyncio.sleep(0.02)
        raise AssertionError("it never ends")


def right(share: int) -> Callable[[str], str]:
    """Answers rightly where the number divided by ``share`` leaves a rest; prompts that begin with Good: always."""

    def say(prompt: str) -> str:
        kind, _, text = prompt.partition(": ")
        number = int(text[1:])
        truth = "yes" if number % 2 else "no"
        return truth if kind == "Good" or number % share else "what?"

    return say


@contextlib.asynccontextmanager
async def lab(extra: str = "") -> AsyncIterator[Lab]:
    async with inside(extra, SystemClock()) as world:
        model = Model()
        model.say = right(3)
        world.fake.chat = model.chat  # pyright: ignore
        yield Lab(world, model)


__all__ = ["BAD", "EXACT", "GOOD", "SYSTEM", "Lab", "Model", "lab", "right", "until"]
