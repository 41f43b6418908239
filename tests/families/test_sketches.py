"""What is counted is what was there, within the errors that are told; whatever comes, memory is bounded."""

import collections
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.families import agree
from ostinato.families.distinct import ERROR, Distinct
from ostinato.families.figures import figures
from ostinato.families.heavy import Heavy
from ostinato.families.known import Known
from ostinato.families.likeness import ALIKE, Clusters, likeness, signature
from ostinato.families.memory import Memory
from ostinato.families.seen import Seen
from ostinato.families.settings import Settings
from ostinato.families.sketch import AGES, TOP, Sketch, decode, encode


@pytest.mark.parametrize("count", [0, 1, 128, 129, 1_000, 20_000])
def test_different_things_are_counted_within_the_error(count: int) -> None:
    rng = random.Random(count)
    numbers = [rng.getrandbits(64) for _ in range(count)]
    found = Distinct()
    found.add(numbers)
    found.add(numbers)
    assert found.count() == pytest.approx(count, rel=0 if count <= 128 else 4 * ERROR)


@given(st.sets(st.integers(0, 2**64 - 1), max_size=400), st.sets(st.integers(0, 2**64 - 1), max_size=400))
@settings(max_examples=30, deadline=None)
def test_two_processes_count_what_one_would(one: set[int], other: set[int]) -> None:
    first, second, both = Distinct(), Distinct(), Distinct()
    first.add(one)
    second.add(other)
    both.add(one | other)
    first.merge(second)
    assert first.count() == both.count()


@given(st.lists(st.integers(0, 30), max_size=400), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_the_heaviest_are_kept_and_nothing_is_told_too_high(stream: list[int], room: int) -> None:
    heavy: Heavy[int, None] = Heavy(room)
    for one in stream:
        if heavy.get(one) is None:
            heavy.put(one, None)
        heavy.slots[one].count += 1
    truth = collections.Counter(stream)
    assert len(heavy.slots) <= room
    for key, slot in heavy.slots.items():
        assert slot.count <= truth[key] <= slot.count + slot.missed
    for key, count in truth.items():
        assert count <= len(stream) / room or key in heavy.slots


def test_a_slope_over_a_day_is_not_told_from_minutes() -> None:
    def told(compared: list[float], agreed: list[float]) -> float | None:
        sketch = Sketch(requests=100.0, compared=compared, agreed=agreed)
        return figures("o", "p", "f", sketch, now=10**12, half_life=7 * 86_400.0, whole_cost=0).volatility

    assert told([50, 50, 50, 0, 0, 0, 0], [50, 49, 46, 0, 0, 0, 0]) is None
    # Half a day and two weeks: 2 and 21 % disagree.
    slope = told([0, 0, 0, 0, 50, 0, 100], [0, 0, 0, 0, 49, 0, 79])
    assert slope is not None and slope == pytest.approx(0.19 / 13.5)


def test_known_says_no_only_to_what_is_new() -> None:
    known, rng = Known(), random.Random(1)
    numbers = [rng.getrandbits(64) for _ in range(20_000)]
    wrong = sum(known.add(one) for one in numbers)
    assert wrong <= 5
    assert all(known.add(one) for one in numbers)
    assert known.error < 0.001


def test_near_texts_are_near_and_others_are_not() -> None:
    near = signature("How do I reset the password of my account, please?")
    assert likeness(near, signature("how do i reset the password of my acount please")) >= ALIKE
    assert likeness(near, signature("What is the exchange rate of the euro to the dollar?")) < ALIKE
    assert likeness(signature("Order 4711"), signature("Order 4712")) == 1.0


def test_clusters_are_bounded() -> None:
    clusters, rng = Clusters(8), random.Random(2)
    for _ in range(200):
        clusters.join(signature(" ".join(str(rng.random()).replace("0.", "abcdefghij") for _ in range(5))))
    assert len(clusters) <= 8


def seen(family: str, print64: int, at: int = 0, **fields: object) -> Seen:
    return Seen("org", "project", family, print64, "plain", "", 1, at, at, **fields)  # pyright: ignore[reportArgumentType]


def flood(count: int) -> Memory:
    """A heavy family among as many others as can be, each asked once."""
    memory = Memory(Settings(most=200, most_altogether=200), 0)
    for number in range(count):
        memory.saw(seen(f"once-{number}", number, number, cost=10))
        if number % 20 == 0:
            memory.saw(seen("heavy", 7, number, cost=10))
    return memory


def held(memory: Memory) -> None:
    states, _ = memory.to_write()
    count = sum(state.requests for state, _ in states.values())
    assert len(memory) <= 200
    assert len(states) <= 201
    heavy, _ = states["org", "project", "heavy"]
    other, _ = states["org", "project", "other"]
    assert other.requests > 0
    assert heavy.cost + other.cost + sum(
        state.cost for name, (state, _) in states.items() if name[2] not in ("heavy", "other")
    ) == pytest.approx(10 * count)  # what was pushed out is in "other": no cent is lost


def test_a_flood_of_families_is_bounded_and_the_sums_stay_exact() -> None:
    held(flood(20_000))


@pytest.mark.soak
def test_a_million_different_system_prompts_are_bounded() -> None:
    held(flood(1_000_000))


def busy(seed: int) -> Sketch:
    rng, made = random.Random(seed), Sketch()
    for number in range(300):
        print64 = rng.randrange(100)
        made.seen(1, number + 1, number + 1)
        made.distinct.add((print64,))
        made.repeated(print64, 1, number)
        made.came_again(rng.choice((1, 1_000, 1e6)))
        made.label("intent", "alias", 1)
        made.latency[rng.randrange(40)] = 1.0
    return made


def test_a_sketch_is_written_and_read_and_adds_up() -> None:
    one, other = busy(1), busy(2)
    assert decode(encode(one)) == one
    whole = decode(encode(one))
    whole.merge(other)
    assert whole.requests == 600
    assert len(whole.top) <= TOP
    assert whole.distinct.count() == 100
    assert len(whole.gaps) == AGES
    whole.settle()
    assert whole.repeats == 500
    whole.fade(0.5)
    assert (whole.requests, whole.repeats, whole.past) == (300, 250, 300)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yes.", "yes", True),
        ("Yes.", "No.", False),
        ('{"a": 1, "b": 2}', '{ "b": 2, "a": 1 }', True),
        ('{"a": 1}', '{"a": 2}', False),
        (" ".join(f"word{n}" for n in range(60)), " ".join(f"word{n}" for n in range(60)) + " indeed", True),
        (" ".join(f"word{n}" for n in range(60)), " ".join(f"other{n}" for n in range(60)), False),
    ],
)
def test_answers_agree_by_what_they_say(one: str, other: str, same: bool) -> None:
    assert agree(one, other) is same
