"""What the sections ``gate`` and ``canary`` of the benchmarks count: reduced here, in full in ``make soak``."""

from collections.abc import Callable

import numpy as np
import proofs
import pytest

from ostinato import statistics

Record = Callable[[str, object], None]


def test_from_so_many_wins_on_the_gate_promotes() -> None:
    for discordant in (20, 80, 100):
        least = proofs.fewest(discordant, proofs.N)
        assert proofs.promoted(least, discordant - least, proofs.N)
        assert not proofs.promoted(least - 1, discordant - least + 1, proofs.N)


def test_few_runs_do_not_speak_against_what_is_promised() -> None:
    false, _ = proofs.sequential(400, 400, 0.0, 0.225, 1)
    assert statistics.clopper_pearson(false, 400, 0.999).low <= proofs.ALPHA
    alarms = proofs.first_alarms(0.2, 200, 400, 2)
    assert np.median(np.where(alarms == 0, 401, alarms)) <= proofs.ROLLBACK_WITHIN
    harmless = int(np.count_nonzero(proofs.first_alarms(0.0, 200, 300, 3)))
    assert statistics.clopper_pearson(harmless, 200, 0.999).low <= proofs.TOTAL


@pytest.mark.soak
@pytest.mark.parametrize("seed", [101, 202, 303])
def test_false_promotions_in_full(seed: int, record_property: Record) -> None:
    """30,000 null runs at each seed: one look, and a look after every pair."""
    runs = 30_000
    for number, share in enumerate(proofs.DISCORDANCES):
        false = proofs.fixed(runs // 3, 0.0, share, seed + number)
        record_property(f"false at {share}", f"{false} of {runs // 3}")
        assert statistics.clopper_pearson(false, runs // 3, 0.9999).low <= proofs.ALPHA
    peeked, _ = proofs.sequential(10_000, 5_000, 0.0, 0.225, seed)
    record_property("false with peeking", f"{peeked} of 10000")
    assert peeked <= 100


@pytest.mark.soak
def test_false_rollbacks_in_full(record_property: Record) -> None:
    """10,000 harmless canaries of 5,000 pairs."""
    false = int(np.count_nonzero(proofs.first_alarms(0.0, 10_000, 5_000, 404)))
    record_property("false rollbacks", f"{false} of 10000")
    assert false <= 500
