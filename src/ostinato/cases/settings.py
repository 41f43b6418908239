"""``[cases]``: how often is looked, how long cases may wait, and what may be done without anybody's word."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from ostinato.cases.model import SEVERITIES, ActionName, Kind, Severity
from ostinato.core.errors import Invalid

_HOURS: Mapping[Severity, float] = MappingProxyType({"critical": 1.0, "high": 4.0, "medium": 24.0, "low": 72.0})


class Automatic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action that is carried out by itself when a case of a kind is opened."""

    kind: Kind
    action: ActionName
    stakes: Literal["low", "medium"] = "low"
    """Up to which stakes of the intent; above medium somebody always has to say yes."""
    params: dict[str, str | int | float | bool] = {}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[cases]``."""

    watch_seconds: float = 15.0
    """How often alerts, watches and due times are looked at."""
    reopen_days: float = 14.0
    """An alarm that comes back so soon opens its case again; later it opens another."""
    verify_seconds: float = 900.0
    """How long after an action is looked whether it helped."""
    quiet_hours: float = 24.0
    """How long a dismissed alarm is only counted."""
    action_seconds: float = 60.0
    """How long an action may take."""
    due_hours: dict[Severity, float] = {}
    """How long a case may stay in one state, by severity. Left out: 1 (critical), 4 (high), 24 (medium), 72 (low).
    A change holds for cases that are open, too: made shorter, none has longer than that from now on, and none is late
    at once; made longer, it holds from a case's next state on."""
    operator: str = "operator"
    """Who looks where the intent has no owner."""
    automatic: tuple[Automatic, ...] = ()
    """What is carried out by itself; nothing, unless it stands here."""
    open_cases: int = 5_000
    """Cases that one project may have open; alarms beyond are counted."""
    alerts: int = 200
    """Alerts that one project may declare."""

    def due(self, severity: Severity) -> int:
        """Microseconds that a case may stay in one state."""
        return int(self.due_hours.get(severity, _HOURS[severity]) * 3_600_000_000)

    def check(self) -> None:
        """Raise ``Invalid`` for bounds that cannot be."""
        bounds = {
            "watch_seconds": (0.1, 3_600),
            "reopen_days": (0, 3_650),
            "verify_seconds": (1, 604_800),
            "quiet_hours": (0, 8_760),
            "action_seconds": (1, 3_600),
            "open_cases": (1, 1_000_000),
            "alerts": (1, 10_000),
        }
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise Invalid(f"It is from {least:g} to {most:g}.", code="invalid_setting", param=f"cases.{name}")
        for severity in SEVERITIES:
            hours = self.due_hours.get(severity, _HOURS[severity])
            if not (math.isfinite(hours) and 0 < hours <= 8_760):
                raise Invalid(
                    "A case may wait up to a year.", code="invalid_setting", param=f"cases.due_hours.{severity}"
                )
        if not 0 < len(self.operator) <= 200:
            raise Invalid("Name who looks: 1 to 200 characters.", code="invalid_setting", param="cases.operator")
