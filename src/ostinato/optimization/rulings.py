"""What each rule of the gate says of a finalist, in a sentence and in numbers. Pure."""

import math
from collections.abc import Sequence

from ostinato import statistics
from ostinato.optimization.verdicts import (
    GateEvidence,
    GateRules,
    JudgeCalibration,
    Number,
    Pair,
    Proof,
    Reviewed,
    Ruling,
)

_FEW = 2
"""Pairs below which a bound is nothing to go by."""


def points(share: float) -> str:
    """A difference of two shares in points, with its sign."""
    return f"{100 * share:+.1f}"


def missing(pair: Pair) -> bool:
    return pair.base.value is None or pair.candidate.value is None


def counted(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """(Incumbent, candidate) of every pair; one that is missing is a loss of the candidate."""
    return [
        (1.0, 0.0) if one.base.value is None or one.candidate.value is None else (one.base.value, one.candidate.value)
        for one in pairs
    ]


def fixed(
    counted: Sequence[tuple[float, float]], diffs: Sequence[float], wins: int, losses: int, seed: int
) -> tuple[str, float]:
    if all(one in (0.0, 1.0) for pair in counted for one in pair):
        return "mcnemar", statistics.mcnemar(wins, losses, n=len(diffs))
    return "permutation", statistics.permutation(diffs, seed=seed)


def measured(proof: Proof, rules: GateRules) -> Ruling:
    share = proof.missing / proof.n if proof.n else 1.0
    if proof.n == 0:
        sentence = "There is no sealed example to look at."
    elif proof.missing == 0:
        sentence = f"All {proof.n} pairs were measured."
    else:
        sentence = (
            f"{proof.missing} of {proof.n} pairs ({share:.1%}) are missing and count as losses; "
            f"at most {rules.missing:.0%} may be."
        )
    numbers: dict[str, Number] = {"n": proof.n, "missing": proof.missing, "share": share, "most": rules.missing}
    return Ruling(rule="measured", passed=proof.n > 0 and share <= rules.missing, sentence=sentence, numbers=numbers)


def proven(proof: Proof, rules: GateRules, finalists: int) -> Ruling:
    passed = proof.gain > 0 and proof.adjusted <= rules.level
    after = f" after Holm over {finalists}" if finalists > 1 else ""
    worth = f", a bet on it was worth {proof.e:.3g}" if proof.e is not None else ""
    sentence = (
        f"{points(proof.gain)} points ({points(proof.low)} to {points(proof.high)}), {proof.wins} better and "
        f"{proof.losses} worse of {proof.n}{worth}, p = {proof.adjusted:.2g}{after}: "
        f"{'proven' if passed else 'not proven'} at {rules.level:g}."
    )
    numbers: dict[str, Number] = {
        "gain": proof.gain,
        "p": proof.p,
        "adjusted": proof.adjusted,
        "alpha": rules.alpha,
        "level": rules.level,
        "e": proof.e,
    }
    return Ruling(rule="proven", passed=passed, sentence=sentence, numbers=numbers)


def worthwhile(proof: Proof, rules: GateRules) -> Ruling:
    passed = None if rules.min_gain <= 0 else proof.gain >= rules.min_gain
    asked = "no least gain is asked" if passed is None else f"at least {points(rules.min_gain)} are asked"
    return Ruling(
        rule="gain",
        passed=passed,
        sentence=f"The gain is {points(proof.gain)} points; {asked}.",
        numbers={"gain": proof.gain, "least": rules.min_gain},
    )


def figures(pairs: Sequence[Pair], field: str) -> list[tuple[float, float] | None]:
    """(Incumbent, candidate) of a figure of every pair whose answers are there; ``None``: not measured."""
    found: list[tuple[float, float] | None] = []
    for pair in pairs:
        if missing(pair):
            continue
        before, after = getattr(pair.base, field), getattr(pair.candidate, field)
        found.append(None if before is None or after is None else (float(before), float(after)))
    return found


def cost(pairs: Sequence[Pair], seed: int, rules: GateRules) -> tuple[Ruling, Ruling]:
    """What an answer costs, and how many tokens it takes: these count by themselves only where that is asked, and in
    the place of a cost that nobody knows."""
    costs, computed = figures(pairs, "cost"), figures(pairs, "computed")
    margin = rules.computed
    if _known(costs, rules) or rules.cost is None:
        money = not_more("cost", "Cost per answer", rules.cost, costs, seed, rules, slight=rules.slight)
    else:
        money = Ruling(
            rule="cost",
            passed=None,
            sentence=f"What an answer costs is not known of {sum(one is None for one in costs)} of {len(costs)}: "
            "tokens are counted in its place.",
        )
        margin = rules.cost if margin is None else margin
    return money, not_more("tokens", "Computed tokens", margin, computed, seed, rules)


def _known(figured: Sequence[tuple[float, float] | None], rules: GateRules) -> bool:
    """Whether a figure is known of enough answers to judge by it."""
    known = sum(one is not None for one in figured)
    return known >= _FEW and len(figured) - known <= rules.missing * len(figured)


def not_more(
    rule: str,
    what: str,
    margin: float | None,
    figured: Sequence[tuple[float, float] | None],
    seed: int,
    rules: GateRules,
    *,
    slight: int = 0,
) -> Ruling:
    """Not worse by more than ``margin``, a share of the incumbent's mean, or by more than ``slight`` (nano-dollars, or
    microseconds): by the upper bound of the paired means."""
    known = [one for one in figured if one is not None]
    lacking = len(figured) - len(known)
    if not _known(figured, rules):
        passed = None if margin is None else False
        said = f"{what}: not known of {lacking} of {len(figured)} answers"
        way = "" if margin is None else "; that counts against it. Set no margin to leave it out"
        return Ruling(rule=rule, passed=passed, sentence=f"{said}{way}.", numbers={"unknown": lacking})
    before = math.fsum(one for one, _ in known) / len(known)
    after = math.fsum(other for _, other in known) / len(known)
    change = after / before - 1 if before else (0.0 if after == 0 else math.inf)
    numbers: dict[str, Number] = {"base": before, "candidate": after, "change": change}
    said = f"{what} {change:+.0%}" + (f" (${before / 1e9:.6f} to ${after / 1e9:.6f})" if rule == "cost" else "")
    if margin is None:
        return Ruling(rule=rule, passed=None, sentence=f"{said}; no margin is set.", numbers=numbers)
    confidence = 2 * rules.margin_confidence - 1
    bound = statistics.paired_interval([other - (1 + margin) * one for one, other in known], confidence, seed).high
    numbers |= {"margin": margin, "bound": bound / before + margin if before else bound}
    passed = bound <= 0
    if not passed and slight:
        more = statistics.paired_interval([other - one for one, other in known], confidence, seed).high
        numbers |= {"slight": slight, "more": more}
        if more <= slight:
            by = f"${slight / 1e9:g}" if rule == "cost" else f"{slight / 1_000:g} ms"
            sentence = f"{said}: more than the {margin:+.0%} allowed, but surely by less than {by} an answer."
            return Ruling(rule=rule, passed=True, sentence=sentence, numbers=numbers)
    end = "" if passed else f". Allow more ({rule}), or look for a leaner candidate"
    return Ruling(
        rule=rule,
        passed=passed,
        sentence=f"{said}: {'surely not' if passed else 'perhaps'} more than the {margin:+.0%} allowed{end}.",
        numbers=numbers,
    )


def policies(pairs: Sequence[Pair]) -> list[str]:
    return sorted({name for pair in pairs for side in (pair.base, pair.candidate) for name in side.policy})


def policy(name: str, pairs: Sequence[Pair], seed: int, rules: GateRules) -> Ruling:
    """A policy scorer: one that could not judge the candidate's answer has found it wanting."""
    diffs: list[float] = []
    unknown = 0
    for pair in pairs:
        before, after = pair.base.policy.get(name), pair.candidate.policy.get(name)
        unknown += after is None
        diffs.append((0.0 if after is None else after) - (1.0 if before is None else before))
    rule = f"policy:{name}"
    if len(diffs) < _FEW:
        return Ruling(rule=rule, passed=False, sentence=f"{name} has judged nothing.", numbers={"n": len(diffs)})
    found = statistics.paired_interval(diffs, 2 * rules.margin_confidence - 1, seed)
    passed = found.low >= -rules.policy
    return Ruling(
        rule=rule,
        passed=passed,
        sentence=f"{name} changes by {points(found.mean)} points (surely no worse than {points(found.low)}); "
        f"{points(-rules.policy)} are allowed.",
        numbers={"change": found.mean, "bound": found.low, "margin": rules.policy, "unscored": unknown},
    )


def slices(pairs: Sequence[Pair], seed: int, rules: GateRules) -> list[Ruling]:
    """A ruling for each declared slice: a significant loss there refuses, whatever is gained elsewhere."""
    present = sorted({one.stratum for one in pairs if one.stratum})
    declared = [one for one in rules.slices if one != "*"]
    names = list(dict.fromkeys([*declared, *(present if "*" in rules.slices else ())]))
    parts = {name: [one for one in pairs if one.stratum == name] for name in names}
    losses = {name: _loss(part, seed) for name, part in parts.items()}
    adjusted = dict(zip(names, statistics.holm([losses[name][1] for name in names]), strict=True))
    rulings: list[Ruling] = []
    for name in names:
        gain, p = losses[name]
        lost = gain < 0 and adjusted[name] <= rules.slice_alpha
        waived = rules.waived.get(name, "")
        told = f" Accepted by name: {waived}." if lost and waived else ""
        sentence = (
            f"On {name!r} ({len(parts[name])} examples) {points(gain)} points, p of a loss {adjusted[name]:.2g}: "
            f"{'a significant loss' if lost else 'no significant loss'}.{told}"
        )
        if not parts[name]:
            sentence = f"No sealed example belongs to {name!r}: nothing is known of it."
        rulings.append(
            Ruling(
                rule=f"slice:{name}",
                passed=bool(parts[name]) and (not lost or bool(waived)),
                sentence=sentence,
                numbers={"n": len(parts[name]), "gain": gain, "p": p, "adjusted": adjusted[name], "waived": waived},
            )
        )
    return rulings


def _loss(pairs: Sequence[Pair], seed: int) -> tuple[float, float]:
    """Gain on some pairs, and the p-value of a loss."""
    values = counted(pairs)
    diffs = [after - before for before, after in values]
    if not diffs:
        return 0.0, 1.0
    mirrored = [(after, before) for before, after in values]
    _, p = fixed(mirrored, [-one for one in diffs], sum(one < 0 for one in diffs), sum(one > 0 for one in diffs), seed)
    return math.fsum(diffs) / len(diffs), p


def judged(evidence: GateEvidence, rules: GateRules) -> Ruling | None:
    """Judges may search; they promote only where they agree with the project's own labels."""
    if evidence.judges is None:
        return None
    told = "; ".join(_calibrated(one) for one in evidence.judges) or "no judge has been calibrated"
    passed = bool(evidence.judges) and all(
        one.kappa >= rules.judge_kappa and one.n >= rules.judge_labels for one in evidence.judges
    )
    return Ruling(
        rule="judge",
        passed=passed,
        sentence=f"Answers are scored by a judge: {told}. A judge counts from kappa {rules.judge_kappa:g} on, over "
        f"{rules.judge_labels} labels or more.",
        numbers={
            "kappa": min((one.kappa for one in evidence.judges), default=None),
            "n": min((one.n for one in evidence.judges), default=0),
            "least": rules.judge_kappa,
        },
    )


def _calibrated(one: JudgeCalibration) -> str:
    span = f" ({one.low:.2f} to {one.high:.2f})" if one.low is not None and one.high is not None else ""
    return f"{one.scorer} has kappa {one.kappa:.2f}{span} over n = {one.n} labels"


def reviewed(review: Reviewed | None) -> Ruling | None:
    if review is None:
        return None
    given = review.good + review.bad
    numbers: dict[str, Number] = {
        "needed": review.needed,
        "good": review.good,
        "bad": review.bad,
    }
    if given < review.needed:
        sentence = f"{given} of {review.needed} verdicts of reviewers are there."
        return Ruling(rule="review", passed=None, sentence=sentence, numbers=numbers)
    passed = review.bad <= review.most_bad * given
    sentence = f"Reviewers found {review.good} answers good and {review.bad} bad; {review.most_bad:.0%} may be bad."
    return Ruling(rule="review", passed=passed, sentence=sentence, numbers=numbers)
