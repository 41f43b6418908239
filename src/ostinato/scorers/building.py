"""From a declaration to a scorer that can be asked; asking several, so that none of them can do harm."""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Sequence
from typing import cast

import msgspec

from ostinato.core import hashing
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.scorers import catalog
from ostinato.scorers.kinds import Asking, Context, Kind, Pure, Said
from ostinato.scorers.model import Score, Scorer, Spec, Subject

_NAME = 64
_RATIONALE = 2_000
_LABEL = 200


class Built:
    """A scorer of one of the kinds."""

    def __init__(self, name: str, version: str, kind: Kind, say: Pure | Asking) -> None:
        self.name = name
        self.version = version
        self.kind = kind.name
        self.asking = kind.asking
        self.patient = kind.patient
        self._id = f"{name}@{version}"
        self._say = say

    @property
    def id(self) -> str:
        return self._id

    async def score(self, subject: Subject) -> Score:
        """See ``Scorer.score``."""
        if self.asking:
            return self._told(await cast("Awaitable[Said]", self._say(subject)))
        return self._told(cast("Said", self._say(subject)))

    def _told(self, said: Said) -> Score:
        return Score(
            scorer=self._id,
            value=said.value,
            label=said.label,
            rationale=said.rationale,
            confidence=said.confidence,
            cost=said.cost,
        )

    def __repr__(self) -> str:
        return f"<scorer {self._id} of the kind {self.kind}>"


def is_name(name: str) -> bool:
    """Whether something can be called that: a scorer, or a rule of sampling."""
    return 0 < len(name) <= _NAME and all(c.isascii() and (c.isalnum() or c in "._-/") for c in name)


def name_of(spec: Spec) -> str:
    """What the scores of a declared scorer are called."""
    return spec.name or spec.kind


def build(spec: Spec, context: Context) -> Built:
    """A scorer as declared. Raises ``Invalid``, naming the field, for what cannot work here."""
    name = name_of(spec)
    if not is_name(name):
        raise Invalid(
            f"{name[:80]!r} cannot be the name of a scorer.",
            code="invalid_scorer",
            param="name",
            hint=f"Letters, digits and . _ - /, at most {_NAME}.",
        )
    if not (math.isfinite(spec.weight) and spec.weight >= 0):
        raise Invalid("A weight is 0 or more.", code="invalid_scorer", param="weight")
    kind = catalog.find(spec.kind)
    try:
        config = msgspec.convert(spec.config, kind.config)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"The configuration of the scorer {name!r} cannot be used: {error}.",
            code="invalid_scorer",
            param="config",
            hint=f"A {kind.name} scorer takes: {', '.join(kind.config.__struct_fields__) or 'nothing'}.",
        ) from None
    say = kind.make(config, context)
    return Built(name, version_of(kind, config, context), kind, say)


def version_of(kind: Kind, config: msgspec.Struct, context: Context) -> str:
    """8 hex digits over kind, code version, the whole configuration (defaults included), and what else decides."""
    told = {field: getattr(config, field) for field in config.__struct_fields__}
    beside = kind.identity(config, context) if kind.identity is not None else None
    return hashing.digest_of([kind.name, kind.code, told, beside]).hex()[:8]


def build_all(specs: Iterable[Spec], context: Context) -> tuple[Built, ...]:
    """Several, in order. Raises ``Invalid`` where two have one name."""
    built: list[Built] = []
    names: set[str] = set()
    for spec in specs:
        one = build(spec, context)
        if one.name in names:
            raise Invalid(
                f"Two scorers are called {one.name!r}.",
                code="invalid_scorer",
                param="name",
                hint="Give each a name of its own.",
            )
        names.add(one.name)
        built.append(one)
    return tuple(built)


async def score_all(
    scorers: Iterable[Scorer],
    subject: Subject,
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - of each scorer, not of the call
    patient: bool = True,
) -> tuple[Score, ...]:
    """What every scorer says, in order. Never raises but to be cancelled: what fails is *unscored*, and says why.

    ``timeout``: seconds for each scorer; not for judges while ``patient``: they wait as long as ``calls`` do. Scorers
    that need not wait are asked first, then the others at once.
    """
    asked = tuple(scorers)
    scores: list[Score | None] = [None] * len(asked)
    waiting: list[int] = []
    for at, scorer in enumerate(asked):
        if isinstance(scorer, Built) and not scorer.asking:
            scores[at] = await _guarded(scorer, subject)
        else:
            waiting.append(at)
    if waiting:
        told = await asyncio.gather(*(_in_time(asked[at], subject, timeout, patient) for at in waiting))
        for at, score in zip(waiting, told, strict=True):
            scores[at] = score
    return tuple(cast("list[Score]", scores))


async def _in_time(scorer: Scorer, subject: Subject, seconds: float, patient: bool) -> Score:
    waits = patient and isinstance(scorer, Built) and scorer.patient
    try:
        async with asyncio.timeout(None if waits else seconds):
            return await _guarded(scorer, subject)
    except TimeoutError:
        return unscored(scorer.id, f"It took longer than {seconds:g} s.", "timeout")


async def _guarded(scorer: Scorer, subject: Subject) -> Score:
    """The score, or why there is none. What goes wrong inside a scorer is told by its kind: texts may be secret."""
    try:
        return checked(scorer.id, await scorer.score(subject))
    except OstinatoError as error:
        return unscored(scorer.id, f"{error.code}: {error.message}", "error")
    except RecursionError:
        return unscored(scorer.id, "It raised RecursionError: the answer is nested too deeply.", "error")
    except Exception as error:
        return unscored(scorer.id, f"It raised {type(error).__name__}.", "error")


def unscored(scorer: str, rationale: str, label: str = "") -> Score:
    """The score that is none."""
    return Score(scorer=scorer, value=None, label=label, rationale=rationale)


def checked(scorer: str, score: object) -> Score:
    """``score`` as it may be used: with a value from 0 to 1 or none, a name that fits, and texts of bounded length."""
    if not isinstance(score, Score):
        return unscored(scorer, f"It gave {type(score).__name__}, which is no score.", "error")
    value = cast("object", score.value)
    if value is not None:
        if not isinstance(value, int | float):
            return unscored(scorer, f"It gave {type(value).__name__}, which is no number.", "error")
        if not 0 <= value <= 1:  # NaN is neither
            return unscored(scorer, f"It gave {value!r}, which is not from 0 to 1.", "error")
    confidence = cast("object", score.confidence)
    sure = float(confidence) if isinstance(confidence, int | float) and 0 <= confidence <= 1 else None
    return Score(
        scorer=scorer,
        value=None if value is None else float(value),
        label=str(score.label)[:_LABEL],
        rationale=str(score.rationale)[:_RATIONALE],
        confidence=sure,
        cost=score.cost,
    )


def mean(scores: Sequence[Score], specs: Sequence[Spec]) -> float | None:
    """The weighted mean of scores. ``None`` where one that counts is unscored or missing, or none counts.

    A missing measurement is a failure to measure: leaving it out would change what the mean means.
    """
    by_name = {score.scorer.rpartition("@")[0]: score for score in scores}
    greatest = max((spec.weight for spec in specs), default=0.0)
    total = shares = 0.0
    for spec in specs:
        if not spec.weight:
            continue
        score = by_name.get(name_of(spec))
        if score is None or score.value is None:
            return None
        # Neither the smallest weights nor the sum of the largest may leave the range of a float.
        share = spec.weight / greatest
        total += share * score.value
        shares += share
    return min(1.0, total / shares) if shares else None
