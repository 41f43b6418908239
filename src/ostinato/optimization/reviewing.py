"""People look at answers of a run before its release is proposed: in pairs, the incumbent's and the new one's."""

import asyncio
from collections.abc import Mapping, Sequence

from ostinato import evals, reviews
from ostinato.access import SystemActor
from ostinato.core.errors import NotFound, OstinatoError
from ostinato.datasets.model import Example
from ostinato.embeddings import Embedder
from ostinato.evals.model import Cell
from ostinato.optimization.model import stratum
from ostinato.optimization.run import Run
from ostinato.reviews.model import Content, Declaration, NewItem, Output
from ostinato.wire.model import Json

QUEUE = "optimization"
"""The queue of a project that runs put answers into; declared with its defaults where it is not there."""
_SYSTEM = SystemActor("optimizer")
_ENOUGH = 0.8
"""Share of the new answers, weighted for how they were drawn, that must be as good as the incumbent's or better."""


class Reviewing:
    """The review queues."""

    def __init__(self, rooms: reviews.Reviews, embedder: Embedder | None = None) -> None:
        self._reviews = rooms
        self._embedder = embedder

    async def ask(
        self, run: Run, cells: Mapping[str, Sequence[Cell]], examples: Sequence[Example], train: Sequence[Example]
    ) -> int:
        """Put answers before reviewers, once; gives how many. ``cells``: the incumbent's, then the candidate's.

        The least confident fifth, where the two differ, and a random share: as the queue's sampling says. Confidences
        are those of the candidate, its leaning to some labels taken off where that can be told, with a second opinion
        where the examples of ``train`` have one.
        """
        queue = await self._queue(run)
        old, new = cells.values()
        sureness = await self._sureness(new, examples, train)
        observed = [
            reviews.Observed(id=one.id, confidence=sure, disagrees=_plain(before) != _plain(after))
            for one, before, after, sure in zip(examples, old, new, sureness, strict=True)
        ]
        drawn = reviews.select(observed, queue.sampling, run.wish.seed)
        by = {one.id: place for place, one in enumerate(examples)}
        items = [_item(run, one, examples[at], old[at], new[at], sureness[at]) for one in drawn for at in (by[one.id],)]
        if items:
            await self._reviews.put(_SYSTEM, QUEUE, items, project=run.project, reason=f"optimization run {run.id}")
        return len(items)

    async def verdict(self, run: Run) -> tuple[bool | None, Json]:
        """What they say: ``None``: not yet, or nobody was asked; and the figures."""
        try:
            said = await self._reviews.summary(_SYSTEM, QUEUE, origin_ref=run.id, project=run.project)
        except NotFound:
            return None, {}
        if said.open or not said.items:
            return None, {}
        estimate = said.accepted.estimate if said.accepted is not None else 0.0
        figures = {"items": said.items, "accepted": estimate, "least": _ENOUGH, "digest": said.digest}
        return estimate >= _ENOUGH, figures

    async def _sureness(
        self, cells: Sequence[Cell], examples: Sequence[Example], train: Sequence[Example]
    ) -> Sequence[float | None]:
        """How sure one may be of each answer. An embedder that fails leaves the model's own word."""
        own = evals.confidences(cells)
        if self._embedder is None:
            return own
        try:
            seconded = await evals.seconding.opinions(self._embedder, train, examples)
        except OstinatoError:
            seconded = None
        if seconded is None:
            return own
        witnesses = evals.seconding.witnessed(cells, seconded, own)
        if not evals.seconding.believed(seconded, witnesses):
            return own
        found = await asyncio.to_thread(evals.seconding.crossed, witnesses)
        # One scale for all: a single answer without a second opinion leaves all of them with the model's own word.
        return own if any(one is None and sure is not None for one, sure in zip(found, own, strict=True)) else found

    async def _queue(self, run: Run) -> Declaration:
        try:
            found = await self._reviews.queue(_SYSTEM, QUEUE, project=run.project)
        except NotFound:
            declared = Declaration(
                title="Answers of optimization runs",
                description="Which of two answers is better: the present prompt's, or that of the one to be released?",
                mode="pairwise",
            )
            await self._reviews.declare(
                _SYSTEM, QUEUE, declared, project=run.project, reason="the first run that needs it"
            )
            return declared
        return found.queue.declared


def _item(run: Run, drawn: reviews.Drawn, example: Example, before: Cell, after: Cell, sure: float | None) -> NewItem:
    evidence: dict[str, str | int | float | bool] = {}
    if sure is not None:
        evidence["confidence"] = sure
    return NewItem(
        content=Content(
            inputs=example.inputs,
            outputs=(Output(text=before.output, name="incumbent"), Output(text=after.output, name="new")),
            context=example.passages,
            reference=example.reference,
        ),
        mark=f"{run.id}:{example.id}",
        origin="run",
        origin_ref=run.id,
        prompt=run.prompt,
        intent=run.intent,
        stratum=stratum(example),
        group=example.group,
        author=run.author,
        weight=drawn.weight,
        why=drawn.why,
        evidence=evidence,
    )


def _plain(cell: Cell) -> str:
    return " ".join(cell.output.casefold().split())
