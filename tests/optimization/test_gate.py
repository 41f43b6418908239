"""The gate: promotes what is proven, refuses everything else, and says why in numbers."""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import statistics
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.evals.model import Cell
from ostinato.optimization import gate
from ostinato.optimization.verdicts import (
    Finalist,
    GateDecision,
    GateEvidence,
    GateRules,
    JudgeCalibration,
    Pair,
    Proof,
    Reviewed,
    Ruling,
    Side,
)
from ostinato.scorers.model import Score
from ostinato.wire.model import Usage


def side(value: float | None, computed: int | None = 100, latency: int | None = 1_000, **policy: float | None) -> Side:
    return Side(value=value, computed=computed, tokens=computed, latency_us=latency, policy=policy)


def pairs(wins: int, losses: int, both: int = 0, neither: int = 0, **more: str) -> list[Pair]:
    outcomes = [(0.0, 1.0)] * wins + [(1.0, 0.0)] * losses + [(1.0, 1.0)] * both + [(0.0, 0.0)] * neither
    stratum = more.get("stratum", "")
    return [
        Pair(example=f"{stratum}{index}", base=side(before), candidate=side(after), stratum=stratum)
        for index, (before, after) in enumerate(outcomes)
    ]


def evidence(*finalists: Sequence[Pair], expected: int | None = None, **more: object) -> GateEvidence:
    return GateEvidence(
        finalists=tuple(Finalist(id=f"f{number}", pairs=tuple(one)) for number, one in enumerate(finalists, 1)),
        expected=max(map(len, finalists), default=0) if expected is None else expected,
        **more,  # pyright: ignore[reportArgumentType] - fields of the struct
    )


def ruling(found: Proof | GateDecision, rule: str) -> Ruling:
    return next(one for one in found.rulings if one.rule == rule)


GOOD = pairs(50, 18, 250, 82)


def test_what_is_proven_is_promoted_with_every_number() -> None:
    decision = gate.decide(evidence(GOOD))
    assert (decision.outcome, decision.champion) == ("promote", "f1")
    proof = decision.proofs[0]
    assert (proof.wins, proof.losses, proof.ties, proof.n, proof.missing) == (50, 18, 332, 400, 0)
    assert proof.test == "mcnemar"
    assert proof.p == statistics.mcnemar(50, 18, n=400)
    assert proof.gain == pytest.approx(0.08)
    assert proof.low < 0.08 < proof.high
    assert "+8.0 points" in decision.sentence
    assert all(one.sentence for one in proof.rulings)
    assert gate.decide(evidence(GOOD)) == decision
    assert msgspec.json.decode(msgspec.json.encode(decision), type=GateDecision) == decision


@pytest.mark.parametrize("better", [1.0, 0.8])
def test_the_interval_that_is_told_says_what_the_test_beside_it_says(better: float) -> None:
    """A bootstrap said that four better of forty gain 2.5 points at least, beside p = 0.06."""
    for wins, losses in ((4, 0), (6, 0), (9, 2), (12, 2), (0, 0), (0, 9)):
        judged = [
            msgspec.structs.replace(one, candidate=side(better)) if one.candidate.value else one
            for one in pairs(wins, losses, neither=40 - wins - losses)
        ]
        proof = gate.decide(evidence(judged)).proofs[0]
        assert (proof.test == "mcnemar") == (better == 1.0 or not wins)
        assert (proof.low < 0 or proof.low == 0 < proof.p - 0.025) == (proof.p > 0.025), (wins, losses, proof)
        assert proof.low <= proof.gain <= proof.high
        assert proof.low < proof.high


def test_a_tie_and_a_loss_leave_the_incumbent_where_it_is() -> None:
    for some in (pairs(0, 0, 200, 200), pairs(40, 40, 200, 120), pairs(20, 60, 200, 120), pairs(30, 22, 250, 98)):
        decision = gate.decide(evidence(some))
        assert (decision.outcome, decision.champion) == ("refuse", "")
        assert decision.sentence.startswith("The incumbent stays.")
        assert "not proven at 0.0085" in decision.sentence


