"""Holding a judge against people: it grades answers that people have graded, of a version of a dataset.

An example of such a dataset has the answer that was judged in its metadata, as ``answer``, and what people said of it
as its reference: a number from 0 to 1, a truth value, or a label of the judge's own scale. The sealed holdout takes no
part.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from ostinato.access import Actor
from ostinato.calls import Budget, Limits
from ostinato.core.errors import Invalid
from ostinato.datasets import Datasets
from ostinato.datasets.model import Example
from ostinato.scorers import building
from ostinato.scorers.calibration import calibrate
from ostinato.scorers.declared import Calibrated, Declared
from ostinato.scorers.model import Score, Subject
from ostinato.scorers.registry import Registry

MOST = 500
"""Answers that one calibration takes: it runs while its caller waits."""
_AT_ONCE = 8
_CALLS_EACH = 10
"""What a judge may call for one answer: replicates, or the questions of a ready scorer."""


async def run(
    registry: Registry,
    datasets: Datasets,
    actor: Actor,
    name: str,
    *,
    dataset: str,
    number: int | None = None,
    limit: int = 200,
    cut: float = 0.5,
    project: str | None = None,
) -> Calibrated:
    """Calibrate the version of a judge that stands, and write down what came of it.

    ``number``: of the dataset's version; ``None``: the newest. Raises ``Invalid`` where no example can be used. Judges
    that were asked before about the same answers are not paid again.
    """
    if not 1 <= limit <= MOST:
        raise Invalid(f"From 1 to {MOST} answers.", code="invalid_limit", param="limit")
    _check_cut(cut)
    # Asked for before anything is spent.
    scorer = await registry.show(actor, name, project=project, permission="scorers:write")
    version = await datasets.version(actor, dataset, number, project=scorer.project)
    usable = pairs(scorer, await datasets.load(version.id, ("train", "dev")))[:limit]
    if not usable:
        raise Invalid(
            f"No example of {dataset} version {version.number} can be used.",
            code="nothing_to_calibrate",
            param="dataset",
            hint="An example needs metadata.answer, the answer that was judged, and as its reference what people said "
            "of it: a number from 0 to 1, true or false, or a label of the judge's scale.",
        )
    scores = await _scores(registry, scorer, version.id, [subject for subject, _ in usable])
    result = await asyncio.to_thread(
        calibrate, f"{scorer.name}@{scorer.version}", scores, [value for _, value in usable], cut=cut
    )
    return await registry.keep_calibration(
        actor,
        scorer,
        result,
        dataset=version.dataset,
        number=version.number,
        dataset_version=version.id,
        cost=sum(score.cost for score in scores),
    )


async def from_reviews(
    registry: Registry,
    actor: Actor,
    scorer: Declared,
    labelled: Sequence[tuple[float, float]],
    *,
    queue: str,
    cut: float = 0.5,
) -> Calibrated:
    """The same for what the judge and reviewers have said of the same answers of the traffic: nothing is spent.

    ``labelled``: the values of this very version, and people's. They are those answers that the queue has drawn,
    mostly the hard ones: agreement over all traffic is rather higher. Raises ``Invalid`` where there are none.
    """
    _check_cut(cut)
    identity = f"{scorer.name}@{scorer.version}"
    if not labelled:
        raise Invalid(
            f"The queue {queue!r} has no decided item that {identity} has judged.",
            code="nothing_to_calibrate",
            param="queue",
            hint="A rule of sampling with this scorer and `review` puts such items into it.",
        )
    scores = [Score(scorer=identity, value=value) for value, _ in labelled]
    result = await asyncio.to_thread(calibrate, identity, scores, [human for _, human in labelled], cut=cut)
    return await registry.keep_calibration(actor, scorer, result, queue=queue)


def _check_cut(cut: float) -> None:
    if not 0 < cut <= 1:
        raise Invalid("The cut between good and bad lies above 0 and is at most 1.", code="invalid_cut", param="cut")


async def _scores(registry: Registry, scorer: Declared, version: str, subjects: Sequence[Subject]) -> list[Score]:
    context = msgspec.structs.replace(
        registry.contexts(scorer.org, scorer.project),
        namespace=f"calibration-{scorer.version}-{version}",
        budget=Budget(Limits(calls=_CALLS_EACH * len(subjects))),
    )
    built = building.build(scorer.spec, context)
    places = asyncio.Semaphore(_AT_ONCE)

    async def score(subject: Subject) -> Score:
        async with places:
            (told,) = await building.score_all([built], subject)
            return told

    return list(await asyncio.gather(*map(score, subjects)))


def pairs(scorer: Declared, examples: Sequence[Example]) -> list[tuple[Subject, float]]:
    """Answers with people's value, of the examples that have both."""
    scale = cast("dict[str, Any]", scorer.spec.config.get("scale") or {"good": 1.0, "partly": 0.5, "bad": 0.0})
    found: list[tuple[Subject, float]] = []
    for one in examples:
        answer: object = one.metadata.get("answer")
        value = _value(one.reference, scale)
        if one.erased or not isinstance(answer, str) or value is None:
            continue
        asked: object = one.metadata.get("question")
        wanted: object = one.metadata.get("reference")
        found.append(
            (
                Subject(
                    output=answer,
                    inputs=one.inputs,
                    input_text=asked if isinstance(asked, str) else "",
                    reference=wanted,
                    passages=one.passages,
                    metadata=one.metadata,
                    request_id=one.id,
                ),
                value,
            )
        )
    return found


def _value(said: object, scale: dict[str, Any]) -> float | None:
    """People's word as a number from 0 to 1; ``None`` for what means nothing here.

    A cell of a CSV file is a text, whatever it says: ``1`` and ``True`` are read as they are meant.
    """
    if isinstance(said, str):
        said = scale[said] if said in scale else _cell(said)
    if isinstance(said, int | float) and 0 <= said <= 1:
        return float(said)
    return None


def _cell(text: str) -> float | None:
    word = text.strip().lower()
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(word)
    except ValueError:
        return None
