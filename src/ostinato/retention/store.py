"""Rows of rules, holds, sweeps and erasures. Every function runs inside a transaction that is open."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from ostinato.audit import tables as audit_tables
from ostinato.core.errors import NotFound
from ostinato.retention import tables
from ostinato.retention.model import Erasure, Hold, Keep, Rule, Sweep


def rule_of(row: sa.RowMapping) -> Rule:
    body = cast("dict[str, Any]", row["body"])
    return Rule(
        org=row["org"],
        name=row["name"],
        project=row["project"],
        intent=body["intent"],
        data_class=body["data_class"],
        keep=msgspec.convert(body["keep"], Keep),
        version=row["version"],
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )


def find_rule(connection: sa.Connection, org: str, name: str, *, lock: bool = False) -> Rule | None:
    """The rule of this name in an organization."""
    table = tables.rule
    query = sa.select(table).where(table.c.org == org, table.c.name == name[:64].replace("\x00", ""))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else rule_of(row)


def rules(
    connection: sa.Connection, *, org: str = "", project: str = "", after: str = "", limit: int | None = None
) -> list[Rule]:
    """Rules by name. ``org``, ``project``: of this organization, and those of the project or of every one."""
    table = tables.rule
    query = sa.select(table).order_by(table.c.name, table.c.org)
    if org:
        query = query.where(table.c.org == org)
    if project:
        query = query.where(table.c.project.in_(("", project)))
    if after:
        query = query.where(table.c.name > after.replace("\x00", ""))
    return [rule_of(row) for row in connection.execute(query.limit(limit)).mappings()]


def put_rule(connection: sa.Connection, rule: Rule) -> None:
    """Write a rule, new or changed."""
    table = tables.rule
    body = {"intent": rule.intent, "data_class": rule.data_class, "keep": msgspec.to_builtins(rule.keep)}
    values = {
        "project": rule.project,
        "body": body,
        "version": rule.version,
        "changed_at": rule.changed_at,
        "changed_by": rule.changed_by,
    }
    if rule.version == 1:
        connection.execute(sa.insert(table).values(org=rule.org, name=rule.name, **values))
    else:
        connection.execute(sa.update(table).where(table.c.org == rule.org, table.c.name == rule.name).values(**values))


def remove_rule(connection: sa.Connection, rule: Rule) -> None:
    """Take a rule away."""
    table = tables.rule
    connection.execute(sa.delete(table).where(table.c.org == rule.org, table.c.name == rule.name))


def unknown_rule(name: str) -> NotFound:
    """The error for a rule that does not exist, or not for the actor."""
    return NotFound(
        f"There is no retention rule {name[:80]!r}.",
        code="retention_rule_not_found",
        hint="`ostinato retention rules list` shows them.",
    )


def hold_of(row: sa.RowMapping) -> Hold:
    return Hold(**{name: row[name] for name in Hold.__struct_fields__})


def put_hold(connection: sa.Connection, hold: Hold) -> None:
    connection.execute(sa.insert(tables.hold).values(msgspec.structs.asdict(hold)))


def holds(
    connection: sa.Connection,
    *,
    org: str = "",
    project: str = "",
    lifted: bool = False,
    after: str = "",
    limit: int | None = None,
) -> list[Hold]:
    """Holds, oldest first. ``lifted``: those that were lifted as well."""
    table = tables.hold
    query = sa.select(table).where(table.c.id > after.replace("\x00", "")).order_by(table.c.id)
    if org:
        query = query.where(table.c.org == org)
    if project:
        query = query.where(table.c.project.in_(("", project)))
    if not lifted:
        query = query.where(table.c.lifted_at.is_(None))
    return [hold_of(row) for row in connection.execute(query.limit(limit)).mappings()]


def find_hold(connection: sa.Connection, hold_id: str, *, lock: bool = False) -> Hold | None:
    """One hold."""
    query = sa.select(tables.hold).where(tables.hold.c.id == hold_id[:32].replace("\x00", ""))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else hold_of(row)


def lift(connection: sa.Connection, hold: Hold) -> None:
    """Write down that a hold was lifted."""
    values = {"lifted_at": hold.lifted_at, "lifted_by": hold.lifted_by}
    connection.execute(sa.update(tables.hold).where(tables.hold.c.id == hold.id).values(values))


def wake(connection: sa.Connection, hold: Hold) -> int:
    """Have erasures that this hold kept from their end go on; gives how many there are."""
    table = tables.erasure
    query = sa.select(table.c.body).where(table.c.org == hold.org, table.c.state == "held").with_for_update()
    if hold.project:
        query = query.where(table.c.project == hold.project)
    woken = 0
    for body in connection.scalars(query).all():
        found = msgspec.convert(body, Erasure)
        if hold.id in found.holds:
            update_erasure(connection, msgspec.structs.replace(found, state="running"))
            woken += 1
    return woken


def unknown_hold(hold_id: str) -> NotFound:
    """The error for a hold that does not exist, or not for the actor."""
    return NotFound(f"There is no hold {hold_id[:64]!r}.", code="hold_not_found")


def save_sweep(connection: sa.Connection, sweep: Sweep, kept: int) -> None:
    """Write a sweep's report; the oldest reports beyond ``kept`` go."""
    table = tables.sweep
    report = {
        name: value for name, value in msgspec.to_builtins(sweep).items() if name in ("stores", "holds", "failed")
    }
    values = {name: getattr(sweep, name) for name in ("org", "project", "dry_run", "started_at", "ended_at", "by")}
    connection.execute(sa.insert(table).values(id=sweep.id, report=report, **values))
    beyond = sa.select(table.c.id).order_by(table.c.id.desc()).offset(kept)
    old = list(connection.scalars(beyond.limit(100)))
    if old:
        connection.execute(sa.delete(table).where(table.c.id.in_(old)))