def test_no_finalist_and_no_example_are_refusals() -> None:
    assert gate.decide(evidence()).sentence == "The incumbent stays: there is no finalist."
    decision = gate.decide(evidence([]))
    assert decision.outcome == "refuse"
    assert "no sealed example" in decision.sentence


def missing(some: list[Pair], count: int, who: str) -> list[Pair]:
    return [msgspec.structs.replace(one, **{who: side(None)}) for one in some[:count]] + some[count:]


@pytest.mark.parametrize("who", ["base", "candidate"])
def test_a_missing_measurement_is_a_loss_and_too_many_are_a_refusal(who: str) -> None:
    some = GOOD[100:] + GOOD[:100]
    few = gate.decide(evidence(missing(some, 8, who))).proofs[0]
    assert (few.missing, few.wins, few.losses) == (8, 50, 26)
    assert few.p > statistics.mcnemar(50, 18, n=400)
    assert ruling(few, "measured").passed
    many = gate.decide(evidence(missing(some, 9, who)))
    assert many.outcome == "refuse"
    assert not ruling(many.proofs[0], "measured").passed
    assert "9 of 400" in many.sentence


def test_pairs_that_are_not_there_at_all_are_missing() -> None:
    decision = gate.decide(evidence(GOOD, expected=410))
    proof = decision.proofs[0]
    assert (proof.missing, proof.losses, proof.n) == (10, 28, 410)
    assert decision.outcome == "refuse"


def test_graded_values_go_through_the_permutation_test() -> None:
    some = [
        Pair(example=str(index), base=side(0.5), candidate=side(0.5 + (0.3 if index % 3 else -0.1)))
        for index in range(60)
    ]
    proof = gate.decide(evidence(some)).proofs[0]
    assert proof.test == "permutation"
    assert proof.passed
    assert proof.p < 0.001


def test_holm_pays_for_every_finalist() -> None:
    border = next(wins for wins in range(10, 60) if statistics.mcnemar(wins, 10, n=300) <= 0.0085)
    some = pairs(border, 10, 150, 140 - border)
    weak = pairs(20, 19, 150, 111)
    assert gate.decide(evidence(some)).outcome == "promote"
    decision = gate.decide(evidence(some, weak, weak))
    assert decision.outcome == "refuse"
    assert decision.proofs[0].adjusted == pytest.approx(3 * decision.proofs[0].p)
    assert "Holm over 3" in decision.sentence


def test_of_several_the_largest_gain_is_promoted() -> None:
    decision = gate.decide(evidence(GOOD, pairs(60, 18, 250, 72), pairs(70, 68, 200, 62)))
    assert decision.champion == "f2"
    with pytest.raises(Invalid):
        gate.decide(evidence(GOOD, GOOD, GOOD, GOOD))


def with_candidate(some: Sequence[Pair], change: Callable[[int], dict[str, object]]) -> list[Pair]:
    return [
        msgspec.structs.replace(one, candidate=msgspec.structs.replace(one.candidate, **change(index)))
        for index, one in enumerate(some)
    ]


def test_of_two_that_gain_the_same_the_first_is_promoted() -> None:
    """A search names the shorter of two prompts first: what polish has saved must not be lost by a tie."""
    found = evidence(GOOD, GOOD)
    shorter, longer = found.finalists
    turned = msgspec.structs.replace(
        found, finalists=(msgspec.structs.replace(shorter, id="z"), msgspec.structs.replace(longer, id="a"))
    )
    assert gate.decide(turned).champion == "z"


def priced(before: int, after: int) -> list[Pair]:
    """A candidate with five times as many tokens, at prices."""
    found: list[Pair] = []
    for pair in with_candidate(GOOD, lambda i: {"computed": 500 + i % 7}):
        base = msgspec.structs.replace(pair.base, cost=before)
        found.append(
            msgspec.structs.replace(pair, base=base, candidate=msgspec.structs.replace(pair.candidate, cost=after))
        )
    return found


