"""How it runs: errors, and what they were."""

from ostinato.kpis.measuring import none, share
from ostinato.kpis.model import Facts, Kpi, Reading

_CLASSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("timeout", ("timeout", "deadline", "504")),
    ("cut stream", ("cut", "truncated", "stream", "disconnected", "incomplete")),
    ("format", ("format", "schema", "json", "malformed", "invalid_answer")),
    ("refusal", ("refus", "content_filter")),
    ("policy", ("blocked", "policy", "check", "forbidden", "denied", "limit", "budget", "429", "403", "401")),
    ("caller", ("invalid", "not_found", "unknown", "too_large", "400", "404", "413", "422")),
    ("provider", ("provider", "upstream", "overloaded", "rate", "unavailable", "connect", "server", "50")),
)
"""The closed list of failure classes, by parts of the ledger's error codes; the first that fits. The rest is ours."""


def class_of(error: str) -> str:
    """The class of an error of the ledger."""
    text = error.lower()
    return next((name for name, parts in _CLASSES if any(part in text for part in parts)), "our own")


def _errors(facts: Facts) -> Reading:
    return share(
        facts.traffic["errors"],
        facts.traffic["requests"],
        facts.confidence,
        detail={"by_code": dict(facts.traffic.detail.errors), "asides": facts.traffic["asides"]},
    )


def _failures(facts: Facts) -> Reading:
    """Requests that failed, retrievals and answers that were told to be wrong, as a Pareto."""
    found: dict[str, int] = {}
    for error, count in facts.traffic.detail.errors.items():
        found[class_of(error)] = found.get(class_of(error), 0) + count
    for (source, name), one in facts.signals.items():
        bad = one["bad"]
        if source == "scorer" and name.startswith(("precision", "recall", "mrr", "ndcg")) and bad > 0:
            found["retrieval"] = found.get("retrieval", 0) + bad
        elif source == "review" and bad > 0:
            found["wrong answer"] = found.get("wrong answer", 0) + bad
    requests = facts.traffic["requests"]
    if requests <= 0:
        return none()
    total = sum(found.values())
    pareto: list[dict[str, object]] = []
    running = 0
    for name, count in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        running += count
        pareto.append({"class": name, "count": count, "share": count / total, "cumulative": running / total})
    return share(total, requests, facts.confidence, detail={"pareto": pareto})


KPIS: tuple[Kpi, ...] = (
    Kpi(
        name="error_rate",
        group="operations",
        title="Errors",
        formula="requests that ended in an error, the caller's own mistakes included / requests for answers or "
        "vectors; what is asked beside these (lists of models, counts of tokens, feedback) is told as asides",
        unit="share",
        better="lower",
        of=_errors,
    ),
    Kpi(
        name="failure_modes",
        group="operations",
        title="Failure modes",
        formula="failures per request, each class of a closed list beside it: provider, timeout, cut stream, format, "
        "refusal, policy, retrieval, wrong answer, caller, our own",
        unit="share",
        better="lower",
        of=_failures,
    ),
    Kpi(
        name="drift_index",
        group="operations",
        title="Drift index",
        formula="max over detectors of statistic / threshold; above 1 one has raised an alarm",
        unit="ratio",
        better="lower",
        cuts=(),
    ),
)
