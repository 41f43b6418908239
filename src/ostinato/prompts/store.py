"""Rows to structs and back, and the look-ups that everything here shares. Each runs inside a transaction."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core import hashing
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.prompts import contents, tables
from ostinato.prompts.model import Canary, Content, Label, Prompt, Protection, Version
from ostinato.templates import Finding

META = (
    "number",
    "digest",
    "message",
    "source",
    "author",
    "created_by",
    "created_at",
    "parent",
    "findings",
)
"""The columns of a version without its content."""


def find(connection: sa.Connection, project: str, ref: str, *, lock: bool = False) -> Prompt:
    """The prompt of this name, or id, in a project; ``lock``: nobody else changes it meanwhile. Raises ``NotFound``."""
    row = find_row(connection, project, ref, lock=lock)
    if row is None:
        raise missing(ref)
    return prompt(row, labels_of(connection, [row["id"]]).get(row["id"], {}))


def find_row(connection: sa.Connection, project: str, ref: str, *, lock: bool = False) -> sa.RowMapping | None:
    """The row of a prompt by name or id."""
    if not 0 < len(ref) <= 200 or not ref.isprintable():
        return None
    table = tables.prompt
    query = sa.select(table).where(table.c.project_id == project)
    if lock:
        query = query.with_for_update()
    row = connection.execute(query.where(table.c.name == ref)).mappings().first()
    if row is None and len(ref) == 32:
        row = connection.execute(query.where(table.c.id == ref)).mappings().first()
    return row


def missing(ref: str) -> NotFound:
    """There is no such prompt, or not for this caller."""
    return NotFound(
        f"There is no prompt {ref[:200]!r}.",
        code="prompt_not_found",
        param="prompt",
        hint="`ostinato prompts list` shows the prompts of the project.",
    )


def prompt(row: Mapping[Any, Any], labels: Mapping[str, int]) -> Prompt:
    """A row of ``prompt``."""
    values = {name: row[name] for name in Prompt.__struct_fields__ if name not in ("labels", "tags")}
    return Prompt(**values, tags=tuple(row["tags"]), labels=dict(labels))


def labels_of(connection: sa.Connection, ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """Where labels point: prompt id -> label -> number."""
    table = tables.prompt_assignment
    query = sa.select(table.c.prompt_id, table.c.label, table.c.number).where(table.c.prompt_id.in_(list(ids)))
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(query.order_by(table.c.label)):
        found.setdefault(row.prompt_id, {})[row.label] = row.number
    return found


def version(row: Mapping[Any, Any], name: str, content: Content | None = None) -> Version:
    """A row of ``prompt_version``."""
    values = {column: row[column] for column in META if column != "findings"}
    return Version(
        prompt=name, **values, content=content, findings=tuple(msgspec.convert(row["findings"], list[Finding]))
    )


def find_version(connection: sa.Connection, prompt: Prompt, number: int) -> Version:
    """One version with its content. Raises ``NotFound`` telling which there are."""
    table = tables.prompt_version
    row = None
    if 0 < number <= prompt.latest:
        query = sa.select(table).where(table.c.prompt_id == prompt.id, table.c.number == number)
        row = connection.execute(query).mappings().first()
    if row is None:
        raise no_version(prompt.name, number, prompt.latest)
    return version(row, prompt.name, contents.decode(row["content"]))


def no_version(name: str, number: int, latest: int) -> NotFound:
    """A prompt has no version of this number."""
    there = f"Its versions are 1 to {latest}." if latest > 1 else "It has one, version 1." if latest else "It has none."
    return NotFound(
        f"The prompt {name!r} has no version {number}.", code="version_not_found", param="version", hint=there
    )


def content_of(connection: sa.Connection, project: str, name: str, number: int) -> Content:
    """The content of a version, by the prompt's name. Raises ``NotFound``."""
    found = find_row(connection, project, name)
    if found is None:
        raise missing(name)
    table = tables.prompt_version
    query = sa.select(table.c.content).where(table.c.prompt_id == found["id"], table.c.number == number)
    text = connection.scalar(query)
    if text is None:
        raise no_version(name, number, found["latest"])
    return contents.decode(text)


class Pieces:
    """Contents of versions, each read once."""

    def __init__(self, connection: sa.Connection, project: str) -> None:
        self._connection = connection
        self._project = project
        self.read: dict[tuple[str, int], Content] = {}

    def __call__(self, name: str, number: int) -> Content:
        found = self.read.get((name, number))
        if found is None:
            found = self.read[name, number] = content_of(self._connection, self._project, name, number)
        return found


def touch(connection: sa.Connection, prompt_id: str, **values: object) -> None:
    """Change a prompt's row, and let snapshots know that something of it changed."""
    table = tables.prompt
    connection.execute(table.update().where(table.c.id == prompt_id).values(revision=table.c.revision + 1, **values))


def canary(value: object) -> Canary | None:
    """A stored canary."""
    return None if value is None else msgspec.convert(value, Canary)


def label(row: Mapping[Any, Any]) -> Label:
    """A row of ``prompt_label``."""
    values = {name: row[name] for name in Label.__struct_fields__ if name not in ("protection", "builtin")}
    return Label(**values, protection=msgspec.convert(row["protection"], Protection))


def page_size(limit: int) -> int:
    """How many of a page, 1 to 500. Raises ``Invalid``."""
    if not 1 <= limit <= 500:
        raise Invalid("A page holds 1 to 500 items.", code="invalid_limit", param="limit")
    return limit


def moved_on(what: str, now: str) -> Conflict:
    """Somebody else was quicker; ``now`` is how things stand."""
    return Conflict(
        f"Somebody changed this {what} since you looked: {now}.",
        code="version_moved",
        hint="Look at it again, then repeat.",
    )


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A version with everything that it is made of: what a release binds its approvals to."""

    prompt: Prompt
    version: Version
    partials: dict[str, str] = {}
    """``NAME@NUMBER`` -> digest, of every partial that it takes, those of partials included."""
    digest: str
    """SHA-256 over the version's digest and those of its partials, hexadecimal."""


def bundle(connection: sa.Connection, project: str, ref: str, number: int) -> Bundle:
    """A version of a prompt (by name or id) in a project (its id). Raises ``NotFound``."""
    found = find(connection, project, ref)
    version = find_version(connection, found, number)
    pieces = Pieces(connection, project)
    assert version.content is not None
    contents.compile_partials(version.content.partials, pieces)
    partials = {
        f"{name}@{pinned}": contents.digest(contents.encode(content))
        for (name, pinned), content in sorted(pieces.read.items())
    }
    whole = hashing.canonical_json({"version": version.digest, "partials": partials}).decode()
    return Bundle(prompt=found, version=version, partials=partials, digest=contents.digest(whole))
