"""What it costs, per success and in all, and what it spares: dollars, at declared rates where people work."""

from ostinato.kpis.measuring import NOTHING, dollars, none, per, share
from ostinato.kpis.model import Facts, Kpi, Reading

_UNCUT = ("intent", "prompt", "release", "arm")


def _own(facts: Facts) -> dict[str, float]:
    """What calls of our own cost, by what they were made for."""
    return {name: dollars(cell["cost"]) for name, cell in facts.own.items() if cell["cost"]}


def _review(facts: Facts) -> dict[str, object]:
    """Reviewers' time for the detail of a figure: dollars, or why there are none."""
    return {"review": facts.review} if facts.review is not None else {"review_missing": facts.review_missing}


def _total(facts: Facts) -> float:
    """What interactions cost: calls of models for them, our own calls, and reviewers' time as far as it is known."""
    return dollars(facts.traffic["cost"]) + sum(_own(facts).values()) + (facts.review or 0.0)


def _cost_per_success(facts: Facts) -> Reading:
    found = facts.interactions
    own = _own(facts)
    total = _total(facts)
    return per(
        total,
        found["success"],
        found["interactions"],
        facts.confidence,
        detail={
            "traffic": dollars(facts.traffic["cost"]),
            "own": own,
            **_review(facts),
            "confirmed": found["confirmed"],
            "told": found["told"],
        },
    )


def _cost_per_interaction(facts: Facts) -> Reading:
    n = facts.interactions["interactions"]
    if n <= 0:
        return none()
    total = _total(facts)
    return Reading(value=total / n, n=n, detail={"cost": total, **_review(facts)})


def _spent(facts: Facts) -> Reading:
    if facts.traffic["requests"] <= 0 and not facts.own:
        return none()
    own = _own(facts)
    traffic = dollars(facts.traffic["cost"])
    return Reading(value=traffic + sum(own.values()), n=facts.traffic["requests"], detail={"traffic": traffic, **own})


def _coverage(facts: Facts) -> Reading:
    names = ("input", "cache_read", "cache_write", "output", "reasoning", "avoided")
    tokens = sum(facts.traffic[name] for name in names)
    if tokens <= 0:
        return none("no tokens were counted in this window")
    priced = facts.traffic["priced"]
    return Reading(value=priced / tokens, n=tokens, detail={"priced": priced})


def _avoided(facts: Facts) -> Reading:
    found = facts.interactions
    if found["timed"] <= 0:
        return none("nobody has told the time that an interaction saved: outcome `time_saved`, in minutes")
    per_one = found["seconds"] / 3600 / found["timed"]
    hours = per_one * found["resolved"] if found["resolved"] > 0 else 0.0
    if facts.hourly_rate is None:
        return none("no rate is declared: [kpis] hourly_rate", {"minutes": hours * 60, "resolved": found["resolved"]})
    told = {"minutes": hours * 60, "resolved": found["resolved"], "rate": facts.hourly_rate, **_review(facts)}
    return Reading(value=hours * facts.hourly_rate - (facts.review or 0.0), n=found["timed"], detail=told)


def _cache_saving(facts: Facts) -> Reading:
    requests = facts.traffic["requests"]
    if requests <= 0:
        return none()
    saved = dollars(facts.traffic["saved"])
    part = share(facts.traffic["saved"], facts.traffic["counterfactual"], facts.confidence, NOTHING)
    return Reading(value=saved, n=requests, detail={"share_of_counterfactual": part.value})


KPIS: tuple[Kpi, ...] = (
    Kpi(
        name="cost_per_success",
        group="money",
        title="Cost per successful interaction",
        formula="(calls of models + embeddings + judges + optimization + reviewers' time) / successes: confirmed, or "
        "accepted on the first answer where nobody told; costs spent in the window, spread over its own successes",
        unit="dollars",
        better="lower",
        pairs=("outcome_coverage", "pricing_coverage"),
        of=_cost_per_success,
    ),
    Kpi(
        name="cost_per_interaction",
        group="money",
        title="Cost per interaction",
        formula="the same costs / interactions",
        unit="dollars",
        better="lower",
        of=_cost_per_interaction,
    ),
    Kpi(
        name="spent",
        group="money",
        title="Spent",
        formula="cost of all calls, those of our own beside the traffic's",
        unit="dollars",
        better="lower",
        pairs=("pricing_coverage",),
        of=_spent,
    ),
    Kpi(
        name="cache_saving",
        group="money",
        title="Saved by the response cache",
        formula="what hits would have cost; overheads and wrong answers are in accounted_saving",
        unit="dollars",
        better="higher",
        pairs=("accounted_saving",),
        of=_cache_saving,
        cuts=_UNCUT,
    ),
    Kpi(
        name="pricing_coverage",
        group="money",
        title="Pricing coverage",
        formula="tokens with a known price / all tokens, spent and avoided",
        unit="share",
        better="higher",
        of=_coverage,
    ),
    Kpi(
        name="avoided_manual_work",
        group="money",
        title="Avoided manual work",
        formula="minutes saved per interaction x resolved interactions x hourly rate - reviewers' time at theirs",
        unit="dollars",
        better="higher",
        of=_avoided,
    ),
    Kpi(
        name="operating_cost",
        group="money",
        title="Operating cost",
        formula="infrastructure and tools, as declared per month, for the length of the window; reviewers' time at its "
        "rate",
        unit="dollars",
        better="lower",
        cuts=(),
    ),
    Kpi(
        name="accounted_saving",
        group="money",
        title="Net saving, accounted",
        formula="hits (counterfactual - spent) + token savings of releases - overheads - cost of wrong answers",
        unit="dollars",
        better="higher",
        pairs=("holdout_saving", "quality_noninferiority"),
        cuts=(),
        slow=True,
    ),
    Kpi(
        name="holdout_saving",
        group="money",
        title="Net saving, by the hold-out",
        formula="N x (mean cost held out - mean cost treated), with a confidence sequence",
        unit="dollars",
        better="higher",
        pairs=("accounted_saving",),
        cuts=(),
        slow=True,
    ),
    Kpi(
        name="saving_ratio",
        group="money",
        title="Accounted over hold-out",
        formula="accounted_saving / holdout_saving",
        unit="ratio",
        cuts=(),
        slow=True,
    ),
    Kpi(
        name="optimization_payback",
        group="money",
        title="Payback of optimization",
        formula="spend on optimization and evaluation / net saving per day",
        unit="days",
        better="lower",
        cuts=(),
        slow=True,
    ),
)
