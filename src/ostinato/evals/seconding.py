"""Confidence with a second opinion: what labelled examples near a question say about the answer (``scorers.opinion``).

The examples whose answers are judged take no part in the opinion, and an answer's own outcome none in its confidence.
"""

import asyncio
from collections.abc import Sequence

from ostinato.datasets.model import Example
from ostinato.embeddings import Embedder
from ostinato.evals.model import Cell
from ostinato.evals.sureness import confidences, labels_of
from ostinato.scorers import opinion
from ostinato.scorers.confidence import MIXED, answered

_FOLDS = 5


async def opinions(embedder: Embedder, taught: Sequence[Example], asked: Sequence[Example]) -> opinion.Opinions | None:
    """For each example ``asked`` how probable each label is, by those ``taught``; ``None``: no labels, or few.

    Raises what the embedder raises.
    """
    labels = frozenset(labels_of(taught))
    known = [one for one in taught if not one.erased and one.reference in labels][: opinion.MOST]
    if len(known) < opinion.LEAST or not asked:
        return None
    vectors = await embedder.embed([_said(one) for one in (*known, *asked)])
    said = [str(one.reference) for one in known]
    return await asyncio.to_thread(opinion.opinions, vectors[: len(known)], said, vectors[len(known) :])


def witnessed(
    cells: Sequence[Cell], seconded: opinion.Opinions, sure: Sequence[float | None] | None = None
) -> list[opinion.Witnessed | None]:
    """What is known of each answer; ``None``: it has no confidence, is no label, or nobody knows whether it is right.

    ``sure``: the model's own confidence in each, by default as :func:`confidences` tells it.
    """
    own = confidences(cells) if sure is None else sure
    found: list[opinion.Witnessed | None] = []
    for cell, told, one in zip(cells, seconded.shares, own, strict=True):
        label = answered(cell.output, told)
        known = one is not None and bool(label) and cell.value is not None
        found.append(opinion.Witnessed(one or 0.0, told[label], (cell.value or 0.0) >= 0.5) if known else None)
    return found


def believed(seconded: opinion.Opinions, witnesses: Sequence[opinion.Witnessed | None]) -> bool:
    """Whether the labelled examples know at least as much as the model: else they would suspect what is right."""
    known = [one.right for one in witnesses if one is not None]
    return bool(known) and seconded.right >= sum(known) / len(known)


def crossed(witnesses: Sequence[opinion.Witnessed | None]) -> list[float | None]:
    """How sure one may be of each, by weights that the others have taught: an answer's own outcome plays no part.

    ``None``, each of them, where fewer than ``MIXED`` are known. Blocking.
    """
    places = [place for place, one in enumerate(witnesses) if one is not None]
    found: list[float | None] = [None] * len(witnesses)
    if len(places) < MIXED:
        return found
    for fold in range(_FOLDS):
        here = places[fold::_FOLDS]
        stacked = opinion.stack([one for place in places if place not in here and (one := witnesses[place])])
        for place in here:
            if one := witnesses[place]:
                found[place] = stacked.of(one.sure, one.seconded)
    return found


def _said(example: Example) -> str:
    return "\n".join(str(value) for _, value in sorted(example.inputs.items()))
