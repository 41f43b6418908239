"""Who may call, how fast, and for how much money: organizations, projects, API keys, rates and budgets.

``Access`` is built once by ``app``. Its hot path (``authenticate``, ``admit``, ``enter``, ``leave``, and
``budgets.reserve`` in the common case) reads memory only; keys come from a snapshot that is swapped whole when
something changes, also in another process. Its other methods change things: each takes the acting ``Caller`` (or a
``SystemActor``), asks for a permission of the page ``permissions``, and never lets a key give what it does not have.
Secrets are shown once and kept as SHA-256. What operators can set is in ``settings``.
"""

from ostinato.access import fields, permissions
from ostinato.access.authority import Grant
from ostinato.access.budgets import Budgets, Reservation
from ostinato.access.gate import Access
from ostinato.access.issue import KeyChanges
from ostinato.access.leases import BudgetState
from ostinato.access.limits import RateState
from ostinato.access.manage import ProjectChanges
from ostinato.access.model import (
    Account,
    Actor,
    ApiKey,
    Caller,
    MoneyBudget,
    Organization,
    Project,
    RateLimit,
    Resource,
    Rule,
    SystemActor,
    actor_name,
    principal_of,
)
from ostinato.access.settings import Settings

__all__ = [
    "Access",
    "Account",
    "Actor",
    "ApiKey",
    "BudgetState",
    "Budgets",
    "Caller",
    "Grant",
    "KeyChanges",
    "MoneyBudget",
    "Organization",
    "Project",
    "ProjectChanges",
    "RateLimit",
    "RateState",
    "Reservation",
    "Resource",
    "Rule",
    "Settings",
    "SystemActor",
    "actor_name",
    "fields",
    "permissions",
    "principal_of",
]
