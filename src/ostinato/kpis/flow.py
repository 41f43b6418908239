"""How interactions go: accepted at once, contained, resolved, liked; and how long that took."""

from collections.abc import Callable
from functools import partial

from ostinato.kpis.measuring import mean, none, percentile, share
from ostinato.kpis.model import Facts, Kpi, Reading

_UNTOLD = "nobody has told an outcome of an interaction in this window"


def _of_all(name: str, detail: tuple[str, ...] = ()) -> Callable[[Facts], Reading]:
    """A count of interactions, out of all of them."""

    def read(facts: Facts) -> Reading:
        found = facts.interactions
        more = {one: found[one] for one in detail}
        return share(found[name], found["interactions"], facts.confidence, detail=more)

    return read


def _of_told(name: str) -> Callable[[Facts], Reading]:
    """The same; without a value where nobody tells outcomes at all."""

    def read(facts: Facts) -> Reading:
        found = facts.interactions
        if not found["told"]:
            return none(_UNTOLD, {"interactions": found["interactions"]})
        return share(found[name], found["interactions"], facts.confidence, detail={"told": found["told"]})

    return read


def _less(name: str) -> Callable[[Facts], Reading]:
    """What is left of all interactions without these."""

    def read(facts: Facts) -> Reading:
        found = facts.interactions
        if not found["told"]:
            return none(_UNTOLD, {"interactions": found["interactions"]})
        n = found["interactions"]
        return share(n - found[name], n, facts.confidence, detail={"told": found["told"], name: found[name]})

    return read


def _csat(facts: Facts) -> Reading:
    found = facts.interactions
    n = found["rated"]
    average = found["rating"] / n if n > 0 else None
    rate = n / found["interactions"] if found["interactions"] > 0 else None
    detail = {"mean": average, "response_rate": rate}
    return share(found["satisfied"], n, facts.confidence, "nobody has rated an interaction", detail)


def _response_rate(facts: Facts) -> Reading:
    return share(facts.interactions["rated"], facts.interactions["interactions"], facts.confidence)


def _task_success(facts: Facts) -> Reading:
    found = facts.interactions
    return share(found["task_done"], found["task_told"], facts.confidence, "nobody has told whether a task was done")


def _saved_minutes(facts: Facts) -> Reading:
    found = facts.interactions
    minutes, squares = found["seconds"] / 60, found["seconds_squares"] / 3600
    why = "nobody has told the time that an interaction saved"
    return mean(found["timed"], minutes, squares, facts.confidence, why, {"total": minutes})


def _taken(which: str, below: float, facts: Facts) -> Reading:
    return percentile(getattr(facts.interactions.detail, which), below, facts.confidence)


def _latency(which: str, below: float, facts: Facts) -> Reading:
    return percentile(getattr(facts.traffic.detail, which), below, facts.confidence)


def _interaction_time(name: str, which: str, below: float, title: str, formula: str) -> Kpi:
    return Kpi(
        name=name,
        group="flow",
        title=title,
        formula=formula,
        unit="seconds",
        better="lower",
        of=partial(_taken, which, below),
    )


def _latencies(which: str, stem: str, title: str, formula: str, marks: tuple[int, ...]) -> tuple[Kpi, ...]:
    return tuple(
        Kpi(
            name=f"{stem}_p{mark}",
            group="flow",
            title=f"{title}, p{mark}",
            formula=formula,
            unit="seconds",
            better="lower",
            of=partial(_latency, which, mark / 100),
        )
        for mark in marks
    )


