"""What the gate is shown of a run, and what it says, as runs keep it."""

from collections.abc import Mapping, Sequence

import msgspec

from ostinato.datasets.model import Example
from ostinato.evals.model import Cell
from ostinato.optimization import gate
from ostinato.optimization.model import stratum
from ostinato.optimization.needs import Decision
from ostinato.optimization.run import Run, Wish
from ostinato.optimization.verdicts import Finalist, GateDecision, GateEvidence, GateRules, JudgeCalibration
from ostinato.scorers import model_of
from ostinato.scorers.model import Spec
from ostinato.wire.model import Json

POLICIES = frozenset({"policy"})
"""Kinds of scorers that a candidate may not do worse by, whatever it gains."""
_STEADY_FIELDS = ("id", "passed", "n", "missing", "base", "mean", "gain", "low", "high", "wins", "losses", "ties", "p")


def name_of(spec: Spec) -> str:
    """What a scorer's scores are called."""
    return spec.name or spec.kind


def judges_of(wish: Wish) -> tuple[Spec, ...]:
    """The scorers that count and are models themselves."""
    return tuple(spec for spec in wish.scorers if spec.weight and model_of(spec))


def judge(
    run: Run,
    examples: Sequence[Example],
    cells: Mapping[str, Sequence[Cell]],
    base: str,
    finalists: Sequence[str],
    *,
    remaining: int,
    judges: Sequence[JudgeCalibration] | None,
) -> Decision:
    """What the gate says of the finalists, by the cells of everybody on the sealed examples. Takes a moment: statistics
    are computed, and their libraries imported."""
    policy = [name_of(spec) for spec in run.wish.scorers if spec.kind in POLICIES]
    shown = [msgspec.structs.replace(one, stratum=stratum(one)) for one in examples]
    evidence = GateEvidence(
        finalists=tuple(
            Finalist(id=name, pairs=gate.pairs_of(shown, cells[base], cells[name], policy)) for name in finalists
        ),
        expected=len(shown),
        remaining=remaining,
        judges=None if judges is None else tuple(judges),
        seed=run.wish.seed,
    )
    return decision_of(gate.decide(evidence, rules_of(run)))


def rules_of(run: Run) -> GateRules:
    """What a candidate of this run must show."""
    margins = run.wish.margins
    return GateRules(
        alpha=run.plan.alpha,
        mode=run.wish.mode,
        min_gain=run.wish.min_gain,
        cost=margins.cost,
        slight=margins.slight,
        computed=margins.computed,
        latency=margins.latency,
        slight_us=round(1_000 * margins.slight_ms),
        policy=margins.policy,
        slices=run.plan.slices,
        waived=dict(run.wish.waived),
    )


def decision_of(decision: GateDecision) -> Decision:
    """The same as runs keep it."""
    return Decision(
        outcome=decision.outcome,
        promoted=decision.champion if decision.outcome == "promote" else "",
        sentence=decision.sentence,
        body=msgspec.to_builtins(decision),
    )


def steady(body: Json) -> Json:
    """What a decision says whatever the hour: without figures of latency and of what a provider's cache gave."""
    return {
        "outcome": body.get("outcome"),
        "champion": body.get("champion"),
        "proofs": [
            {
                **{name: proof.get(name) for name in _STEADY_FIELDS},
                "rulings": [[one["rule"], one["passed"]] for one in proof.get("rulings", ())],
            }
            for proof in body.get("proofs", ())
        ],
        "rulings": [[one["rule"], one["passed"]] for one in body.get("rulings", ())],
    }
