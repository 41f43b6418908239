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
        "answers that can be reconstructed whole (release, input digest, provenance, approvals, proofs) / "
        "sampled, evenly over the window",
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
        "median(last answer of the release by any process - decision), at most, counted by ten seconds; how long the "
        "releases had stood is told beside it",
        "seconds",
        "lower",
    ),
    _told(
        "improvement_cycle_time",
        "Cycle time of an improvement",
        "median(in force - issue detected), split into detect, propose, evaluate, approve and roll out; from the run's "
        "start or the proposal where no case began it, which is told",
        "seconds",
        "lower",
    ),
)