KPIS: tuple[Kpi, ...] = (
    Kpi(
        name="first_pass_success",
        group="flow",
        title="First-pass success",
        formula="interactions accepted on the first answer (no error, repetition, edit, escalation or bad feedback "
        "within the window) / interactions",
        unit="share",
        better="higher",
        of=_of_all("first_pass", ("failed", "reworked", "disliked", "escalated", "conversations")),
    ),
    Kpi(
        name="containment",
        group="flow",
        title="Containment",
        formula="interactions that ended without a hand-off / interactions",
        unit="share",
        better="higher",
        pairs=("reopen_rate",),
        of=_less("escalated"),
    ),
    Kpi(
        name="true_containment",
        group="flow",
        title="True containment",
        formula="interactions neither handed off, nor reopened within 72 hours, nor abandoned / interactions",
        unit="share",
        better="higher",
        pairs=("reopen_rate",),
        of=_less("uncontained"),
    ),
    Kpi(
        name="reopen_rate",
        group="flow",
        title="Reopened",
        formula="interactions reopened within 72 hours / interactions",
        unit="share",
        better="lower",
        of=_of_told("reopened"),
    ),
    Kpi(
        name="abandonment_rate",
        group="flow",
        title="Abandoned",
        formula="interactions abandoned / interactions",
        unit="share",
        better="lower",
        of=_of_told("abandoned"),
    ),
    Kpi(
        name="resolution_rate",
        group="flow",
        title="Resolution",
        formula="interactions told to be resolved / interactions: those of which nobody tells stay below the line",
        unit="share",
        better="higher",
        pairs=("outcome_coverage",),
        of=_of_told("resolved"),
    ),
    Kpi(
        name="outcome_coverage",
        group="flow",
        title="Outcomes told",
        formula="interactions of which an outcome was told / interactions",
        unit="share",
        better="higher",
        of=_of_all("told"),
    ),
    Kpi(
        name="csat",
        group="flow",
        title="Satisfaction (CSAT)",
        formula="ratings of 4 or 5 / ratings",
        unit="share",
        better="higher",
        pairs=("csat_response_rate",),
        of=_csat,
    ),
    Kpi(
        name="csat_response_rate",
        group="flow",
        title="Rated",
        formula="interactions that were rated / interactions",
        unit="share",
        better="higher",
        of=_response_rate,
    ),
    Kpi(
        name="task_success_rate",
        group="flow",
        title="Task success",
        formula="tasks done / interactions of which that was told",
        unit="share",
        better="higher",
        pairs=("outcome_coverage",),
        of=_task_success,
    ),
    Kpi(
        name="automation_reliability",
        group="flow",
        title="Automation reliability",
        formula="interactions finished without a person (no hand-off, reopening or abandonment) and without rework or "
        "errors / interactions",
        unit="share",
        better="higher",
        of=_of_all("unaided", ("told",)),
    ),
    Kpi(
        name="time_saved",
        group="flow",
        title="Time saved per interaction",
        formula="mean of the minutes that were told",
        unit="minutes",
        better="higher",
        of=_saved_minutes,
    ),
    _interaction_time(
        "time_to_answer_p50", "answer", 0.5, "Time to answer, p50", "accepted answer - first question, by interaction"
    ),
    _interaction_time(
        "time_to_answer_p95", "answer", 0.95, "Time to answer, p95", "accepted answer - first question, by interaction"
    ),
    _interaction_time("task_time_p50", "task", 0.5, "Cycle time of a task, p50", "last byte - first question"),
    _interaction_time("task_time_p95", "task", 0.95, "Cycle time of a task, p95", "last byte - first question"),
    _interaction_time(
        "decision_time_p50",
        "decided",
        0.5,
        "Decision speed, p50",
        "what it came to (resolved, done, handed off) - first question, where that was told",
    ),
    *_latencies("hit", "response_hit", "Response time of hits", "requests answered from cache", (50, 95, 99)),
    *_latencies("miss", "response_miss", "Response time of misses", "requests that a model answered", (50, 95, 99)),
    *_latencies("first_token", "first_token", "Time to first token", "streamed misses", (50, 95)),
    *_latencies("per_token", "token_time", "Time per output token", "streamed misses, behind the first", (50, 95)),
)
