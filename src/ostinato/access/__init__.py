"""Who may call, how fast, and for how much money: organizations, projects, API keys, rates and budgets.

``Access`` is built once by ``app``. Its hot path (``authenticate``, ``admit``, ``enter``, ``leave``, and
``budgets.reserve`` in the common case) reads memory only; keys come from a snapshot that is swapped whole when
something changes, also in another process. Its other methods change things: each takes the acting ``Caller`` (or a
``SystemActor``), asks for a permission of the page ``permissions``, and never lets a key give what it does not have.
Secrets are shown once and kept as SHA-256. What operators can set is in ``settings``.

People and services are *principals*; roles are bound to them (``bindings``), and what a key may do on use follows from
its own grant, its makers and its principal (``rights``). Every change writes its leaf of the audit log with it.
"""

from ostinato.access import fields, permissions
from ostinato.access.authority import Grant
from ostinato.access.bindings import Wanted
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
    Binding,
    BreakGlass,
    Caller,
    MoneyBudget,
    Organization,
    Principal,
    Project,
    RateLimit,
    Resource,
    Rule,
    SystemActor,
    actor_name,
    principal_of,
)
from ostinato.access.principals import PrincipalChanges
from ostinato.access.settings import Settings

__all__ = [
    "Access",
    "Account",
    "Actor",
    "ApiKey",
    "Binding",
    "BreakGlass",
    "BudgetState",
    "Budgets",
    "Caller",
    "Grant",
    "KeyChanges",
    "MoneyBudget",
    "Organization",
    "Principal",
    "PrincipalChanges",
    "Project",
    "ProjectChanges",
    "RateLimit",
    "RateState",
    "Reservation",
    "Resource",
    "Rule",
    "Settings",
    "SystemActor",
    "Wanted",
    "actor_name",
    "fields",
    "permissions",
    "principal_of",
]
