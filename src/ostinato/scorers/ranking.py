"""Kinds for what was retrieved: precision@k, recall@k, mean reciprocal rank, nDCG. A passage is known by its id."""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ostinato.scorers.kinds import Context, Kind, Pure, Said, wrong
from ostinato.scorers.model import Subject


class AtK(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    k: int = 5
    """How many of the retrieved passages are looked at, best first."""
    threshold: float = 0.0
    """Passages with more relevance than this count; one that was not judged counts as relevant."""


class Gain(AtK, frozen=True, forbid_unknown_fields=True):
    exponential: bool = True
    """Whether a passage gains 2^relevance - 1, or its relevance."""


Measure = Callable[[Sequence[str], Mapping[str, float], AtK], float]


def _relevant(subject: Subject, threshold: float) -> dict[str, float]:
    """Relevance by id of what should have been found; a passage that was not judged stands there because it should."""
    found: dict[str, float] = {}
    for passage in subject.passages:
        relevance = 1.0 if passage.relevance is None else passage.relevance
        if relevance > threshold:
            found[passage.id] = max(relevance, found.get(passage.id, 0.0))
    return found


def _top(subject: Subject, k: int) -> list[str]:
    """Ids of the first ``k`` different passages."""
    return list(dict.fromkeys(passage.id for passage in subject.retrieved))[:k]


def precision(top: Sequence[str], relevant: Mapping[str, float], config: AtK) -> float:
    """Share of the ``k`` places that hold something relevant; a place that was left empty does not."""
    return sum(one in relevant for one in top) / config.k


def recall(top: Sequence[str], relevant: Mapping[str, float], _: AtK) -> float:
    """Share of what is relevant that was found."""
    return sum(one in relevant for one in top) / len(relevant)


def reciprocal_rank(top: Sequence[str], relevant: Mapping[str, float], _: AtK) -> float:
    """1 / the place of the first relevant passage; 0 where there is none. Its mean over examples is the MRR."""
    return next((1.0 / place for place, one in enumerate(top, 1) if one in relevant), 0.0)


def ndcg(top: Sequence[str], relevant: Mapping[str, float], config: AtK) -> float:
    """Discounted cumulative gain, as a share of the best order's (Jarvelin and Kekalainen, 2002)."""
    exponential = not isinstance(config, Gain) or config.exponential
    gains = {one: (2.0**grade - 1.0 if exponential else grade) for one, grade in relevant.items()}
    best = sorted(gains.values(), reverse=True)[: config.k]
    ideal = math.fsum(gain / math.log2(place + 1) for place, gain in enumerate(best, 1))
    got = math.fsum(gains.get(one, 0.0) / math.log2(place + 1) for place, one in enumerate(top, 1))
    return min(1.0, got / ideal)


def _made(measure: Measure) -> Callable[[AtK, Context], Pure]:
    def make(config: AtK, _: Context) -> Pure:
        if not 1 <= config.k <= 1000:
            raise wrong("k", "k is from 1 to 1000.")
        if not 0 <= config.threshold < math.inf:
            raise wrong("threshold", "The threshold is 0 or more.")

        def say(subject: Subject) -> Said:
            relevant = _relevant(subject, config.threshold)
            if not relevant:
                return Said(None, rationale="The example names no relevant passage.")
            top = _top(subject, config.k)
            found = sum(one in relevant for one in top)
            return Said(
                measure(top, relevant, config), rationale=f"{found} of {len(relevant)} relevant among {len(top)}."
            )

        return say

    return make


_NEEDS = ("passages", "retrieved")
KINDS = (
    Kind(
        name="precision-at-k",
        title="How many of the first k retrieved passages are relevant.",
        config=AtK,
        make=_made(precision),
        needs=_NEEDS,
    ),
    Kind(
        name="recall-at-k",
        title="How many of the relevant passages are among the first k.",
        config=AtK,
        make=_made(recall),
        needs=_NEEDS,
    ),
    Kind(
        name="mrr",
        title="1 / the place of the first relevant passage.",
        config=AtK,
        make=_made(reciprocal_rank),
        needs=_NEEDS,
    ),
    Kind(
        name="ndcg",
        title="Whether what is most relevant comes first.",
        config=Gain,
        make=_made(ndcg),
        needs=_NEEDS,
    ),
)
