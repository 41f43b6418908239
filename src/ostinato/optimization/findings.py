"""What a run found, gathered for its report; and the digest that is equal for equal findings."""

import hashlib

import msgspec

from ostinato.core import hashing
from ostinato.optimization import proving
from ostinato.optimization.needs import Measuring
from ostinato.optimization.records import Records
from ostinato.optimization.run import Detail, Run, State

FINAL: frozenset[State] = frozenset({"proposed", "refused", "nothing-to-gain", "cancelled", "failed"})
"""States in which a run has ended, and its report is whole."""

_NOT_FOUND_OUT = frozenset({"latency_us", "cached_tokens", "cost", "output"})
"""Of a measurement, what another hour or another machine would have told otherwise."""


async def gather(run: Run, records: Records, measuring: Measuring) -> Detail:
    """Everything that is known of a run."""
    return Detail(
        run=run,
        candidates=await records.all_candidates(run.id),
        rounds=await records.all_rounds(run.id),
        records=await records.all_measured(run.id),
        decided=await records.all_decided(run.id),
        spent=await measuring.spent(run.id),
    )


def digest(detail: Detail) -> str:
    """SHA-256 of what was found, in hexadecimal.

    Over what was asked, who was tried, how each did on every example, what was decided and what came of it. Not over
    ids of runs and releases, times, latencies, money or what a provider's cache gave: a run that was killed and went on
    has the digest of one that was not.
    """
    run = detail.run
    told = {
        "prompt": run.prompt,
        "base": run.base_digest,
        "dataset": [run.dataset, run.dataset_number, run.holdout_digest],
        "alias": run.alias,
        "scorers": msgspec.to_builtins(run.wish.scorers),
        "seed": run.wish.seed,
        "state": run.state,
        "champion": run.champion,
        "candidates": [[one.id, one.edit, one.origin, list(one.parents)] for one in detail.candidates],
        "measured": [[one.stage, one.candidate, _plain(msgspec.to_builtins(one.measured))] for one in detail.records],
        "decided": [
            [one.name, proving.steady(one.body) if one.name == "gate" else one.body]
            for one in sorted(detail.decided, key=lambda one: one.name)
        ],
    }
    return hashlib.sha256(hashing.canonical_json(told)).hexdigest()


def _plain(value: dict[str, object]) -> dict[str, object]:
    return {name: item for name, item in value.items() if name not in _NOT_FOUND_OUT}
