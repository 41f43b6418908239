"""What to do with each family of requests: cache, optimize, both, review, leave; with reasons and what it is worth.

Decisions are proposals until somebody approves them, or a policy lets them pass at low stakes; they are made again as
evidence arrives, and do not flutter. Every decision is a leaf of the audit log. ``Triage`` looks, writes down and
carries out by what is bound to it; ``decide`` is the pure part. ``Audits`` asks again to see whether answers agree. The
inventory asks owners every ninety days about prompts that are stale, unowned, unused or drifting.
"""

from ostinato.triage.audits import Audits
from ostinato.triage.deciding import changes, decide
from ostinato.triage.inventory import Drifting, Inventory
from ostinato.triage.model import CHOICES, Choice, Decision, Evidence, Item, Reason, Row, Verdict
from ostinato.triage.settings import Settings
from ostinato.triage.triage import Gained, Rooms, Served, Triage

__all__ = [
    "CHOICES",
    "Audits",
    "Choice",
    "Decision",
    "Drifting",
    "Evidence",
    "Gained",
    "Inventory",
    "Item",
    "Reason",
    "Rooms",
    "Row",
    "Served",
    "Settings",
    "Triage",
    "Verdict",
    "changes",
    "decide",
]
