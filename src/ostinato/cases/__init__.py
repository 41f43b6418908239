"""Alerts, and the cases that they open: evidence, severity, owner, playbook, and every step on the way to *closed*.

``Cases.on_alarm`` takes what detectors, alerts and watches find; alarms of one key join one case. A case moves from
detected through triaged, proposed, approved (or automatic) and executed to verified and closed; each move is a leaf of
the audit log. Its actions (flush a scope, open a breaker, roll back a release ...) are named here and bound from above
by ``Cases.bind``. ``Alerts`` are declared thresholds; ``Watcher`` looks at all of it on the clock.
"""

from ostinato.cases.alerts import Alerts
from ostinato.cases.cases import Cases, Order, Tell
from ostinato.cases.figures import Figures
from ostinato.cases.model import (
    Action,
    ActionName,
    Alarm,
    Alert,
    Case,
    Dossier,
    Event,
    Handled,
    Kind,
    Scope,
    Severity,
    Standing,
)
from ostinato.cases.moves import EFFECT
from ostinato.cases.settings import Automatic, Settings
from ostinato.cases.watching import Watch, Watcher

__all__ = [
    "EFFECT",
    "Action",
    "ActionName",
    "Alarm",
    "Alert",
    "Alerts",
    "Automatic",
    "Case",
    "Cases",
    "Dossier",
    "Event",
    "Figures",
    "Handled",
    "Kind",
    "Order",
    "Scope",
    "Settings",
    "Severity",
    "Standing",
    "Tell",
    "Watch",
    "Watcher",
]
