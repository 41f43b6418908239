"""API keys: create, list, show, change, revoke, rotate. Each function runs inside a transaction that is open.

No key makes, changes or replaces a key that can do more than itself (:mod:`ostinato.access.authority`). Nor does it
get a secret that stands for somebody else, without the permission to issue keys in other names.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ostinato.access import authority, fields, keys, lineage, manage, permissions, principals, store, tables
from ostinato.access.authority import Grant
from ostinato.access.change import Change
from ostinato.access.model import Actor, ApiKey, MoneyBudget, Project, RateLimit, actor_name, principal_of
from ostinato.core import ids
from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached, NotFound

LONGEST_GRACE = 30 * 86_400
_NAMED = 5
"""Keys of one name that a message lists."""
PAGE = 500

_GRANT_FIELDS = Grant.__struct_fields__


class KeyChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a key; what is left unset stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    permissions: frozenset[str] | msgspec.UnsetType = msgspec.UNSET
    allowed_models: frozenset[str] | msgspec.UnsetType | None = msgspec.UNSET
    end_user_required: bool | msgspec.UnsetType = msgspec.UNSET
    may_act_for_users: bool | msgspec.UnsetType = msgspec.UNSET
    rate: RateLimit | msgspec.UnsetType | None = msgspec.UNSET
    budget: MoneyBudget | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: int | msgspec.UnsetType | None = msgspec.UNSET
    allowed_intents: frozenset[str] | msgspec.UnsetType | None = msgspec.UNSET


def create_key(
    change: Change, *, name: str, grant: Grant, project: str | None, most: int, principal: str | None = None
) -> tuple[ApiKey, keys.Secret]:
    """A new key in ``project`` (``None``: the creator's), able to do no more than its creator.

    ``most``: live keys that a project may have. ``principal``: whom it is issued for; ``None``: who stands behind the
    creator stands behind it too. The secret is returned once and never again.
    """
    connection, creator, now = change.connection, change.actor, change.now
    permissions.require(creator, "keys:write")
    home = manage.find_project(connection, creator, project)
    issued_for = "" if principal is None else _issued_for(change, principal, home)
    grant = authority.narrow(creator, fields.grant(grant, now))
    _room(connection, home.id, now, most)
    secret = keys.new()
    identifier = ids.new(now)
    value = ApiKey(
        id=identifier,
        org_id=home.org_id,
        project_id=home.id,
        name=fields.name(name),
        prefix=secret.prefix,
        created_at=now,
        created_by=actor_name(creator),
        account=f"key:{identifier}",
        bound_by=authority.purses(creator),
        principal=issued_for,
        **{field: getattr(grant, field) for field in _GRANT_FIELDS},
    )
    _insert(connection, value, secret)
    _note(change, "keys:create", None, value)
    return value, secret


def list_keys(
    connection: sa.Connection, actor: Actor, *, project: str | None = None, after: str | None = None, limit: int = 100
) -> list[ApiKey]:
    """The keys that the actor reaches, oldest first, dead ones too; ``after``: id of the last key seen so far."""
    permissions.require(actor, "keys:read")
    fields.page(after, limit, PAGE)
    table = tables.api_key
    query = sa.select(table).where(authority.visible_keys(actor)).order_by(table.c.id).limit(limit)
    if project is not None:
        query = query.where(table.c.project_id == manage.find_project(connection, actor, project).id)
    if after is not None:
        query = query.where(table.c.id > after)
    return [store.api_key(row) for row in connection.execute(query).mappings()]


def show_key(connection: sa.Connection, actor: Actor, ref: str) -> ApiKey:
    """The key with this id or prefix."""
    permissions.require(actor, "keys:read")
    return _find(connection, actor, ref)


def update_key(change: Change, ref: str, *, changes: KeyChanges, version: int | None = None) -> ApiKey:
    """The key after ``changes``. With ``version``, raises :class:`Conflict` if somebody changed it meanwhile."""
    connection, actor, now = change.connection, change.actor, change.now
    permissions.require(actor, "keys:write")
    value = _find(connection, actor, ref)
    manage.expect(value.version, version, "key")
    authority.cover(actor, value)
    _alive(value, now, "changed")
    wanted = {k: v for k, v in msgspec.structs.asdict(changes).items() if v is not msgspec.UNSET}
    if "budget" in wanted and wanted["budget"] != value.budget and value.account in authority.purses(actor):
        raise Denied("A key may not change its own budget.", code="exceeds_creator", hint="Use an administrator's key.")
    name = fields.name(wanted.pop("name", value.name))
    standing = Grant(**{field: getattr(value, field) for field in _GRANT_FIELDS})
    grant = fields.grant(msgspec.structs.replace(standing, **wanted), now, expires_before=value.expires_at)
    if wanted:
        grant = authority.narrow(actor, grant)
    if grant.permissions is not None and not grant.permissions <= value.permissions:
        # Whoever may have its secret, from a time when it decided nothing, would speak in another's name.
        authority.name_for(actor, lineage.stands_for(connection, value))
    changed = msgspec.structs.replace(
        value,
        name=name,
        version=value.version + 1,
        **{field: getattr(grant, field) for field in _GRANT_FIELDS},
    )
    _save(connection, changed)
    _note(change, "keys:update", value, changed)
    return changed


def revoke_key(change: Change, ref: str) -> ApiKey:
    """The key, dead from now on. Revoking it again changes nothing."""
    connection, actor = change.connection, change.actor
    permissions.require(actor, "keys:write")
    value = _find(connection, actor, ref)
    # What it made itself it may always end, also where its own rights have become fewer since.
    if not lineage.made_by(connection, value, actor):
        authority.cover(actor, value, ending=True)
    if value.revoked_at is None:
        old, value = value, msgspec.structs.replace(value, revoked_at=change.now, version=value.version + 1)
        _save(connection, value)
        _note(change, "keys:revoke", old, value)
    return value


def rotate_key(change: Change, ref: str, grace_seconds: float = 0.0) -> tuple[ApiKey, keys.Secret]:
    """A new key in place of this one: the same rights, limits, expiry, purse and principal, another secret.

    The old one goes on for ``grace_seconds`` (up to 30 days), so that its users can change over one by one.
    """
    connection, actor, now = change.connection, change.actor, change.now
    permissions.require(actor, "keys:write")
    if not 0 <= grace_seconds <= LONGEST_GRACE:
        raise Invalid(
            f"The grace must be from 0 to {LONGEST_GRACE} seconds.", code="invalid_grace", param="grace_seconds"
        )
    old = _find(connection, actor, ref)
    authority.cover(actor, old)
    authority.impersonate(actor, old, lineage.stands_for(connection, old))
    _alive(old, now, "rotated")
    secret = keys.new()
    new = msgspec.structs.replace(
        old,
        id=ids.new(now),
        prefix=secret.prefix,
        created_at=now,
        created_by=actor_name(actor),
        rotated_from=old.id,
        last_used_at=None,
        version=1,
    )
    ends = now + int(grace_seconds * 1_000_000)
    _save(
        connection,
        msgspec.structs.replace(
            old,
            rotated_to=new.id,
            version=old.version + 1,
            revoked_at=now if ends == now else None,
            expires_at=old.expires_at if ends == now else min(ends, old.expires_at or ends),
        ),
    )
    _insert(connection, new, secret)
    _note(change, "keys:rotate", old, new)
    return new, secret


def record_use(connection: sa.Connection, used: dict[str, int]) -> None:
    """Write down when keys made their last requests (UTC microseconds by key id). Changes no version."""
    table = tables.api_key
    statement = table.update().where(table.c.id == sa.bindparam("key")).values(last_used_at=sa.bindparam("at"))
    connection.execute(statement, [{"key": key, "at": used[key]} for key in sorted(used)])


def _issued_for(change: Change, ref: str, home: Project) -> str:
    """The id of the principal that a key in ``home`` is issued for."""
    found = principals.enabled(principals.find(change.connection, change.actor, ref))
    if found.org_id != home.org_id:
        raise Invalid(
            "The project and the principal belong to different organizations.",
            code="foreign_principal",
            param="principal",
        )
    # Issuing in one's own name needs nothing more: the key would stand for the same anyway.
    if principal_of(change.actor) != f"principal:{found.id}":
        authority.name_others(change.actor)
    return found.id


def _note(change: Change, action: str, before: ApiKey | None, after: ApiKey) -> None:
    facts: dict[str, str | int] = {"version": after.version, "permissions": " ".join(sorted(after.permissions))}
    if after.principal:
        facts["principal"] = after.principal
    if before is not None and before.id != after.id:
        facts["rotated_from"] = before.id
    change.note(
        action,
        f"key:{after.id}",
        org=after.org_id,
        project=after.project_id,
        before=before,
        after=after,
        facts=facts,
        subject=f"principal:{after.principal}" if after.principal else "",
    )


def _find(connection: sa.Connection, actor: Actor, ref: str) -> ApiKey:
    table = tables.api_key
    query = sa.select(table).where(authority.visible_keys(actor))
    query = query.where(table.c.id == ref if ids.is_id(ref) else table.c.prefix == ref[: keys.PREFIX_LENGTH])
    rows: Sequence[sa.RowMapping] = ()
    if fields.could_be_a_name(ref):
        rows = connection.execute(query.limit(2)).mappings().all()
    if len(rows) != 1:
        raise _unknown(connection, actor, ref)
    return store.api_key(rows[0])


def _unknown(connection: sa.Connection, actor: Actor, ref: str) -> NotFound:
    table = tables.api_key
    if fields.could_be_a_name(ref) and not ref.startswith(keys.MARK):
        named = sa.select(table.c.prefix).where(authority.visible_keys(actor)).where(table.c.name == ref)
        found = connection.scalars(named.order_by(table.c.id.desc()).limit(_NAMED)).all()
        if found:
            return NotFound(
                f"Keys are called by their prefix, and {ref!r} is a name.",
                code="key_not_found",
                param="key",
                hint=f"Give the prefix: {' or '.join(found)}.",
            )
    # A secret may have been given by mistake, whole or in part: show no more than its public part would be.
    shown = repr(ref if ids.is_id(ref) else ref[: keys.PREFIX_LENGTH])
    if len(ref) > keys.PREFIX_LENGTH and not ids.is_id(ref):
        shown = f"that begins with {shown}"
    return NotFound(
        f"There is no key {shown}.",
        code="key_not_found",
        param="key",
        hint=f"Give the prefix, {keys.MARK}..., as a list of the keys shows it.",
    )


def _alive(value: ApiKey, now: int, what: str) -> None:
    state = value.state(now)
    if state == "revoked" or (state == "expired" and what == "rotated"):
        raise Conflict(
            f"The key {value.prefix} is {state} and cannot be {what}.", code="key_dead", hint="Create another key."
        )
    if value.rotated_to is not None:
        raise Conflict(
            f"The key {value.prefix} was rotated and cannot be {what}.",
            code="already_rotated",
            hint="Take its successor.",
        )


def _room(connection: sa.Connection, project_id: str, now: int, most: int) -> None:
    table = tables.api_key
    live = sa.select(sa.func.count()).where(
        table.c.project_id == project_id,
        table.c.revoked_at.is_(None),
        sa.or_(table.c.expires_at.is_(None), table.c.expires_at > now),
    )
    if (connection.execute(live).scalar() or 0) >= most:
        raise LimitReached(
            f"This project has {most} keys already, as many as a project may.",
            code="too_many_keys",
            hint="Revoke some, or raise access.keys_per_project.",
        )


def _insert(connection: sa.Connection, value: ApiKey, secret: keys.Secret) -> None:
    connection.execute(tables.api_key.insert(), {**store.api_key_row(value), "secret_sha256": secret.digest})


def _save(connection: sa.Connection, value: ApiKey) -> None:
    table = tables.api_key
    result = connection.execute(
        table.update()
        .where(table.c.id == value.id, table.c.version == value.version - 1)
        .values(**store.api_key_row(value))
    )
    if result.rowcount != 1:
        raise Conflict("Somebody changed this key since you looked.", code="version_moved", hint="Look, then repeat.")
