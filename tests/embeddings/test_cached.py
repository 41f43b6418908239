"""The cache of repeated texts, and what near duplicates are."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ostinato import embeddings
from ostinato.core.errors import Invalid
from ostinato.embeddings import Cached


class Counting:
    """An embedder that keeps what it was asked."""

    id = "counting@00000000"
    dimensions = 4

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]):
        self.asked += texts
        rows = np.array([[len(text) + 1, 1, 2, 3] for text in texts], np.float32).reshape(-1, 4)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    async def close(self) -> None:
        self.asked.clear()


async def test_nothing_is_asked_twice() -> None:
    inner = Counting()
    cache = Cached(inner, 100_000)
    await cache.embed(["a", "bb", "a"])
    await cache.embed(["bb", "ccc", "a"])
    assert inner.asked == ["a", "bb", "ccc"]
    # Texts that stand twice in one call count as spared, too.
    assert (cache.hits, cache.misses) == (3, 3)


async def test_it_stays_within_its_bytes_and_lets_the_oldest_go() -> None:
    inner = Counting()
    cache = Cached(inner, 3 * (16 + 256))
    for text in ("a", "bb", "ccc", "a", "dddd"):
        await cache.embed([text])
    assert cache.size <= 3 * (16 + 256)
    inner.asked.clear()
    await cache.embed(["a", "ccc", "dddd"])
    assert inner.asked == []
    await cache.embed(["bb"])
    assert inner.asked == ["bb"]


async def test_a_failure_leaves_nothing_behind() -> None:
    class Failing(Counting):
        async def embed(self, texts: Sequence[str]):
            raise RuntimeError

    cache = Cached(Failing(), 1000)
    with pytest.raises(RuntimeError):
        await cache.embed(["a"])
    assert cache.size == 0


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.integers(-3, 3)),
    st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]),
)
def test_near_duplicates_are_all_pairs_that_are_near(rows: np.ndarray, threshold: float) -> None:
    rows[~rows.any(axis=1)] = 1
    vectors = unit(rows)
    found = {(pair.first, pair.second) for pair in embeddings.near_duplicates(vectors, threshold)}
    expected = {
        (a, b)
        for a in range(len(vectors))
        for b in range(a + 1, len(vectors))
        if float(vectors[a] @ vectors[b]) >= threshold - 1e-6
    }
    assert found == expected


def test_pairs_are_found_across_blocks_and_in_order() -> None:
    generator = np.random.default_rng(7)
    rows = generator.normal(size=(1300, 32))
    rows[1200] = rows[3]
    rows[700] = rows[600] + 0.01
    pairs = embeddings.near_duplicates(unit(rows), 0.95)
    assert [(pair.first, pair.second) for pair in pairs] == [(3, 1200), (600, 700)]
    assert pairs[0].cosine == pytest.approx(1.0)


def test_too_many_pairs_are_refused() -> None:
    with pytest.raises(Invalid, match="More than 10 pairs"):
        embeddings.near_duplicates(unit(np.ones((20, 3))), 0.9, most=10)
    with pytest.raises(Invalid):
        embeddings.near_duplicates(unit(np.ones((2, 3))), 1.5)
