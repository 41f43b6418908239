"""Rows to structs and back, and the one query that fills the snapshot."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.access import tables
from ostinato.access.model import Account, ApiKey, Caller, MoneyBudget, Organization, Project, RateLimit
from ostinato.access.snapshot import AccessSnapshot, DeadKey

REMEMBERED = 90 * 86_400 * 1_000_000
"""How long a dead key's owner is told what happened, microseconds; later it is simply unknown."""

_KEY_FIELDS = ApiKey.__struct_fields__


def organization(row: Mapping[Any, Any]) -> Organization:
    """A row of ``organization``."""
    return Organization(**row)


def project(row: Mapping[Any, Any]) -> Project:
    """A row of ``project``."""
    values: dict[str, Any] = {**row, "budget": _budget(row["budget"])}
    return Project(**values)


def api_key(row: Mapping[Any, Any]) -> ApiKey:
    """A row of ``api_key``, without its digest."""
    values = {name: row[name] for name in _KEY_FIELDS}
    values["permissions"] = frozenset(values["permissions"])
    values["bound_by"] = tuple(values["bound_by"])
    values["budget"] = _budget(values["budget"])
    if values["allowed_models"] is not None:
        values["allowed_models"] = frozenset(values["allowed_models"])
    if values["rate"] is not None:
        values["rate"] = msgspec.convert(values["rate"], RateLimit)
    return ApiKey(**values)


def project_row(value: Project) -> dict[str, object]:
    """The columns of ``project``."""
    return {**msgspec.structs.asdict(value), "budget": msgspec.to_builtins(value.budget)}


def api_key_row(value: ApiKey) -> dict[str, object]:
    """The columns of ``api_key`` except the digest."""
    models = value.allowed_models
    return {
        **msgspec.structs.asdict(value),
        "permissions": sorted(value.permissions),
        "allowed_models": None if models is None else sorted(models),
        "rate": msgspec.to_builtins(value.rate),
        "budget": msgspec.to_builtins(value.budget),
        "bound_by": list(value.bound_by),
    }


def load_snapshot(connection: sa.Connection, now: int) -> AccessSnapshot:
    """Every key of the installation with its project, as the hot path needs it."""
    query = (
        sa.select(
            tables.api_key,
            tables.project.c.store_text.label("project_store_text"),
            tables.project.c.budget.label("project_budget"),
        )
        .join(tables.project, tables.project.c.id == tables.api_key.c.project_id)
        .order_by(tables.api_key.c.created_at, tables.api_key.c.id)
    )
    rows = [(api_key(row), row) for row in connection.execute(query).mappings()]
    # Of keys that share a purse (a rotated one and its successors) the last says how large it is.
    purses = {key.account: key.budget for key, _ in rows if key.rotated_to is None}
    live: dict[bytes, Caller] = {}
    dead: dict[bytes, DeadKey] = {}
    for key, row in rows:
        digest = bytes(row["secret_sha256"])
        if key.revoked_at is None:
            live[digest] = _caller(key, row["project_store_text"], _budget(row["project_budget"]), purses)
        elif key.revoked_at > now - REMEMBERED:
            dead[digest] = DeadKey(key.prefix, key.revoked_at, key.rotated_to is not None)
    return AccessSnapshot(live, dead)


def _caller(
    key: ApiKey, store_text: bool, project_budget: MoneyBudget | None, purses: dict[str, MoneyBudget | None]
) -> Caller:
    accounts = [
        Account(name, budget)
        for name in dict.fromkeys((key.account, *key.bound_by))
        if (budget := purses.get(name)) is not None
    ]
    if project_budget is not None:
        accounts.append(Account(f"project:{key.project_id}", project_budget))
    return Caller(
        key_id=key.id,
        key_prefix=key.prefix,
        org=key.org_id,
        project=key.project_id,
        allowed_models=key.allowed_models,
        end_user_required=key.end_user_required,
        may_act_for_users=key.may_act_for_users,
        permissions=key.permissions,
        rate=key.rate,
        budget=purses.get(key.account),
        expires_at=key.expires_at,
        store_text=store_text,
        name=key.name,
        accounts=tuple(accounts),
    ).sealed()


def _budget(value: object) -> MoneyBudget | None:
    return None if value is None else msgspec.convert(value, MoneyBudget)
