"""Tables that no store covers, each with the reason: a table that is neither here nor a store's fails a test."""

_FIGURES = "sums and figures, of nobody in particular"
_OPERATORS = "what people of the house declare and decide; about end users nothing belongs in it"
_AUDIT = "leaves never change: of persons they hold keyed commitments, whose keys an erasure destroys"
_MACHINE = "how far a machine has come: ids, numbers and times"

TABLES: dict[str, str] = {
    **dict.fromkeys(
        (
            "control.organization", "control.project", "control.api_key", "control.principal", "control.role_binding",
            "control.breakglass", "control.prompt", "control.prompt_reference", "control.prompt_label",
            "control.prompt_move", "control.prompt_assignment", "control.declaration", "control.declaration_change",
            "control.approval_decision", "control.approval_request", "control.release", "control.release_evidence",
            "control.release_event", "control.review_queue", "control.scorer", "control.sampling",
            "control.scorer_calibration",
            "control.detector", "control.case_file", "control.case_action", "control.case_event", "control.alert",
            "control.breaker_trip", "control.webhook_endpoint", "control.declared_cost", "control.invoice",
            "control.triage_decision", "control.triage_inventory", "control.optimization_run",
            "control.holdout_look", "control.model_update", "control.retention_rule", "control.retention_sweep",
        ),
        _OPERATORS,
    ),
    "control.prompt_version": "immutable and governed: versions that quote an erased example are named in the receipt",
    "control.review_reservation": "which reviewer has an item in hand, for some minutes",
    "control.retention_hold": "a hold names a user by digest, for as long as the law asks",
    "control.erasure": "who is erased is sealed until it is done, and gone then",
    "control.retention_mark": _MACHINE,
    "control.retention_lease": _MACHINE,
    "control.notice": _MACHINE,
    "control.triage_round": _MACHINE,
    **dict.fromkeys(
        (
            "control.audit_head", "control.audit_leaf", "control.audit_node", "control.audit_text",
            "control.audit_subject_key", "control.audit_signer", "control.audit_checkpoint", "control.audit_receipt",
            "control.audit_witnessed", "control.audit_effect",
        ),
        _AUDIT,
    ),
    **dict.fromkeys(("traces.rollup", "traces.traffic", "traces.interaction", "traces.trial"), _FIGURES),
    **dict.fromkeys(("control.budget_lease", "control.budget_period", "traces.budget_touch"), _FIGURES),
    **dict.fromkeys(("traces.ledger_writer", "traces.ledger_loss"), _MACHINE),
    "traces.holdout_rule": _MACHINE,
    **dict.fromkeys(("traces.detector_cursor", "traces.detector_lease"), _MACHINE),
    **dict.fromkeys(("traces.detector_state", "traces.detector_alarm"), _FIGURES),
    **dict.fromkeys(("work.job_executor", "work.notify_health", "work.notify_cursor"), _MACHINE),
    **dict.fromkeys(
        ("work.notify_message", "work.notify_delivery"), "ids and figures, never texts; kept as [notifying] says"
    ),
}  # fmt: skip
"""``DATABASE.TABLE`` -> why. What DBOS keeps of jobs (``jobs.db``) is ids and counts, by the contract of ``jobs``."""
