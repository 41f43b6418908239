"""What is drawn, with what probability, and that estimates from it hold for all."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from ostinato import statistics
from ostinato.reviews import Observed, Sampling, least_confident, select

SOME = st.lists(
    st.builds(
        Observed,
        id=st.uuids().map(str),
        confidence=st.none() | st.floats(0, 1),
        disagrees=st.booleans(),
        judges_disagree=st.booleans(),
        stakes=st.sampled_from(["", "low", "high", "critical"]),
    ),
    max_size=60,
    unique_by=lambda one: one.id,
)
RULES = st.builds(
    Sampling,
    random=st.floats(0, 1),
    least_confident=st.floats(0, 1),
    disagreement=st.floats(0, 1),
    judge_disagreement=st.floats(0, 1),
    stakes=st.floats(0, 1),
    most=st.integers(1, 100),
)


@given(SOME, RULES, st.integers())
def test_draws_are_the_same_again_and_probabilities_are_some(
    observed: list[Observed], rule: Sampling, seed: int
) -> None:
    drawn = select(observed, rule, seed)
    assert drawn == select(observed, rule, seed)
    shuffled = random.Random(1).sample(observed, len(observed))
    assert set(select(shuffled, rule, seed)) == set(drawn), "the order decides nothing"
    for one in drawn:
        assert 0 < one.weight <= 1 and one.why


@given(SOME, st.floats(0, 1))
def test_the_least_confident_are_those_with_the_lowest_confidence(observed: list[Observed], share: float) -> None:
    known = {one.id: one.confidence for one in observed if one.confidence is not None}
    least = least_confident(observed, share)
    assert len(least) == round(share * len(known)) and least <= set(known)
    if least and len(least) < len(known):
        assert max(known[name] for name in least) <= min(known[name] for name in known if name not in least)


def population(count: int, seed: int) -> tuple[list[Observed], list[float]]:
    """Answers, of which the doubtful and the disputed are wrong more often."""
    drawn = random.Random(seed)
    observed: list[Observed] = []
    right: list[float] = []
    for number in range(count):
        confidence, disagrees = drawn.random(), drawn.random() < 0.1
        observed.append(Observed(id=f"{seed} {number}", confidence=confidence, disagrees=disagrees))
        right.append(float(drawn.random() < 0.4 + 0.55 * confidence - 0.2 * disagrees))
    return observed, right


def test_weighted_shares_are_those_of_all() -> None:
    """Over many draws the weighted mean is that of everybody; the plain mean of what was seen is far off."""
    observed, right = population(1_000, 7)
    truth, at = sum(right) / len(right), {one.id: n for n, one in enumerate(observed)}
    weighted: list[float] = []
    plain: list[float] = []
    covered = 0
    for seed in range(200):
        drawn = select(observed, Sampling(random=0.2), seed)
        values = [right[at[one.id]] for one in drawn]
        found = statistics.weighted_mean(values, [1 / one.weight for one in drawn])
        weighted.append(found.mean)
        plain.append(sum(values) / len(values))
        covered += found.low <= truth <= found.high
    spread = math.sqrt(sum((one - truth) ** 2 for one in weighted) / len(weighted) / len(weighted))
    assert abs(sum(weighted) / len(weighted) - truth) < 4 * spread + 0.005
    assert abs(sum(plain) / len(plain) - truth) > 0.08, "doubtful answers are wrong more often"
    assert covered > 0.88 * 200


def test_thinning_keeps_probabilities_exact() -> None:
    observed, _ = population(1_000, 3)
    hits = dict.fromkeys((one.id for one in observed), 0)
    weights: dict[str, float] = {}
    for seed in range(150):
        drawn = select(observed, Sampling(most=100), seed)
        assert 50 < len(drawn) < 160
        for one in drawn:
            hits[one.id] += 1
            weights[one.id] = one.weight
    by_weight: dict[float, list[int]] = {}
    for name, weight in weights.items():
        by_weight.setdefault(round(weight, 9), []).append(hits[name])
    for weight, counts in by_weight.items():
        if len(counts) > 300:  # those that were never drawn are left out, which hardly shows there
            assert abs(sum(counts) / len(counts) / 150 - weight) < 0.15 * weight


def test_the_least_confident_fifth_is_drawn_whole_and_the_rest_at_random() -> None:
    observed, _ = population(1_000, 5)
    drawn = select(observed, Sampling(disagreement=0), "x")
    least = least_confident(observed, 0.2)
    assert least <= {one.id for one in drawn}
    assert all(one.weight == 1.0 for one in drawn if one.id in least)
    others = [one for one in drawn if one.id not in least]
    assert 15 < len(others) < 75 and all(abs(one.weight - 0.05) < 1e-12 for one in others)
