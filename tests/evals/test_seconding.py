"""A second opinion finds the errors that a model is sure of, and is not believed where it knows nothing."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.evals import seconding
from ostinato.evals.model import Cell
from ostinato.scorers import opinion

LABELS = ("card", "loan", "PIN")


class Words:
    """An encoder for which texts are near each other that begin with the same word."""

    id = "words"
    dimensions = 16

    async def embed(self, texts: list[str]) -> np.ndarray:
        rows = []
        for text in texts:
            topic = np.random.default_rng(sum(text.split()[0].encode())).normal(size=16)
            noise = np.random.default_rng(sum(text.encode()) + 1).normal(size=16)
            row = topic + 0.3 * noise
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, dtype=np.float32)

    async def close(self) -> None: ...


def example(number: int, label: str, told: str | None = None) -> Example:
    return Example(
        id=f"e{number}", digest=f"{number}", split="dev", inputs={"text": f"{told or label} {number}"}, reference=label
    )


def cell(said: str, right: bool, share: float) -> Cell:
    rest = (1 - share) / (len(LABELS) - 1)
    return Cell(
        variant="v",
        example="e",
        output=said,
        value=float(right),
        confidence=share,
        posterior={label: share if label == said else rest for label in LABELS},
    )


TAUGHT = [example(number, LABELS[number % 3]) for number in range(120)]


async def test_errors_of_which_the_model_is_sure_come_first() -> None:
    rng = random.Random(4)
    asked, cells = [], []
    for number in range(200):
        label = LABELS[number % 3]
        wrong = number % 10 == 0
        asked.append(example(1000 + number, label))
        said = LABELS[(number + 1) % 3] if wrong else label
        # The model knows nothing of its errors: it is as sure of them as of anything.
        cells.append(cell(said, not wrong, rng.uniform(0.5, 0.99)))
    told = await seconding.opinions(Words(), TAUGHT, asked)
    assert told is not None
    assert all(abs(sum(one.values()) - 1) < 1e-6 for one in told.shares)
    assert told.right > 0.95
    witnesses = seconding.witnessed(cells, told)
    assert seconding.believed(told, witnesses)
    sure = seconding.crossed(witnesses)
    assert None not in sure
    least = sorted(range(200), key=lambda place: sure[place] or 0.0)[:20]
    assert all(cells[place].value == 0.0 for place in least)


async def test_neighbours_that_know_nothing_change_little() -> None:
    rng = random.Random(5)
    asked, cells = [], []
    for number in range(300):
        label = rng.choice(LABELS)
        # What a question begins with says nothing of its label, in what was taught and in what is asked.
        asked.append(example(1000 + number, label, told=rng.choice(LABELS)))
        share = rng.uniform(0.4, 0.99)
        right = rng.random() < share
        cells.append(cell(label if right else rng.choice([one for one in LABELS if one != label]), right, share))
    taught = [example(number, rng.choice(LABELS), told=rng.choice(LABELS)) for number in range(120)]
    told = await seconding.opinions(Words(), taught, asked)
    assert told is not None
    witnesses = [one for one in seconding.witnessed(cells, told) if one is not None]
    stacked = opinion.stack(witnesses)
    assert abs(stacked.weights[1]) < 0.3 * stacked.weights[0]
    assert not seconding.believed(told, witnesses)


async def test_there_is_no_opinion_without_labels_or_with_few_examples() -> None:
    free = [
        Example(id=str(n), digest=str(n), split="train", inputs={"q": f"card {n}"}, reference=f"a {n}")
        for n in range(99)
    ]
    assert await seconding.opinions(Words(), free, TAUGHT[:3]) is None
    assert await seconding.opinions(Words(), TAUGHT[: opinion.LEAST - 1], TAUGHT[:3]) is None
    assert await seconding.opinions(Words(), [example(n, "card") for n in range(99)], TAUGHT[:3]) is None
    assert await seconding.opinions(Words(), TAUGHT, []) is None


def test_of_an_answer_that_is_no_label_or_has_no_outcome_nothing_is_known() -> None:
    told = opinion.Opinions([dict.fromkeys(LABELS, 1 / 3)] * 3, right=0.5)
    unscored = Cell(variant="v", example="e", output="card", value=None, confidence=0.9)
    cells = [cell("card", True, 0.8), cell("none of them", False, 0.8), unscored]
    first, second, third = seconding.witnessed(cells, told, [0.8, 0.8, 0.9])
    assert first == opinion.Witnessed(0.8, 1 / 3, True)
    assert second is third is None
    assert seconding.crossed([first, second, third]) == [None, None, None]
    with pytest.raises(Invalid):
        opinion.stack([])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_what_is_stacked_is_a_share_whatever_was_taught(known: list[tuple[float, float, bool]]) -> None:
    stacked = opinion.stack([opinion.Witnessed(*one) for one in known])
    for sure, seconded, _ in known:
        assert 0 <= stacked.of(sure, seconded) <= 1
