"""Who may do what to which object: reach (which projects an actor sees) and cover (no key makes a stronger one).

What is asked here is asked when something is written; ``rights`` holds it on use as well. Rights that are borrowed
(broken glass) let an actor act, but count for nothing when it gives: see :func:`_lasting`.

Two questions are kept apart. *Reach*: an object outside of it does not exist for the actor (``NotFound``, never a hint
that it is there). *Cover*: an actor manages only keys that can do no more than it can itself; else a key that may
create keys could make, change or rotate its way to rights, models, money or time that it was never given.
"""

import msgspec
import sqlalchemy as sa

from ostinato.access import permissions, scoping, tables
from ostinato.access.model import (
    Actor,
    ApiKey,
    Caller,
    MoneyBudget,
    RateLimit,
    Resource,
    Rule,
    SystemActor,
    principal_of,
)
from ostinato.core import money
from ostinato.core.errors import Denied


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key is given. Where the creator is limited, ``None`` means: as much as the creator may."""

    permissions: frozenset[str] | None = None
    """``None``: a service's, as far as the creator has them."""
    allowed_models: frozenset[str] | None = None
    end_user_required: bool = False
    may_act_for_users: bool = True
    rate: RateLimit | None = None
    budget: MoneyBudget | None = None
    expires_at: int | None = None
    """UTC microseconds."""
    allowed_intents: frozenset[str] | None = None


