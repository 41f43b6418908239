"""Whether changes are made well, and answers can be accounted for: told by the rooms that know."""

from ostinato.kpis.model import Better, Kpi


def _told(name: str, title: str, formula: str, unit: str, better: Better, *pairs: str) -> Kpi:
    return Kpi(
        name=name,
        group="governance",
        title=title,
        formula=formula,
        unit=unit,
        better=better,
        pairs=pairs,
        cuts=(),
        slow=name == "auditability",
    )


KPIS: tuple[Kpi, ...] = (
    _told(
        "auditability",
        "Auditability",
        "answers that can be reconstructed whole (release, input digest, provenance, proofs) / sampled",
        "share",
        "higher",
        "audit_freshness",
    ),
    _told(
        "audit_freshness",
        "Audit freshness",
        "now - newest signed checkpoint of the audit log",
        "seconds",
        "lower",
    ),
    _told("change_failure_rate", "Change failures", "releases rolled back / releases started", "share", "lower"),
    _told(
        "rollback_time",
        "Rollback time",
        "median(rolled back - started): how long a bad release stood; processes follow within seconds",
        "seconds",
        "lower",
    ),
    _told(
        "improvement_cycle_time",
        "Cycle time of an improvement",
        "median(in force - proposed), split into approval and roll-out",
        "seconds",
        "lower",
    ),
)
