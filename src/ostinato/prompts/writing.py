"""Creating prompts and adding versions. Each function runs in an open transaction, and judges nobody's rights."""

import re
from collections.abc import Callable, Iterable

import msgspec
import sqlalchemy as sa

from ostinato import access, templates
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, LimitReached
from ostinato.prompts import contents, store, tables
from ostinato.prompts.model import (
    LONGEST_MESSAGE,
    MOST_TAGS,
    MOST_VERSIONS,
    Content,
    Draft,
    Kind,
    Prompt,
    Saved,
    Source,
    Version,
)
from ostinato.templates import Finding

_TAG = re.compile(r"[a-z0-9][a-z0-9._:-]{0,62}")
_LONGEST_DESCRIPTION = 4_000


class Changes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a prompt; what is left unset stays."""

    description: str | msgspec.UnsetType = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    intent: str | msgspec.UnsetType = msgspec.UNSET


def create(
    connection: sa.Connection,
    project: access.Project,
    name: str,
    *,
    kind: Kind,
    description: str,
    tags: Iterable[str],
    intent: str,
    actor: access.Actor,
    now: int,
) -> Prompt:
    """A new prompt without versions. Raises ``Conflict`` where the name is taken."""
    contents.check_name(name)
    if ids.is_id(name) or name.isdigit():
        raise Invalid("A prompt's name must not look like an id or a number.", code="invalid_name", param="name")
    taken = store.find_row(connection, project.id, name)
    if taken is not None:
        archived = ", archived" if taken["archived_at"] is not None else ""
        raise Conflict(
            f"There is already a prompt {name!r} (kind {taken['kind']}, {taken['latest']} versions{archived}).",
            code="name_taken",
            hint="Add a version to it, or choose another name.",
        )
    made = Prompt(
        id=ids.new(now),
        org_id=project.org_id,
        project_id=project.id,
        name=name,
        kind=kind,
        description=check_description(description),
        tags=check_tags(tags),
        intent=intent,
        created_at=now,
        created_by=access.actor_name(actor),
        version=1,
    )
    values = {key: value for key, value in msgspec.structs.asdict(made).items() if key != "labels"}
    connection.execute(tables.prompt.insert().values(**{**values, "tags": list(made.tags)}, revision=1))
    return made


def check_description(text: str) -> str:
    """A description within bounds."""
    if len(text) > _LONGEST_DESCRIPTION:
        raise Invalid(f"A description has at most {_LONGEST_DESCRIPTION:,} characters.", param="description")
    return text.replace("\x00", "")


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags, each once, sorted."""
    found = tuple(sorted(set(tags)))
    wrong = next((tag for tag in found if _TAG.fullmatch(tag) is None), None)
    if wrong is not None or len(found) > MOST_TAGS:
        raise Invalid(
            f"{wrong[:40]!r} is no tag." if wrong is not None else f"A prompt has at most {MOST_TAGS} tags.",
            code="invalid_tags",
            param="tags",
            hint="Tags are 1 to 63 lowercase letters, digits, '.', '_', ':' and '-'.",
        )
    return found


def update(connection: sa.Connection, prompt: Prompt, changes: Changes, expect: int | None) -> Prompt:
    """A prompt after ``changes``."""
    if expect is not None and expect != prompt.version:
        raise store.moved_on("prompt", f"it is at version {prompt.version} of its description")
    wanted = {k: v for k, v in msgspec.structs.asdict(changes).items() if v is not msgspec.UNSET}
    changed = msgspec.structs.replace(prompt, **wanted, version=prompt.version + 1)
    changed = msgspec.structs.replace(
        changed, description=check_description(changed.description), tags=check_tags(changed.tags)
    )
    store.touch(
        connection,
        prompt.id,
        description=changed.description,
        tags=list(changed.tags),
        intent=changed.intent,
        version=changed.version,
    )
    return changed


def build(connection: sa.Connection, prompt_name: str, kind: Kind, project: str, draft: Draft) -> Content:
    """The content that a draft comes to today: partials pinned, everything judged. Raises ``Invalid``, ``NotFound``."""
    wanted = contents.references(draft)
    stray = sorted(set(draft.partials) - set(wanted))
    if stray:
        raise Invalid(
            f"The template does not take the partial {stray[0][:80]!r}.", code="unused_partial", param="partials"
        )
    pieces = store.Pieces(connection, project)
    pinned = {name: _pin(connection, project, name, draft.partials.get(name), prompt_name) for name in wanted}
    content = contents.build(kind, draft, pinned, pieces)
    # Versions are older than those that take them, so they form no circle; names must not either, or a partial could
    # never be changed without its older self.
    if prompt_name and any(name == prompt_name for name, _ in pieces.read):
        raise _cyclic(prompt_name)
    return content


