"""The gate: whether a candidate may take the incumbent's place. Pure; the same evidence gives the same decision.

A candidate is promoted where it is *proven* better on sealed examples that nothing was chosen by, not worse by more
than was allowed in anything else, and nothing is missing. In doubt, and in a tie, the incumbent stays. See
``docs/why/proof.md``.
"""

import math
from collections.abc import Sequence

import msgspec

from ostinato import statistics
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.evals.model import Cell
from ostinato.optimization import rulings
from ostinato.optimization.verdicts import (
    Decided,
    Finalist,
    GateDecision,
    GateEvidence,
    GatePlan,
    GateRules,
    Pair,
    Proof,
    Ruling,
    Side,
)
from ostinato.statistics import Interval

_MOST_PAIRS = 5_000
_POWER = 0.8
_DISCORDANCE = 0.225


def decide(evidence: GateEvidence, rules: GateRules | None = None) -> GateDecision:
    """The decision on some finalists. Raises ``Invalid`` for evidence or rules that cannot be.

    Binary values go through McNemar's exact test, graded ones through the paired permutation test, in sequential mode
    all through the betting e-process; p-values are adjusted for the number of finalists (Holm).
    """
    rules = rules or GateRules()
    _check(evidence, rules)
    whole = tuple(
        one for one in (rulings.judged(evidence, rules), rulings.reviewed(evidence.review)) if one is not None
    )
    measured = [_measure(one, evidence, rules) for one in evidence.finalists]
    adjusted = statistics.holm([one.p for one in measured])
    proofs = tuple(
        _prove(proof, finalist, level, evidence, rules)
        for proof, finalist, level in zip(measured, evidence.finalists, adjusted, strict=True)
    )
    outcome, champion = _outcome(proofs, whole, evidence, rules)
    return GateDecision(
        outcome=outcome,
        champion=champion.id if champion is not None else "",
        sentence=_sentence(outcome, champion, proofs, whole),
        proofs=proofs,
        rulings=whole,
        rules=rules,
    )


def plan(
    n_holdout: int,
    alpha: float = 0.01,
    *,
    finalists: int = 1,
    gain: float | None = None,
    discordance: float = _DISCORDANCE,
) -> GatePlan:
    """What ``n_holdout`` sealed examples can prove at ``alpha`` (fixed mode, binary values), computed exactly.

    ``gain``: the improvement that is hoped for, for which the pairs needed are told. With several finalists the one
    that Holm leaves the least is what is planned for.
    """
    n, level = min(n_holdout, _MOST_PAIRS), GateRules(alpha=alpha).level / max(1, finalists)
    smallest = statistics.smallest_gain(n, level, discordance, _POWER)
    about = gain if gain is not None else smallest
    return GatePlan(
        n=n_holdout,
        alpha=alpha,
        level=level,
        discordance=discordance,
        power=0.0 if about is None else statistics.power(n, about, discordance, level),
        smallest_gain=smallest,
        gain=gain,
        pairs_needed=None if gain is None else statistics.pairs_needed(gain, level, discordance, _POWER),
    )


def pairs_of(
    examples: Sequence[Example], base: Sequence[Cell], candidate: Sequence[Cell], policy: Sequence[str] = ()
) -> tuple[Pair, ...]:
    """Cells of incumbent and candidate as pairs, one for every example; ``policy``: names of policy scorers.

    An example without a cell is a missing measurement.
    """
    before = {one.example: one for one in base}
    after = {one.example: one for one in candidate}
    return tuple(
        Pair(
            example=one.id,
            stratum=one.stratum,
            base=_side(before.get(one.id), policy),
            candidate=_side(after.get(one.id), policy),
        )
        for one in examples
    )


def _side(cell: Cell | None, policy: Sequence[str]) -> Side:
    if cell is None:
        return Side(policy=dict.fromkeys(policy))
    said = {one.scorer.partition("@")[0]: one.value for one in cell.scores}
    usage = cell.usage
    return Side(
        value=None if cell.error else cell.value,
        computed=None if usage is None else usage.total - usage.cache_read,
        tokens=None if usage is None else usage.total,
        cost=None if cell.cost is None else cell.cost - sum(one.cost for one in cell.scores),
        latency_us=cell.latency_us,
        policy={name: said.get(name) for name in policy},
    )


def _check(evidence: GateEvidence, rules: GateRules) -> None:
    if len(evidence.finalists) > rules.finalists:
        raise Invalid(
            f"The gate looks at {rules.finalists} finalists at most: every further one makes proof dearer.",
            code="too_many_finalists",
        )
    if not (0 < rules.alpha < 0.5 and 0 <= rules.guard < 1):
        raise Invalid("The level of a gate lies between 0 and 0.5.", code="invalid_rules", param="alpha")
    for finalist in evidence.finalists:
        ids = [one.example for one in finalist.pairs]
        if len(set(ids)) != len(ids):
            raise Invalid(f"An example is twice among the pairs of {finalist.id!r}.", code="invalid_evidence")
        for pair in finalist.pairs:
            for side in (pair.base, pair.candidate):
                values = [side.value, *side.policy.values()]
                if any(one is not None and not 0 <= one <= 1 for one in values):
                    raise Invalid("A measured value is from 0 to 1.", code="invalid_evidence")


