"""Rows to structs and back, and the one query that fills the snapshot."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.access import tables
from ostinato.access.model import (
    ApiKey,
    Binding,
    BreakGlass,
    MoneyBudget,
    Organization,
    Principal,
    Project,
    RateLimit,
    Resource,
)
from ostinato.access.rights import Ground
from ostinato.access.snapshot import AccessSnapshot, Held

_KEY_FIELDS = ApiKey.__struct_fields__
_BINDING_FIELDS = tuple(name for name in Binding.__struct_fields__ if name != "on")


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
    values["principal"] = values["principal"] or ""
    for name in ("allowed_models", "allowed_intents"):
        if values[name] is not None:
            values[name] = frozenset(values[name])
    if values["rate"] is not None:
        values["rate"] = msgspec.convert(values["rate"], RateLimit)
    return ApiKey(**values)


def project_row(value: Project) -> dict[str, object]:
    """The columns of ``project``."""
    return {**msgspec.structs.asdict(value), "budget": msgspec.to_builtins(value.budget)}


def api_key_row(value: ApiKey) -> dict[str, object]:
    """The columns of ``api_key`` except the digest."""
    models, intents = value.allowed_models, value.allowed_intents
    return {
        **msgspec.structs.asdict(value),
        "permissions": sorted(value.permissions),
        "allowed_models": None if models is None else sorted(models),
        "allowed_intents": None if intents is None else sorted(intents),
        "principal": value.principal or None,
        "rate": msgspec.to_builtins(value.rate),
        "budget": msgspec.to_builtins(value.budget),
        "bound_by": list(value.bound_by),
    }


def principal(row: Mapping[Any, Any]) -> Principal:
    """A row of ``principal``."""
    return Principal(**row)


def binding(row: Mapping[Any, Any]) -> Binding:
    """A row of ``role_binding``."""
    values = {name: row[name] for name in _BINDING_FIELDS}
    values["permissions"] = frozenset(values["permissions"])
    return Binding(on=Resource(row["on_project"], row["on_label"], row["on_intent"], row["on_prompt"]), **values)


def binding_row(value: Binding) -> dict[str, object]:
    """The columns of ``role_binding``."""
    on = value.on
    return {
        **{name: getattr(value, name) for name in _BINDING_FIELDS},
        "permissions": sorted(value.permissions),
        "on_project": on.project,
        "on_label": on.label,
        "on_intent": on.intent,
        "on_prompt": on.prompt,
    }


def breakglass(row: Mapping[Any, Any]) -> BreakGlass:
    """A row of ``breakglass``."""
    return BreakGlass(**row)


def load_snapshot(connection: sa.Connection, now: int) -> AccessSnapshot:
    """Every key of the installation, and all that its rights follow from, as the hot path needs it."""
    query = (
        sa.select(
            tables.api_key,
            tables.project.c.store_text.label("project_store_text"),
            tables.project.c.budget.label("project_budget"),
        )
        .join(tables.project, tables.project.c.id == tables.api_key.c.project_id)
        .order_by(tables.api_key.c.created_at, tables.api_key.c.id)
    )
    held = [
        Held(api_key(row), bytes(row["secret_sha256"]), row["project_store_text"], _budget(row["project_budget"]))
        for row in connection.execute(query).mappings()
    ]
    return AccessSnapshot(held, load_ground(connection, [one.key for one in held], now), now)


def load_ground(connection: sa.Connection, keys: Sequence[ApiKey], now: int) -> Ground:
    """What the rights of ``keys``, which are all that there are, follow from."""
    principals = [principal(row) for row in connection.execute(sa.select(tables.principal)).mappings()]
    bindings: dict[str, list[Binding]] = {}
    for row in connection.execute(sa.select(tables.role_binding).order_by(tables.role_binding.c.id)).mappings():
        bindings.setdefault(row["principal_id"], []).append(binding(row))
    table = tables.breakglass
    open_ = sa.select(table).where(table.c.ends_at > now, table.c.ended_at.is_(None)).order_by(table.c.id)
    glasses = [breakglass(row) for row in connection.execute(open_).mappings()]
    return Ground(keys, {one.id: one for one in principals}, bindings, glasses)


def _budget(value: object) -> MoneyBudget | None:
    return None if value is None else msgspec.convert(value, MoneyBudget)
