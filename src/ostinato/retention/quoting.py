"""What was made of examples: copies that are erased with them, and versions of prompts that can only be named."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from ostinato.calls import forgetting as of_calls
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.datasets import forgetting as of_datasets
from ostinato.evals import forgetting as of_experiments
from ostinato.prompts import forgetting as of_prompts
from ostinato.retention.of_rooms import Datasets
from ostinato.retention.ruling import Ruling
from ostinato.retention.stores import Subject
from ostinato.storage import Database

ERASED = "[erased]"
_SHORTEST = 12
"""Characters of a text that tells something: shorter ones are classes and numbers, which are everywhere."""
_FOLLOWED = 900_000_000
"""Microseconds (15 minutes) in which what a running experiment still writes about an erased example is erased too."""

Copies = Callable[[Any], Awaitable[dict[str, str | int]]]
"""What ``Datasets.copies`` is: erases cells, paid answers and review items of the examples that a payload names."""

Redact = Callable[[Any], Any]
"""Gives a JSON value without the words, equal to the one given where they are not in it."""
Rewrite = Callable[[str, Redact], Awaitable[object]]
"""``rewrite(project, redact)``."""


class Quoting:
    """Reaches what experiments and runs have made of examples. ``copies`` is asked when needed: it is set late."""

    def __init__(self, control: Database, work: Database, clock: Clock, copies: Callable[[], Copies | None]) -> None:
        self._control = control
        self._work = work
        self._clock = clock
        self._copies = copies
        self.rewriting: list[Rewrite] = []
        """What takes words out of the writings of rooms beside or above this one."""
        self.datasets = Datasets(control, clock, self.forget)

    async def of(self, subject: Subject, ruling: Ruling) -> Sequence[str]:
        """Versions of prompts that quote an example which is about to be erased."""
        examples, _ = await self.datasets.theirs(subject, ruling)
        needles = await self._needles(examples)
        written = [_written(one) for one in needles]
        return await self._control.read(lambda c: of_prompts.quoting(c, subject.project, written)) if written else ()

    async def forget(self, examples: Sequence[str], project: str) -> None:
        """Erase copies of these examples, and their words wherever runs and experiments have put them."""
        needles = await self._needles(examples)
        copies = self._copies()
        if copies is not None:
            await copies({"project": project, "examples": list(examples)})
        if not needles:
            return

        def redact(value: Any) -> Any:
            return _without(value, needles)

        await self._control.run(lambda c: of_experiments.rewrite(c, project, redact))
        for rewrite in self.rewriting:
            await rewrite(project, redact)

    async def follow(self) -> None:
        """Once more for what was erased lately: an experiment that was under way may have written down more of it."""
        copies, since = self._copies(), self._clock.now() - _FOLLOWED
        if copies is None:
            return
        lately = await self._control.read(lambda c: of_datasets.lately(c, since))
        homes = dict(lately)
        said = await self._work.read(
            lambda c: of_calls.answered(c, list(homes)) | of_experiments.answered(c, list(homes))
        )
        for project in sorted({homes[one] for one in said}):
            await copies({"project": project, "examples": sorted(one for one in said if homes[one] == project)})

    async def _needles(self, examples: Sequence[str]) -> tuple[str, ...]:
        bodies = await self._control.read(lambda c: of_datasets.bodies(c, examples))
        found: set[str] = set()
        for body in bodies:
            for name in ("inputs", "reference", "passages"):
                found.update(_texts(body.get(name)))
        # The longest first: a text within another one leaves nothing of the outer one behind.
        return tuple(sorted(found, key=lambda one: (-len(one), one)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if len(value) >= _SHORTEST else []
    if isinstance(value, dict):
        return [text for one in cast("dict[str, Any]", value).values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in cast("list[Any]", value) for text in _texts(one)]
    return []


def _written(text: str) -> str:
    """As it stands within canonical JSON."""
    return hashing.canonical_json(text).decode()[1:-1]


def _without(value: Any, needles: Sequence[str]) -> Any:
    if isinstance(value, str):
        for one in needles:
            if one in value:
                value = value.replace(one, ERASED)
        return value
    if isinstance(value, dict):
        return {name: _without(one, needles) for name, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_without(one, needles) for one in cast("list[Any]", value)]
    return value