def test_money_is_what_counts_where_prices_are_known() -> None:
    """Eight examples in a prompt are many tokens, and without a prefix cache all of them are computed: what they cost
    decides, and what is next to nothing does not."""
    assert gate.decide(evidence(priced(1_000, 1_900))).outcome == "promote"
    slight = gate.decide(evidence(priced(20_000, 400_000)))
    assert slight.outcome == "promote", slight.sentence
    (said,) = [one.sentence for one in slight.proofs[0].rulings if one.rule == "cost"]
    assert "$0.000020 to $0.000400" in said and "less than $0.001 an answer" in said
    dear = gate.decide(evidence(priced(2_000_000, 6_000_000)))
    assert dear.outcome == "refuse" and "Cost per answer +200%" in dear.sentence
    assert gate.decide(evidence(priced(2_000_000, 6_000_000)), GateRules(cost=2.5)).outcome == "promote"
    assert gate.decide(evidence(priced(2_000_000, 6_000_000)), GateRules(slight=5_000_000)).outcome == "promote"
    strict = gate.decide(evidence(priced(1_000, 1_900)), GateRules(computed=1.0))
    assert strict.outcome == "refuse" and "Computed tokens" in strict.sentence, "who asks for tokens gets them counted"
    some = [*priced(1_000, 1_900)[:-50], *with_candidate(GOOD, lambda i: {"computed": 500})[-50:]]
    unknown = gate.decide(evidence(some))
    assert unknown.outcome == "refuse" and "Computed tokens" in unknown.sentence, "half a price is none"


def test_more_tokens_or_a_longer_wait_than_allowed_is_refused() -> None:
    dear = with_candidate(GOOD, lambda i: {"computed": 230 + i % 7})
    decision = gate.decide(evidence(dear))
    assert decision.outcome == "refuse"
    assert "Computed tokens +133%" in decision.sentence
    assert gate.decide(evidence(dear), GateRules(computed=1.5)).outcome == "promote"
    assert gate.decide(evidence(dear), GateRules(cost=None)).outcome == "promote", "nobody asked for it"
    slow = with_candidate(GOOD, lambda i: {"latency_us": 41_900 + (i % 5) * 100})
    assert "Latency" in gate.decide(evidence(slow)).sentence
    assert gate.decide(evidence(slow)).outcome == "refuse"
    slight = gate.decide(evidence(with_candidate(GOOD, lambda i: {"latency_us": 9_000 + (i % 5) * 100})))
    assert slight.outcome == "promote", "some milliseconds are no loss, whatever share they are"
    assert any("less than 20 ms an answer" in one.sentence for one in slight.proofs[0].rulings)
    unknown = with_candidate(GOOD, lambda i: {"latency_us": None if i < 20 else 1_000})
    assert "not known of 20" in gate.decide(evidence(unknown)).sentence
    assert gate.decide(evidence(unknown), GateRules(latency=None)).outcome == "promote"


def test_a_policy_scorer_may_hardly_be_worse() -> None:
    def judged(bad: int, unscored: int = 0) -> list[Pair]:
        clean = [
            msgspec.structs.replace(one, base=msgspec.structs.replace(one.base, policy={"pii": 1.0})) for one in GOOD
        ]

        def policy(index: int) -> dict[str, object]:
            value = None if index < unscored else float(not unscored <= index < unscored + bad)
            return {"policy": {"pii": value}}

        return with_candidate(clean, policy)

    assert gate.decide(evidence(judged(0))).outcome == "promote"
    assert gate.decide(evidence(judged(12))).outcome == "refuse"
    assert gate.decide(evidence(judged(0, 12))).outcome == "refuse"
    assert "pii changes by -3.0 points" in gate.decide(evidence(judged(12))).sentence


