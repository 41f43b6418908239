"""Ids are unique whatever others do with randomness, and across forked processes."""

import os
import random

from hypothesis import given
from hypothesis import strategies as st

from ostinato.core import ids

NOW = 1_760_000_000_123_456


@given(st.integers(0, 2**47 * 1000))
def test_an_id_is_a_uuid7_of_its_millisecond(now: int) -> None:
    made = ids.new(now)
    assert ids.is_id(made)
    assert made[12] == "7"
    assert made[16] in "89ab"
    assert ids.time_of(made) == now // 1000 * 1000


def test_seeding_pythons_generator_does_not_repeat_ids() -> None:
    made: set[str] = set()
    for _ in range(100):
        random.seed(0)
        made.add(ids.new(NOW))
    assert len(made) == 100


def test_a_forked_process_makes_ids_of_its_own() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.new(NOW).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode() != ids.new(NOW)
    os.close(reading)
    os.close(writing)