def _measure(finalist: Finalist, evidence: GateEvidence, rules: GateRules) -> Proof:
    """The figures of one finalist, before its rules."""
    absent = max(0, evidence.expected - len(finalist.pairs))
    counted = rulings.counted(finalist.pairs) + [(1.0, 0.0)] * absent
    missing = absent + sum(rulings.missing(one) for one in finalist.pairs)
    diffs = [after - before for before, after in counted]
    n, wins, losses = len(diffs), sum(one > 0 for one in diffs), sum(one < 0 for one in diffs)
    e: float | None = None
    low, high = -1.0, 1.0
    if rules.mode == "sequential":
        process = statistics.EProcess()
        for one in diffs:
            process.update(one)
        test, p, e = "betting", process.p, process.e
        span = process.interval()
        low, high = span.low, span.high
    else:
        test, p = rulings.fixed(counted, diffs, wins, losses, evidence.seed)
        if n:
            span = _shown(test, p, diffs, wins, losses, evidence.seed)
            low, high = span.low, span.high
    return Proof(
        id=finalist.id,
        passed=False,
        n=n,
        missing=missing,
        base=math.fsum(before for before, _ in counted) / n if n else 0.0,
        mean=math.fsum(after for _, after in counted) / n if n else 0.0,
        gain=math.fsum(diffs) / n if n else 0.0,
        low=low,
        high=high,
        wins=wins,
        losses=losses,
        ties=n - wins - losses,
        test=test,
        p=p,
        adjusted=p,
        e=e,
    )


def _shown(test: str, p: float, diffs: Sequence[float], wins: int, losses: int, seed: int) -> Interval:
    """The interval that is told beside a p-value, and says the same; nothing is decided by it."""
    if test == "mcnemar":
        span = statistics.discordant_interval(wins, losses, len(diffs))
    else:
        span = statistics.graded_interval(diffs, seed=seed)
    return statistics.agreeing(span, p, "greater")


def _prove(proof: Proof, finalist: Finalist, adjusted: float, evidence: GateEvidence, rules: GateRules) -> Proof:
    """The same finalist with what each rule says of it."""
    proof = msgspec.structs.replace(proof, adjusted=adjusted)
    pairs = finalist.pairs
    latency = rulings.figures(pairs, "latency_us")
    said = (
        rulings.measured(proof, rules),
        rulings.proven(proof, rules, len(evidence.finalists)),
        rulings.worthwhile(proof, rules),
        *rulings.cost(pairs, evidence.seed, rules),
        rulings.not_more("latency", "Latency", rules.latency, latency, evidence.seed, rules, slight=rules.slight_us),
        *(rulings.policy(name, pairs, evidence.seed, rules) for name in rulings.policies(pairs)),
        *rulings.slices(pairs, evidence.seed, rules),
    )
    passed = all(one.passed is not False for one in said)
    return msgspec.structs.replace(proof, rulings=said, passed=passed)


def _outcome(
    proofs: Sequence[Proof], whole: Sequence[Ruling], evidence: GateEvidence, rules: GateRules
) -> tuple[Decided, Proof | None]:
    """What is to be done. Of several that have passed: the largest gain; of equal ones, who was named first: a search
    names shorter prompts before the longer ones that they are no worse than."""
    if any(one.passed is False for one in whole):
        return "refuse", None
    passed = sorted((one for one in proofs if one.passed), key=lambda one: -one.gain)
    if passed:
        waiting = any(one.rule == "review" and one.passed is None for one in whole)
        return ("wait" if waiting else "promote"), passed[0]
    sequential = rules.mode == "sequential" and evidence.remaining > 0
    if sequential and any(_open(one, evidence, rules) for one in proofs):
        return "wait", None
    return "refuse", None


def _open(proof: Proof, evidence: GateEvidence, rules: GateRules) -> bool:
    """Whether more examples may still speak for a finalist: a slice that has none yet, a bound that is wide on twenty
    of them, a proof that is not there. Not where it is surely worse, or more is missing than may be of all."""
    return proof.high >= 0 and proof.missing <= rules.missing * (proof.n + evidence.remaining)


def _sentence(outcome: Decided, champion: Proof | None, proofs: Sequence[Proof], whole: Sequence[Ruling]) -> str:
    if champion is not None:
        gained = (
            f"{champion.id} is better by {rulings.points(champion.gain)} points ({rulings.points(champion.low)} to "
            f"{rulings.points(champion.high)}) on {champion.n} sealed examples, p = {champion.adjusted:.2g}"
        )
        return f"{gained}." if outcome == "promote" else f"{gained}; reviewers have the next word."
    if outcome == "wait":
        return "Nothing is proven yet, and sealed examples are left: look at more."
    if not proofs:
        return "The incumbent stays: there is no finalist."
    against = [one.sentence for one in whole if one.passed is False]
    if not against:
        best = max(proofs, key=lambda one: (one.passed, one.gain))
        against = [one.sentence for one in best.rulings if one.passed is False]
    return f"The incumbent stays. {' '.join(against)}"
