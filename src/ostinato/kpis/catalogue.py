"""All KPIs by name, and the few that each use case looks at daily."""

from collections.abc import Iterable, Mapping

from ostinato.core.errors import Invalid
from ostinato.kpis import cache, flow, governance, money, operations, quality
from ostinato.kpis.model import Kpi

CATALOGUE: Mapping[str, Kpi] = {
    one.name: one
    for group in (flow.KPIS, cache.KPIS, money.KPIS, quality.KPIS, governance.KPIS, operations.KPIS)
    for one in group
}

PRESETS: Mapping[str, tuple[str, ...]] = {
    "support": (
        "containment",
        "true_containment",
        "csat",
        "first_pass_success",
        "time_to_answer_p50",
        "time_to_answer_p95",
        "response_hit_p95",
        "response_miss_p95",
        "cost_per_success",
    ),
    "developer": (
        "resolution_rate",
        "time_to_answer_p50",
        "time_to_answer_p95",
        "first_pass_success",
        "task_success_rate",
        "satisfaction",
        "cost_per_success",
    ),
    "search": (
        "precision_at_k",
        "recall_at_k",
        "mrr",
        "ndcg",
        "satisfaction",
        "hit_rate",
        "response_hit_p95",
        "response_miss_p95",
    ),
    "compliance": (
        "auditability",
        "audit_freshness",
        "drift_index",
        "judge_reliability",
        "change_failure_rate",
        "rollback_time",
        "failure_modes",
        "pricing_coverage",
    ),
}
"""Support chatbot, internal developer assistant, knowledge-base search, compliance and risk audit."""


def chosen(names: Iterable[str] = (), preset: str = "") -> tuple[Kpi, ...]:
    """The KPIs of these names, or of a preset, or all; each with what it is always shown with.

    Raises ``Invalid`` for what is not in the catalogue.
    """
    wanted = list(names)
    if preset:
        if preset not in PRESETS:
            raise Invalid(f"There is no preset {preset[:40]!r}.", param="preset", hint=", ".join(PRESETS))
        wanted += PRESETS[preset]
    found: dict[str, Kpi] = {}
    for name in wanted or CATALOGUE:
        if name not in CATALOGUE:
            raise Invalid(
                f"There is no KPI {name[:60]!r}.", code="unknown_kpi", param="names", hint="All: ostinato kpis list"
            )
        for one in (name, *CATALOGUE[name].pairs):
            found.setdefault(one, CATALOGUE[one])
    return tuple(found.values())
