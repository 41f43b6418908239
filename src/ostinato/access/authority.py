"""Who may do what to which object: reach (which projects an actor sees) and cover (no key makes a stronger one).

Two questions are kept apart. *Reach*: an object outside of it does not exist for the actor (``NotFound``, never a hint
that it is there). *Cover*: an actor manages only keys that can do no more than it can itself; else a key that may
create keys could make, change or rotate its way to rights, models, money or time that it was never given.
"""

import msgspec
import sqlalchemy as sa

from ostinato.access import permissions, tables
from ostinato.access.model import Actor, ApiKey, Caller, MoneyBudget, RateLimit, SystemActor
from ostinato.core import money
from ostinato.core.errors import Denied


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key is given. Where the creator is limited, ``None`` means: as much as the creator may."""

    permissions: frozenset[str] = permissions.ROLES["service"]
    allowed_models: frozenset[str] | None = None
    end_user_required: bool = False
    may_act_for_users: bool = True
    rate: RateLimit | None = None
    budget: MoneyBudget | None = None
    expires_at: int | None = None
    """UTC microseconds."""


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


def purses(actor: Actor) -> tuple[str, ...]:
    """The purses that whatever the actor creates must be paid from too."""
    if isinstance(actor, SystemActor):
        return ()
    return tuple(account.id for account in actor.accounts if account.id.startswith("key:"))


def narrow(actor: Actor, grant: Grant) -> Grant:
    """``grant`` with its open limits closed to the actor's own. Raises :class:`Denied` where it asks for more."""
    if isinstance(actor, SystemActor):
        return grant
    extra = sorted(grant.permissions - actor.permissions)
    if extra:
        raise _exceeds(f"it lacks the permission {', '.join(extra)}")
    models = grant.allowed_models
    if actor.allowed_models is not None:
        models = actor.allowed_models if models is None else models
        if not models <= actor.allowed_models:
            raise _exceeds(f"it may not call {', '.join(sorted(models - actor.allowed_models)[:5])}")
    return msgspec.structs.replace(
        grant,
        allowed_models=models,
        end_user_required=_end_user(actor, grant),
        may_act_for_users=_act_for_users(actor, grant),
        rate=_rate(actor, grant.rate),
        budget=_budget(actor, grant.budget),
        expires_at=_expiry(actor, grant.expires_at),
    )


def cover(actor: Actor, key: ApiKey) -> None:
    """Raise :class:`Denied` unless ``key`` can do no more than ``actor``, who wants to change or replace it."""
    if isinstance(actor, SystemActor) or actor.key_id == key.id:
        return
    models = actor.allowed_models
    covered = (
        key.permissions <= actor.permissions
        and (models is None or (key.allowed_models is not None and key.allowed_models <= models))
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