def sweep_of(row: sa.RowMapping) -> Sweep:
    values = {name: row[name] for name in ("id", "org", "project", "dry_run", "started_at", "ended_at", "by")}
    return msgspec.convert({**values, **cast("dict[str, Any]", row["report"])}, Sweep)


def sweeps(
    connection: sa.Connection, *, org: str = "", project: str = "", before: str = "", limit: int = 100
) -> list[Sweep]:
    """Reports, newest first. ``org``, ``project``: of these, and nothing wider."""
    table = tables.sweep
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if org:
        query = query.where(table.c.org == org)
    if project:
        query = query.where(table.c.project == project)
    if before:
        query = query.where(table.c.id < before.replace("\x00", ""))
    return [sweep_of(row) for row in connection.execute(query).mappings()]


def last_sweep(connection: sa.Connection) -> int:
    """When the last whole sweep began; 0: there was none."""
    table = tables.sweep
    whole = (table.c.org == "", table.c.dry_run.is_(False))
    return connection.scalar(sa.select(sa.func.max(table.c.started_at)).where(*whole)) or 0


def upto(connection: sa.Connection, name: str, days: float, digest: str) -> int:
    """How far a store has been swept for one period under these rules."""
    table = tables.mark
    query = sa.select(table.c.upto).where(table.c.store == name, table.c.days == days, table.c.digest == digest)
    return connection.scalar(query) or 0


def set_mark(connection: sa.Connection, name: str, days: float, digest: str, at: int) -> None:
    """That it has been, up to then."""
    table = tables.mark
    connection.execute(sa.delete(table).where(table.c.store == name, table.c.days == days))
    connection.execute(sa.insert(table).values(store=name, days=days, digest=digest, upto=at))


def take_lease(connection: sa.Connection, name: str, owner: str, now: int, until: int) -> bool:
    """Whether ``owner`` now has the lease; again for its holder renews it."""
    table = tables.lease
    row = connection.execute(
        sa.select(table.c.owner, table.c.until).where(table.c.name == name).with_for_update()
    ).first()
    if row is None:
        connection.execute(sa.insert(table).values(name=name, owner=owner, until=until))
        return True
    if row.owner != owner and row.until > now:
        return False
    connection.execute(sa.update(table).where(table.c.name == name).values(owner=owner, until=until))
    return True


def drop_lease(connection: sa.Connection, name: str, owner: str) -> None:
    """Give it back."""
    table = tables.lease
    connection.execute(sa.delete(table).where(table.c.name == name, table.c.owner == owner))


def drop_leases(connection: sa.Connection) -> None:
    """Take all of them back: for whoever knows that no other process is there."""
    connection.execute(sa.delete(tables.lease))


class Kept(msgspec.Struct, frozen=True):
    """An erasure's row."""

    erasure: Erasure
    effect: str
    sealed: bytes | None

    def __repr__(self) -> str:
        return f"Kept({self.erasure.id!r})"


def insert_erasure(connection: sa.Connection, erasure: Erasure, effect: str, sealed: bytes) -> None:
    connection.execute(
        sa.insert(tables.erasure).values(
            id=erasure.id,
            org=erasure.org,
            project=erasure.project,
            state=erasure.state,
            effect=effect,
            sealed=sealed,
            body=msgspec.to_builtins(erasure),
            version=erasure.version,
        )
    )


def update_erasure(connection: sa.Connection, erasure: Erasure, **values: object) -> Erasure:
    """An erasure as it is now, one version on."""
    moved = msgspec.structs.replace(erasure, version=erasure.version + 1)
    table = tables.erasure
    connection.execute(
        sa.update(table)
        .where(table.c.id == erasure.id)
        .values(state=moved.state, body=msgspec.to_builtins(moved), version=moved.version, **values)
    )
    return moved


def intent_of(connection: sa.Connection, effect: str) -> int:
    """Index of the leaf that says what was intended; of an effect that was just begun."""
    table = audit_tables.effect
    return int(connection.execute(sa.select(table.c.intent).where(table.c.id == effect)).scalar_one())


def find_erasure(connection: sa.Connection, erasure_id: str, *, lock: bool = False) -> Kept | None:
    """One erasure."""
    query = sa.select(tables.erasure).where(tables.erasure.c.id == erasure_id[:32].replace("\x00", ""))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        return None
    sealed = row["sealed"]
    return Kept(msgspec.convert(row["body"], Erasure), row["effect"], None if sealed is None else bytes(sealed))


def erasures(
    connection: sa.Connection, *, org: str = "", project: str = "", state: str = "", before: str = "", limit: int = 100
) -> Sequence[Erasure]:
    """Erasures, newest first."""
    table = tables.erasure
    query = sa.select(table.c.body).order_by(table.c.id.desc()).limit(limit)
    for column, value in ((table.c.org, org), (table.c.project, project), (table.c.state, state)):
        if value:
            query = query.where(column == value.replace("\x00", ""))
    if before:
        query = query.where(table.c.id < before.replace("\x00", ""))
    return [msgspec.convert(body, Erasure) for body in connection.scalars(query)]


def unknown_erasure(erasure_id: str) -> NotFound:
    """The error for an erasure that does not exist, or not for the actor."""
    return NotFound(f"There is no erasure {erasure_id[:64]!r}.", code="erasure_not_found")
