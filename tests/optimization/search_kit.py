"""A small world to search in: a task whose right answers are known, and a model whose weaknesses are.

The model reads the rendered prompt, as a real one would, and each question has a difficulty of its own, drawn from a
hash. Nothing is random, nothing depends on order.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate, Measured
from ostinato.optimization.search import Problem, Round, SearchPlan, anatomy
from ostinato.prompts import Compiled, Content, Turn

LABELS = ("refund", "card", "rate")
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


SYSTEM = "Name the topic of the question. Be exact."


def chat(system: str = SYSTEM, user: str = "Question: {{text}}\nTopic:", **more: Any) -> Content:
    turns = (*((Turn("system", system),) if system else ()), Turn("user", user))
    return Content(kind="chat", messages=turns, variables=SCHEMA, params={"temperature": 0}, **more)


def text(template: str = "Name the topic of the question.\n\nQuestion: {{text}}\nTopic:", **more: Any) -> Content:
    return Content(kind="text", text=template, variables=SCHEMA, **more)


def candidate(content: Content) -> Candidate:
    return Candidate(id=anatomy.identify(content), content=content)


def example(number: int, split: Any = "train", label: str | None = None, asked: str | None = None) -> Example:
    label = LABELS[number % len(LABELS)] if label is None else label
    asked = f"{split} {number}: about my {label}, please" if asked is None else asked
    identity = hashlib.sha256(f"{split}{number}".encode()).hexdigest()
    return Example(id=identity[:12], digest=identity, split=split, inputs={"text": asked}, reference=label)


def examples(count: int, split: Any = "train") -> list[Example]:
    return [example(number, split) for number in range(count)]


def luck(*parts: object) -> float:
    """From 0 to 1, the same for equal parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big") / 2**48


_COMPILED: dict[str, Compiled] = {}


def rendered(one: Candidate, asked: Example) -> str:
    compiled = _COMPILED.get(one.id)
    if compiled is None:
        compiled = _COMPILED[one.id] = Compiled(one.content, anatomy.no_pieces)
    messages = compiled.render(asked.inputs).messages
    return "\n\n".join(block.text for message in messages for block in message.content)  # type: ignore[union-attr]


Skill = Callable[[str, Candidate], float]
"""Prompt as the model sees it, and who asks -> the share of questions that it gets right."""


def by_examples(prompt: str, one: Candidate) -> float:
    """The more examples, the better: from 50 % to 90 %."""
    return min(0.9, 0.5 + 0.02 * len(one.shots))


class Lab:
    """Measures candidates with a model of known skill; counts what is paid, like a journal that forgets nothing."""

    def __init__(self, skill: Skill = by_examples, *, noise: str = "") -> None:
        self.skill = skill
        self.noise = noise
        self.journal: dict[tuple[str, str], Measured] = {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.rounds: list[Round] = []
        self.broken: set[str] = set()
        """Ids of candidates whose answers cannot be scored."""

    @property
    def paid(self) -> int:
        return len(self.journal)

    async def evaluate(self, one: Candidate, some: Sequence[Example]) -> Sequence[Measured]:
        self.asked.append((one.id, tuple(example.id for example in some)))
        return [self.measure(one, example) for example in some]

    def measure(self, one: Candidate, asked: Example) -> Measured:
        key = (one.id, asked.id)
        if key not in self.journal:
            prompt = rendered(one, asked)
            assert str(asked.inputs["text"]) in prompt
            # Hard questions are hard for everybody; the rest is a candidate's own luck.
            hard = 0.7 * luck("hard", asked.id) + 0.3 * luck("own", self.noise, one.id, asked.id)
            right = None if one.id in self.broken else float(hard < self.skill(prompt, one))
            self.journal[key] = Measured(
                example=asked.id, value=right, output="x", stratum=str(asked.reference), input_tokens=len(prompt) // 4
            )
        return self.journal[key]

    async def told(self, round: Round) -> None:
        self.rounds.append(round)

    def problem(self, base: Content | None = None, *, seed: int = 0, **more: Any) -> Problem:
        """A search of this lab."""
        fields: dict[str, Any] = {"train": examples(120), "dev": examples(120, "dev"), "plan": SearchPlan(), **more}
        return Problem(base=candidate(base or chat()), evaluate=self.evaluate, seed=seed, on_round=self.told, **fields)
