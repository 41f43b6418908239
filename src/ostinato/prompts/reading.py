"""Lists and what hangs together. Each function runs inside a transaction."""

import msgspec
import sqlalchemy as sa

from ostinato import access
from ostinato.core.errors import Conflict, Invalid
from ostinato.prompts import contents, labels, store, tables
from ostinato.prompts.model import Assignment, Kind, Label, Prompt, Protection, Version

_MOST_APPROVALS = 10
_MOST_GATES = 20
_MOST_DEPENDANTS = 1_000


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which prompts of a list; ``None``: all."""

    kind: Kind | None = None
    intent: str | None = None
    tag: str | None = None
    prefix: str | None = None
    """Names that begin so."""
    archived: bool = False
    """Those in use, or (``True``) those that are archived."""


class Dependant(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a prompt that takes a partial, directly or through another."""

    prompt: str
    kind: Kind
    number: int
    latest: bool
    """Whether it is the prompt's newest version."""
    labels: tuple[str, ...] = ()
    """Those that point at it."""
    partial: str
    """The partial that it takes itself."""
    partial_number: int


class Dependants(msgspec.Struct, frozen=True, kw_only=True):
    """What would feel a change."""

    prompts: list[Dependant] = []
    """Versions that are newest or labelled, and take this partial."""
    labels: list[Assignment] = []
    """Labels, and the releases behind them, that point at this prompt."""
    complete: bool = True
    """Whether these are all."""


def page(connection: sa.Connection, project: str, filters: Filters, *, after: str | None, limit: int) -> list[Prompt]:
    """A page of the prompts of a project, by name."""
    table = tables.prompt
    query = sa.select(table).where(table.c.project_id == project)
    query = query.where(table.c.archived_at.is_not(None) if filters.archived else table.c.archived_at.is_(None))
    if after is not None:
        query = query.where(table.c.name > _plain(after))
    if filters.prefix:
        query = query.where(table.c.name.startswith(_plain(filters.prefix), autoescape=True))
    if filters.kind is not None:
        query = query.where(table.c.kind == filters.kind)
    if filters.intent is not None:
        query = query.where(table.c.intent == _plain(filters.intent))
    if filters.tag is not None:
        # Tags are kept as JSON text; they hold no character that JSON would escape.
        wanted = sa.type_coerce(table.c.tags, sa.Text)
        query = query.where(wanted.contains(f'"{_plain(filters.tag)}"', autoescape=True))
    rows = connection.execute(query.order_by(table.c.name).limit(store.page_size(limit))).mappings().all()
    pointing = store.labels_of(connection, [row["id"] for row in rows])
    return [store.prompt(row, pointing.get(row["id"], {})) for row in rows]


def _plain(text: str) -> str:
    # PostgreSQL refuses to be asked for a NUL character; nothing has one in its name.
    return text.replace("\x00", "\ufffd")


def versions(connection: sa.Connection, prompt: Prompt, *, after: int | None, limit: int) -> list[Version]:
    """A page of versions without contents, newest first."""
    table = tables.prompt_version
    query = sa.select(*(table.c[name] for name in store.META)).where(table.c.prompt_id == prompt.id)
    if after is not None:
        query = query.where(table.c.number < after)
    rows = connection.execute(query.order_by(table.c.number.desc()).limit(store.page_size(limit))).mappings()
    return [store.version(row, prompt.name) for row in rows]


def dependants(connection: sa.Connection, prompt: Prompt) -> Dependants:
    """What would feel a change of ``prompt``."""
    pointing = labels.assignments(connection, prompt.id, prompt.name)
    if prompt.kind != "partial":
        return Dependants(labels=pointing)
    found: dict[tuple[str, int], Dependant] = {}
    seen, waiting = {prompt.id}, [(prompt.id, prompt.name)]
    while waiting and len(found) < _MOST_DEPENDANTS:
        identifier, name = waiting.pop()
        for owner, one in _takers(connection, identifier, name):
            found.setdefault((one.prompt, one.number), one)
            if one.kind == "partial" and owner not in seen:
                seen.add(owner)
                waiting.append((owner, one.prompt))
    ordered = sorted(found.values(), key=lambda one: (one.prompt, -one.number))
    return Dependants(prompts=ordered, labels=pointing, complete=len(found) < _MOST_DEPENDANTS)


