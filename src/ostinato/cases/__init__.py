"""Alerts, and the cases that they open: evidence, severity, owner, playbook, and every step on the way to *closed*.

A case moves from detected through triaged, proposed, approved and executed to verified and closed; each move is a leaf
of the audit log. Its actions (flush a scope, open a breaker, roll back a release ...) are named and bound from above.
"""

from ostinato.cases.model import Action, ActionName, Alarm, Alert, Case, Dossier, Event, Kind, Scope, Severity, Standing
from ostinato.cases.settings import Settings

__all__ = [
    "Action",
    "ActionName",
    "Alarm",
    "Alert",
    "Case",
    "Dossier",
    "Event",
    "Kind",
    "Scope",
    "Settings",
    "Severity",
    "Standing",
]