def visible_organizations(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on ``organization`` that an actor's look-ups carry."""
    if permissions.allows(actor, "organizations:write") or permissions.allows(actor, "organizations:read"):
        return sa.true()
    assert isinstance(actor, Caller)
    return tables.organization.c.id == actor.org


def visible_projects(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on ``project`` that an actor's look-ups carry: its own, its organization's, or all."""
    if permissions.allows(actor, "organizations:write"):
        return sa.true()
    assert isinstance(actor, Caller)
    if permissions.allows(actor, "projects:write"):
        return tables.project.c.org_id == actor.org
    return tables.project.c.id == actor.project


def visible_keys(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on ``api_key`` that an actor's look-ups carry."""
    if permissions.allows(actor, "organizations:write"):
        return sa.true()
    assert isinstance(actor, Caller)
    if permissions.allows(actor, "projects:write"):
        return tables.api_key.c.org_id == actor.org
    return tables.api_key.c.project_id == actor.project


def visible_principals(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on ``principal`` that an actor's look-ups carry: its organization's, or all."""
    return _of_organization(actor, tables.principal)


def visible_bindings(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on ``role_binding`` that an actor's look-ups carry."""
    return _of_organization(actor, tables.role_binding)


def visible_glasses(actor: Actor) -> sa.ColumnElement[bool]:
    """The condition on ``breakglass`` that an actor's look-ups carry."""
    return _of_organization(actor, tables.breakglass)


def _of_organization(actor: Actor, table: sa.Table) -> sa.ColumnElement[bool]:
    if permissions.allows(actor, "organizations:write"):
        return sa.true()
    assert isinstance(actor, Caller)
    return table.c.org_id == actor.org


def purses(actor: Actor) -> tuple[str, ...]:
    """The purses that whatever the actor creates must be paid from too."""
    if isinstance(actor, SystemActor):
        return ()
    return tuple(account.id for account in actor.accounts if account.id.startswith("key:"))


def narrow(actor: Actor, grant: Grant) -> Grant:
    """``grant`` with its open limits closed to the actor's own. Raises :class:`Denied` where it asks for more."""
    service = permissions.ROLES["service"]
    if isinstance(actor, SystemActor):
        return grant if grant.permissions is not None else msgspec.structs.replace(grant, permissions=service)
    has = _lasting(actor)[0]
    wanted = (service & has) or service if grant.permissions is None else grant.permissions
    extra = sorted(wanted - has)
    if extra:
        raise _exceeds(f"it lacks {', '.join(extra)}")
    return msgspec.structs.replace(
        grant,
        permissions=wanted,
        allowed_models=_names(actor.allowed_models, grant.allowed_models, "call"),
        allowed_intents=_names(actor.allowed_intents, grant.allowed_intents, "use prompts of the intent"),
        end_user_required=_end_user(actor, grant),
        may_act_for_users=_act_for_users(actor, grant),
        rate=_rate(actor, grant.rate),
        budget=_budget(actor, grant.budget),
        expires_at=_expiry(actor, grant.expires_at),
    )


def cover(actor: Actor, key: ApiKey, *, ending: bool = False) -> None:
    """Raise :class:`Denied` unless ``key`` can do no more than ``actor``, who wants to change or replace it.

    ``ending``: to revoke it, for which borrowed rights are good enough.
    """
    if isinstance(actor, SystemActor) or actor.key_id == key.id or (ending and actor.glass is not None):
        return
    covered = (
        key.permissions <= _lasting(actor)[0]
        and _fewer(key.allowed_models, actor.allowed_models)
        and _fewer(key.allowed_intents, actor.allowed_intents)
        and (key.end_user_required or not actor.end_user_required)
        and (actor.may_act_for_users or not key.may_act_for_users)
        and (actor.rate is None or (key.rate is not None and _slower(key.rate, actor.rate)))
        and set(purses(actor)) <= {key.account, *key.bound_by}
        and (actor.expires_at is None or (key.expires_at is not None and key.expires_at <= actor.expires_at))
    )
    if not covered:
        raise Denied(
            f"The key {actor.key_prefix} may not change the key {key.prefix}, which can do more than it can itself.",
            code="exceeds_creator",
            hint="Use a key with at least the same permissions, models, limits and lifetime.",
        )


def impersonate(actor: Actor, key: ApiKey, stands_for: str) -> None:
    """Raise :class:`Denied` unless ``actor`` may hold a secret of ``key``, behind which ``stands_for`` stands.

    Whoever could take a secret of somebody else's key could approve its own proposals with it. Keys that nobody is
    registered for and that only call models decide nothing; they may be replaced by whoever covers them.
    """
    if isinstance(actor, SystemActor) or stands_for == principal_of(actor):
        return
    if not key.principal and stands_for.startswith("key:") and key.permissions <= permissions.ROLES["service"]:
        return
    name_others(actor)


def name_for(actor: Actor, stands_for: str) -> None:
    """Raise :class:`Denied` unless ``actor`` may give more to a key behind which ``stands_for`` stands."""
    if not isinstance(actor, SystemActor) and stands_for != principal_of(actor):
        name_others(actor)


def name_others(actor: Actor) -> None:
    """Raise :class:`Denied` unless ``actor`` may hold keys that stand for somebody else."""
    if isinstance(actor, Caller) and "principals:write" not in _lasting(actor)[0]:
        raise Denied(
            f"The key {actor.key_prefix} may not issue or change a key that stands for somebody else.",
            code="foreign_principal",
            hint="It takes the permission principals:write, and not by broken glass.",
        )


def holds(actor: Actor, named: frozenset[str], on: Resource) -> None:
    """Raise :class:`Denied` unless ``actor`` itself has all of ``named`` on everything that ``on`` matches."""
    if isinstance(actor, SystemActor):
        return
    allowed, rules = _lasting(actor)
    missing = sorted(name for name in named if name not in allowed or not _everywhere(rules, name, on))
    if missing:
        raise _exceeds(f"it lacks {', '.join(missing[:5])}{' there' if on != Resource() else ''}")
    if on.project != actor.project and not allowed & {"projects:write", "organizations:write"}:
        raise _exceeds("it belongs to one project and does not reach beyond it")


def _everywhere(rules: tuple[Rule, ...], name: str, on: Resource) -> bool:
    limiting: set[str] = set()
    met: set[str] = set()
    for rule in rules:
        if name not in rule.permissions:
            continue
        if rule.effect == "deny":
            if scoping.overlap(rule.on, on):
                return False
        else:
            limiting.add(rule.layer)
            if scoping.subsumes(rule.on, on):
                met.add(rule.layer)
    return limiting == met


def _lasting(actor: Caller) -> tuple[frozenset[str], tuple[Rule, ...]]:
    """What the actor has of its own. Borrowed rights end; what was given with them would not."""
    return (actor.permissions, actor.rules) if actor.glass is None else (actor.glass.permissions, actor.glass.rules)


def _names(has: frozenset[str] | None, wanted: frozenset[str] | None, verb: str) -> frozenset[str] | None:
    if has is None or wanted is None:
        return has if wanted is None else wanted
    if not wanted <= has:
        raise _exceeds(f"it may not {verb} {', '.join(sorted(wanted - has)[:5])}")
    return wanted


def _fewer(names: frozenset[str] | None, limit: frozenset[str] | None) -> bool:
    return limit is None or (names is not None and names <= limit)


def _end_user(actor: Caller, grant: Grant) -> bool:
    # A plain False is what everybody gets who says nothing; it is tightened, not refused.
    return grant.end_user_required or actor.end_user_required


def _act_for_users(actor: Caller, grant: Grant) -> bool:
    return grant.may_act_for_users and actor.may_act_for_users


def _rate(actor: Caller, wanted: RateLimit | None) -> RateLimit | None:
    if actor.rate is None or wanted is None:
        return wanted or actor.rate
    if not _slower(wanted, actor.rate):
        raise _exceeds(f"its own rate is {actor.rate.requests} requests per {actor.rate.seconds:g} seconds")
    return wanted


def _slower(rate: RateLimit, limit: RateLimit) -> bool:
    return rate.requests <= limit.requests and rate.requests * limit.seconds <= limit.requests * rate.seconds


def _budget(actor: Caller, wanted: MoneyBudget | None) -> MoneyBudget | None:
    # Without one of its own the new key simply spends its creator's: see ``purses``.
    if wanted is not None and actor.budget is not None and wanted.nano > actor.budget.nano:
        raise _exceeds(f"its own budget is ${money.to_dollars(actor.budget.nano)} per {actor.budget.period}")
    return wanted


def _expiry(actor: Caller, wanted: int | None) -> int | None:
    if actor.expires_at is None or wanted is None:
        return wanted if actor.expires_at is None else actor.expires_at
    if wanted > actor.expires_at:
        raise _exceeds("it expires earlier itself")
    return wanted


def _exceeds(why: str) -> Denied:
    return Denied(
        f"This key may not give what it does not have: {why}.",
        code="exceeds_creator",
        hint="Ask for less, or use a key that has it.",
    )
