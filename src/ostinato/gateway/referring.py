"""Having people look at some of the answers that were sampled: what the queue of a rule asks for goes into it.

Random ones, those of low confidence, those where judges disagree, those at high stakes: as the queue's ``sampling``
says, each with the probability with which it was drawn. Only answers that a model has just given, each once, and only
of projects that keep texts; what is kept is redacted like the ledger's texts.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, Protocol, cast

import msgspec

from ostinato import checks, reviews, scorers
from ostinato.access import SystemActor
from ostinato.core.errors import OstinatoError
from ostinato.intents import Intents
from ostinato.scorers import Active, Score, Subject

_log = logging.getLogger("ostinato.gateway")

_SYSTEM = SystemActor("scorers")
_WINDOW, _FEWEST = 200, 20
"""Confidences that a new one is ranked among; with fewer nobody knows what is low."""
_RULES = 512
_CUT = 0.5
"""Scores on two sides of it disagree."""


class Standing(Protocol):
    """The intents that stand."""

    @property
    def value(self) -> Intents: ...


class Referred(msgspec.Struct, frozen=True, kw_only=True):
    """A sampled answer, as it may go before reviewers."""

    request_id: str
    intent: str
    prompt: str
    prompt_version: int
    subject: str
    """Digest of the end user."""
    group: str
    """Of the conversation, so that it is not split apart in a dataset."""
    entry: str
    """Opaque name of the cache entry that repeats it; empty: none does."""
    said: Subject


class Referrer:
    """Puts sampled answers into review queues. What cannot be put is counted."""

    def __init__(self, rooms: reviews.Reviews, intents: Standing) -> None:
        self._reviews = rooms
        self._intents = intents
        self._confidences: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self.referred = self.refused = 0

    async def refer(self, one: Referred, active: Active, scores: Sequence[Score]) -> None:
        """Put the answer into the queue of the rule, where its sampling draws it."""
        rule = active.rule
        try:
            queue = await self._reviews.declared(rule.project, rule.review)
            if queue is None or queue.closed:
                self.refused += 1
                return
            confidence = _confidence(one.said, scores)
            intent = self._intents.value.of(rule.project, one.intent) if one.intent else None
            observed = reviews.Observed(
                id=one.request_id,
                judges_disagree=_disagree(active, scores),
                stakes="" if intent is None else intent.stakes,
            )
            low = self._is_low(rule.project, rule.name, confidence, queue.sampling.least_confident)
            drawn = reviews.draw(observed, queue.sampling, rule.id, least=low)
            if drawn is None:
                return
            # Long texts take a while to be read through.
            item = await asyncio.to_thread(_item, one, rule.name, drawn, rule.share, confidence, scores)
            await self._reviews.put(_SYSTEM, rule.review, [item], project=rule.project, reason="sampled traffic")
            self.referred += 1
        except OstinatoError as error:
            # Full, too large, of two answers: the code says which, a message might hold a name.
            self.refused += 1
            _log.warning("A sampled answer could not be put before reviewers (%s).", error.code)

    def _is_low(self, project: str, rule: str, confidence: float | None, share: float) -> bool:
        """Whether a confidence is among the lowest ``share`` of the last ones of this rule."""
        if confidence is None:
            return False
        window = self._confidences.setdefault((project, rule), deque(maxlen=_WINDOW))
        self._confidences.move_to_end((project, rule))
        while len(self._confidences) > _RULES:
            self._confidences.popitem(last=False)
        # Where many are equal, none of them is low: half of them are counted as lower.
        below = sum(other < confidence for other in window) + 0.5 * sum(other == confidence for other in window)
        low = len(window) >= _FEWEST and below < share * len(window)
        window.append(confidence)
        return low


def _confidence(said: Subject, scores: Sequence[Score]) -> float | None:
    """How sure the model is, where its provider tells; else the least sure judge."""
    told = scorers.confidence.from_logprobs(said.answer) if said.answer is not None else None
    if told is not None:
        return told
    return min((score.confidence for score in scores if score.confidence is not None), default=None)


def _disagree(active: Active, scores: Sequence[Score]) -> bool:
    """Whether two judges, or a judge and a rule that counts, are on two sides."""
    values = {score.scorer.rpartition("@")[0]: score.value for score in scores}
    sides: set[bool] = set()
    judged = False
    for spec in active.specs:
        value = values.get(scorers.name_of(spec))
        kind = scorers.KINDS.get(spec.kind)
        judge = kind is not None and kind.patient
        if value is not None and (judge or spec.weight > 0):
            judged = judged or judge
            sides.add(value >= _CUT)
    return judged and len(sides) > 1


def _item(
    one: Referred, rule: str, drawn: reviews.Drawn, share: float, confidence: float | None, scores: Sequence[Score]
) -> reviews.NewItem:
    evidence: dict[str, str | int | float | bool] = {}
    for score in scores:
        if score.value is not None:
            # Under the name with its version: a judge's calibration holds for one version alone.
            evidence[score.scorer] = score.value
    if confidence is not None:
        evidence["confidence"] = confidence
    said = one.said
    return reviews.NewItem(
        content=reviews.Content(
            input_text=checks.redact(said.input_text),
            inputs=_redacted(dict(said.inputs)),
            outputs=(reviews.Output(text=checks.redact(said.output)),),
        ),
        mark=one.entry or one.request_id,
        origin="online",
        origin_ref=rule,
        request_id=one.request_id,
        entry=one.entry,
        prompt=one.prompt,
        prompt_version=one.prompt_version,
        intent=one.intent,
        group=one.group,
        subject=one.subject,
        weight=share * drawn.weight,
        why=drawn.why,
        evidence=evidence,
    )


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return checks.redact(value)
    if isinstance(value, dict):
        return {checks.redact(name): _redacted(item) for name, item in cast("dict[str, Any]", value).items()}
    return [_redacted(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value