def test_a_significant_loss_on_a_declared_slice_refuses_unless_it_is_accepted_by_name() -> None:
    some = [*pairs(90, 5, 200, 50, stratum="de"), *pairs(2, 16, 30, 2, stratum="fr")]
    assert gate.decide(evidence(some)).outcome == "promote"
    for slices in (("fr",), ("*",), ("de", "fr")):
        decision = gate.decide(evidence(some), GateRules(slices=slices))
        assert decision.outcome == "refuse"
        assert "On 'fr' (50 examples) -28.0 points" in decision.sentence
    waived = gate.decide(evidence(some), GateRules(slices=("*",), waived={"fr": "Ada: French is switched off in May"}))
    assert waived.outcome == "promote"
    assert "Ada: French is switched off in May" in ruling(waived.proofs[0], "slice:fr").sentence
    # A slice that is named is asked for, whatever else is: with "*" beside it, one without examples was forgotten.
    beside = gate.decide(evidence(some), GateRules(slices=("*", "it")))
    assert {"slice:it", "slice:fr"} <= {one.rule for one in beside.proofs[0].rulings}
    assert not ruling(beside.proofs[0], "slice:it").passed
    empty = gate.decide(evidence(some), GateRules(slices=("it",)))
    assert "No sealed example belongs to 'it'" in empty.sentence


@pytest.mark.parametrize(
    ("judges", "outcome"),
    [
        (None, "promote"),
        ((), "refuse"),
        ((JudgeCalibration(scorer="judge@1", kappa=0.59, n=200),), "refuse"),
        ((JudgeCalibration(scorer="judge@1", kappa=0.9, n=12),), "refuse"),
        ((JudgeCalibration(scorer="judge@1", kappa=0.6, n=80, low=0.4, high=0.75),), "promote"),
    ],
)
def test_judges_promote_only_after_calibration(judges: tuple[JudgeCalibration, ...] | None, outcome: str) -> None:
    decision = gate.decide(evidence(GOOD, judges=judges))
    assert decision.outcome == outcome
    if judges:
        assert f"n = {judges[0].n} labels" in ruling(decision, "judge").sentence


def test_reviewers_have_the_next_word() -> None:
    asked = Reviewed(needed=20, good=15)
    assert gate.decide(evidence(GOOD, review=asked)).outcome == "wait"
    assert gate.decide(evidence(GOOD, review=Reviewed(needed=20, good=20))).outcome == "promote"
    assert gate.decide(evidence(GOOD, review=Reviewed(needed=20, good=19, bad=1))).outcome == "refuse"
    tolerant = Reviewed(needed=20, good=19, bad=1, most_bad=0.05)
    assert gate.decide(evidence(GOOD, review=tolerant)).outcome == "promote"
    assert gate.decide(evidence(pairs(5, 5, 90), review=asked)).outcome == "refuse"


def test_the_least_gain_is_a_rule_of_its_own() -> None:
    decision = gate.decide(evidence(GOOD), GateRules(min_gain=0.1))
    assert decision.outcome == "refuse"
    assert "+8.0 points; at least +10.0 are asked" in decision.sentence


def test_sequential_mode_stops_early_or_asks_for_more() -> None:
    order = np.random.default_rng(3).permutation(120)
    strong = [msgspec.structs.replace(pairs(60, 6, 40, 14)[index], example=str(index)) for index in order]
    rules = GateRules(mode="sequential")
    first = gate.decide(evidence(strong[:12], remaining=388), rules)
    assert first.outcome == "wait"
    decision = gate.decide(evidence(strong, remaining=280), rules)
    assert decision.outcome == "promote"
    proof = decision.proofs[0]
    assert proof.test == "betting"
    assert proof.e is not None
    assert proof.p == pytest.approx(1 / proof.e)
    weak = [
        *pairs(0, 0, 60),
        *(msgspec.structs.replace(one, example=f"w{n}") for n, one in enumerate(pairs(9, 8)[::-1])),
    ]
    assert gate.decide(evidence(weak, remaining=10), rules).outcome == "wait"
    assert gate.decide(evidence(weak), rules).outcome == "refuse"
    # On few examples a slice has none yet, one answer is missing, a bound is wide: nothing that stays so.
    early = missing(strong[:20], 1, "candidate")
    sliced = GateRules(mode="sequential", slices=("rare",), latency=0.0)
    assert gate.decide(evidence(early, remaining=380), sliced).outcome == "wait"
    assert gate.decide(evidence(early), sliced).outcome == "refuse"
    worse = [msgspec.structs.replace(one, base=one.candidate, candidate=one.base) for one in strong]
    assert gate.decide(evidence(worse, remaining=380), rules).outcome == "refuse"
    hopeless = missing(weak, 30, "candidate")
    assert gate.decide(evidence(hopeless, remaining=300), rules).outcome == "refuse"