def _pin(connection: sa.Connection, project: str, name: str, number: int | None, by: str) -> int:
    if name == by:
        raise _cyclic(name)
    row = store.find_row(connection, project, name)
    if row is None or row["name"] != name:
        raise Invalid(
            f"There is no partial {name!r}.",
            code="partial_not_found",
            param=f"partials.{name}",
            hint="Create it first.",
        )
    if row["kind"] != "partial":
        raise Invalid(
            f"{name!r} is a prompt of kind {row['kind']}, not a partial.",
            code="not_a_partial",
            param=f"partials.{name}",
        )
    if number is None and row["archived_at"] is not None:
        raise Conflict(f"The partial {name!r} is archived.", code="prompt_archived", hint="Restore it first.")
    chosen = row["latest"] if number is None else number
    if not 1 <= chosen <= row["latest"]:
        raise store.no_version(name, chosen, row["latest"])
    return int(chosen)


def _cyclic(name: str) -> Invalid:
    return Invalid(
        f"The partial {name!r} would contain itself.",
        code="cyclic_partial",
        param="text",
        hint="Take the reference out, or move what both need into a third partial.",
    )


def findings(
    content: Content, pieces: contents.Pieces, alias_exists: Callable[[str], bool] | None = None
) -> tuple[Finding, ...]:
    """What the linter says of a content: whether it can be called (as far as ``alias_exists`` tells), and cached."""
    compiled = contents.compile_texts(content, pieces)
    sources = [
        templates.Source(where, template)
        for (where, _), template in zip(contents.texts(content), compiled, strict=True)
    ]
    found = templates.lint(sources, schema=content.variables, tools=content.tools)
    return (*_uncallable(content, alias_exists), *found)


def _uncallable(content: Content, alias_exists: Callable[[str], bool] | None) -> tuple[Finding, ...]:
    """Why a call over ``/v1`` would be refused. Clients that render by themselves may do without a model."""
    if content.kind == "partial":
        return ()
    model: object = content.params.get("model")
    if not model:
        message = "It names no model to call: requests over /v1 are refused. Give an alias as `model` among its params."
        return (Finding(code="no-model", message=message, where="params.model"),)
    if alias_exists is not None and not alias_exists(str(model)):
        message = f"There is no model alias {str(model)[:80]!r} here: requests over /v1 are refused until there is."
        return (Finding(code="unknown-model", message=message, where="params.model"),)
    return ()


def add_version(
    connection: sa.Connection,
    prompt: Prompt,
    draft: Draft,
    *,
    message: str,
    source: Source,
    expect: int | None,
    actor: access.Actor,
    now: int,
    alias_exists: Callable[[str], bool] | None = None,
) -> Saved:
    """The version that a draft comes to: a new one, or the one that says the same already.

    ``prompt`` must have been read with its row locked. ``expect``: the newest version that the author saw.
    """
    if prompt.archived_at is not None:
        raise Conflict(f"The prompt {prompt.name!r} is archived.", code="prompt_archived", hint="Restore it first.")
    if expect is not None and expect != prompt.latest:
        newest = store.find_version(connection, prompt, prompt.latest) if prompt.latest else None
        told = f"its newest version is {prompt.latest}"
        raise store.moved_on("prompt", f"{told}, by {newest.author}" if newest is not None else "it has no version yet")
    if len(message) > LONGEST_MESSAGE:
        raise Invalid(f"A message has at most {LONGEST_MESSAGE:,} characters.", param="message")
    content = build(connection, prompt.name, prompt.kind, prompt.project_id, draft)
    encoded = contents.encode(content)
    digest = contents.digest(encoded)
    table = tables.prompt_version
    same = connection.scalar(sa.select(table.c.number).where(table.c.prompt_id == prompt.id, table.c.digest == digest))
    if same is not None:
        version = store.find_version(connection, prompt, same)
        return Saved(version=version, created=False, findings=version.findings)
    if prompt.latest >= MOST_VERSIONS:
        raise LimitReached(
            f"The prompt {prompt.name!r} has {MOST_VERSIONS:,} versions, as many as one may have.",
            code="too_many_versions",
            hint="Go on under another name.",
        )
    found = findings(content, store.Pieces(connection, prompt.project_id), alias_exists)
    version = Version(
        prompt=prompt.name,
        number=prompt.latest + 1,
        digest=digest,
        content=content,
        message=message.replace("\x00", ""),
        source=source,
        author=access.principal_of(actor),
        created_by=access.actor_name(actor),
        created_at=now,
        parent=prompt.latest,
        findings=found,
    )
    _insert(connection, prompt, version, encoded)
    return Saved(version=version, created=True, findings=found)


def _insert(connection: sa.Connection, prompt: Prompt, version: Version, encoded: str) -> None:
    values = {name: getattr(version, name) for name in store.META}
    values["findings"] = msgspec.to_builtins(version.findings)
    connection.execute(tables.prompt_version.insert().values(prompt_id=prompt.id, content=encoded, **values))
    content = version.content
    for name, number in (content.partials if content is not None else {}).items():
        row = store.find_row(connection, prompt.project_id, name)
        assert row is not None
        connection.execute(
            tables.prompt_reference.insert().values(
                prompt_id=prompt.id, number=version.number, partial_id=row["id"], partial_number=number
            )
        )
    store.touch(connection, prompt.id, latest=version.number)