def _takers(connection: sa.Connection, partial_id: str, name: str) -> list[tuple[str, Dependant]]:
    """Versions, newest or labelled, that take a partial themselves; each with its prompt's id."""
    reference, prompts, assigned = tables.prompt_reference, tables.prompt, tables.prompt_assignment
    pointed = sa.exists().where(assigned.c.prompt_id == reference.c.prompt_id, assigned.c.number == reference.c.number)
    query = (
        sa.select(prompts.c.id, prompts.c.name, prompts.c.kind, prompts.c.latest, reference)
        .join(prompts, prompts.c.id == reference.c.prompt_id)
        .where(reference.c.partial_id == partial_id, prompts.c.archived_at.is_(None))
        .where((reference.c.number == prompts.c.latest) | pointed)
        .order_by(prompts.c.name, reference.c.number.desc())
        .limit(_MOST_DEPENDANTS)
    )
    rows = connection.execute(query).all()
    pointing = store.labels_of(connection, {row.id for row in rows})
    return [
        (
            row.id,
            Dependant(
                prompt=row.name,
                kind=row.kind,
                number=row.number,
                latest=row.number == row.latest,
                labels=tuple(key for key, number in pointing.get(row.id, {}).items() if number == row.number),
                partial=name,
                partial_number=row.partial_number,
            ),
        )
        for row in rows
    ]


def declare_label(
    connection: sa.Connection,
    project: str,
    name: str,
    *,
    description: str,
    protection: Protection,
    immutable: bool,
    expect: int | None,
    actor: access.Actor,
    now: int,
) -> tuple[Label | None, Label]:
    """A label's declaration before and after. Raises ``Conflict`` where it moved on."""
    contents.check_name(name, "label", most=64)
    if labels.is_version_like(name) or name.isdigit() or "/" in name:
        raise Invalid(
            f"{name!r} cannot be declared: it would be taken for a version.",
            code="invalid_name",
            param="name",
            hint="Labels like v1.2.3 need no declaration; any other word can be one, such as 'staging'.",
        )
    if not 0 <= protection.approvals <= _MOST_APPROVALS or len(protection.gates) > _MOST_GATES:
        raise Invalid(
            f"A label asks for at most {_MOST_APPROVALS} approvals and {_MOST_GATES} gates.", param="protection"
        )
    table = tables.prompt_label
    chosen = (table.c.project_id == project) & (table.c.name == name)
    row = connection.execute(sa.select(table).where(chosen).with_for_update()).mappings().first()
    before = store.label(row) if row is not None else None
    seen = before.version if before is not None else 0
    if expect is not None and expect != seen:
        raise store.moved_on("label", f"it is at version {seen}")
    if immutable and before is not None and not before.immutable and _in_use(connection, project, name):
        raise Conflict(
            f"The label {name!r} is in use and movable.", code="label_in_use", hint="Declare another one as immutable."
        )
    made = Label(
        project_id=project,
        name=name,
        description=description,
        protection=protection,
        immutable=immutable,
        created_at=before.created_at if before is not None else now,
        created_by=before.created_by if before is not None else access.actor_name(actor),
        version=seen + 1,
    )
    values = {key: value for key, value in msgspec.structs.asdict(made).items() if key != "builtin"}
    values["protection"] = msgspec.to_builtins(protection)
    if before is None:
        connection.execute(table.insert().values(**values))
    else:
        connection.execute(table.update().where(chosen).values(**values))
    return before, made


def _in_use(connection: sa.Connection, project: str, name: str) -> bool:
    assigned, prompts = tables.prompt_assignment, tables.prompt
    query = (
        sa.select(assigned.c.prompt_id)
        .join(prompts, prompts.c.id == assigned.c.prompt_id)
        .where(prompts.c.project_id == project, assigned.c.label == name)
    )
    return connection.execute(query.limit(1)).first() is not None