def test_what_cannot_be_evidence_is_refused() -> None:
    with pytest.raises(Invalid):
        gate.decide(evidence([*GOOD, GOOD[0]]))
    with pytest.raises(Invalid):
        gate.decide(evidence([Pair(example="1", base=side(7.0), candidate=side(1.0))]))
    with pytest.raises(Invalid):
        gate.decide(evidence(GOOD), GateRules(alpha=0))


def test_cells_become_pairs() -> None:
    examples = [Example(id=name, inputs={}, digest="", split="holdout", stratum="a") for name in "xyz"]
    score = Score(scorer="pii@1a2b3c4d", value=0.0)
    base = [Cell(example="x", variant="b", value=1.0, usage=Usage(input=10, cache_read=90, output=5), latency_us=7)]
    candidate = [
        Cell(example="y", variant="c", value=1.0),
        Cell(example="x", variant="c", value=0.5, scores=(score,)),
        Cell(example="z", variant="c", value=0.0, error="timeout"),
    ]
    found = gate.pairs_of(examples, base, candidate, ["pii"])
    assert [one.example for one in found] == ["x", "y", "z"]
    assert (found[0].base.computed, found[0].base.tokens, found[0].base.latency_us) == (15, 105, 7)
    assert (found[0].candidate.value, found[0].candidate.policy) == (0.5, {"pii": 0.0})
    assert (found[1].base.value, found[1].base.policy) == (None, {"pii": None})
    assert found[2].candidate.value is None, "an error is no 0"


def test_the_plan_says_what_can_be_proven() -> None:
    planned = gate.plan(400)
    assert planned.smallest_gain is not None
    assert 0.07 < planned.smallest_gain < 0.085
    assert planned.power >= 0.8
    assert planned.level == pytest.approx(0.0085)
    assert gate.plan(200, 0.05).smallest_gain == pytest.approx(0.083, abs=0.005)
    asked = gate.plan(50, gain=0.08)
    assert asked.pairs_needed is not None
    assert asked.pairs_needed > 300
    assert asked.power < 0.2
    assert (gate.plan(400, finalists=3).smallest_gain or 1) > planned.smallest_gain
    assert gate.plan(0).smallest_gain is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, 0.0, 0.5, 1.0]), st.sampled_from([None, 0.0, 0.5, 1.0])), max_size=40))
def test_any_evidence_gets_a_decision_that_holds_its_own_rules(values: list[tuple[float | None, float | None]]) -> None:
    some = [Pair(example=str(i), base=side(b), candidate=side(c)) for i, (b, c) in enumerate(values)]
    decision = gate.decide(evidence(some))
    proof = decision.proofs[0]
    assert proof.wins + proof.losses + proof.ties == proof.n == len(some)
    assert math.isfinite(proof.gain)
    if decision.outcome == "promote":
        assert proof.adjusted <= 0.01
        assert proof.gain > 0
        assert proof.missing <= 0.02 * proof.n


def test_null_runs_are_promoted_no_more_often_than_said() -> None:
    """Reduced count: what is counted here must be possible with 1 % (99.9 % interval)."""
    random = np.random.default_rng(1)
    runs, promoted = 400, 0
    for wins, losses, _ in random.multinomial(200, [0.12, 0.12, 0.76], runs):
        promoted += gate.decide(evidence(pairs(int(wins), int(losses), 200 - wins - losses))).outcome == "promote"
    assert statistics.clopper_pearson(promoted, runs, 0.999).low <= 0.01
