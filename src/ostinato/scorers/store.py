"""Rows to structs and back."""

from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato.core.errors import NotFound
from ostinato.scorers import tables
from ostinato.scorers.declared import Calibrated, Declared, Rule

T = TypeVar("T", bound=msgspec.Struct)


def _struct(row: sa.RowMapping, kind: type[T]) -> T:
    return msgspec.convert({name: row[name] for name in kind.__struct_fields__}, kind)


def declared(row: sa.RowMapping) -> Declared:
    return _struct(row, Declared)


def rule(row: sa.RowMapping) -> Rule:
    return _struct(row, Rule)


def calibrated(row: sa.RowMapping) -> Calibrated:
    return _struct(row, Calibrated)


def standing(connection: sa.Connection, project: str, name: str, *, lock: bool = False) -> Declared:
    """The version of a scorer that is used now. Raises ``NotFound``."""
    table = tables.scorer
    query = sa.select(table).where(table.c.project == project, table.c.name == plain(name), table.c.standing)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFound(
            f"There is no scorer {name[:80]!r} in this project.",
            code="scorer_not_found",
            hint="`ostinato scorers list` shows them.",
        )
    return declared(row)


def all_standing(connection: sa.Connection, project: str) -> list[Declared]:
    """Every scorer of a project that is used now, by name."""
    table = tables.scorer
    query = sa.select(table).where(table.c.project == project, table.c.standing).order_by(table.c.name)
    return [declared(row) for row in connection.execute(query).mappings()]


def last_number(connection: sa.Connection, project: str, name: str) -> int:
    """The newest version's number, of those that were removed too; 0: there never was one."""
    table = tables.scorer
    query = sa.select(sa.func.max(table.c.number)).where(table.c.project == project, table.c.name == name)
    return connection.execute(query).scalar() or 0


def find_rule(connection: sa.Connection, project: str, name: str, *, lock: bool = False) -> Rule | None:
    """A rule by name."""
    table = tables.sampling
    query = sa.select(table).where(table.c.project == project, table.c.name == plain(name))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else rule(row)


def rules(connection: sa.Connection, project: str = "") -> list[Rule]:
    """The rules of a project, or of all, by name."""
    table = tables.sampling
    query = sa.select(table).order_by(table.c.project, table.c.name)
    if project:
        query = query.where(table.c.project == project)
    return [rule(row) for row in connection.execute(query).mappings()]


def unknown_rule(name: str) -> NotFound:
    return NotFound(f"There is no rule of sampling {name[:80]!r} in this project.", code="rule_not_found")


def plain(name: str) -> str:
    """PostgreSQL refuses to be asked for a NUL character."""
    return name.replace("\x00", "")
