"""Labels: declared with their protection, moved with actor, reason and evidence, every move kept.

The functions here run on a connection, inside the caller's transaction. :func:`assign` is what a release moves a label
by: it judges no rights and writes no leaf, both are the release's; whoever calls it marks the notice
:data:`TOPIC` in the same transaction and publishes it afterwards.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from ostinato import access
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.prompts import store, tables
from ostinato.prompts.model import (
    LONGEST_MESSAGE,
    PRODUCTION,
    Assignment,
    Canary,
    Label,
    LabelMove,
    Prompt,
    Protection,
)

TOPIC: Final = "prompts"
_SEMVER = re.compile(r"v\d{1,9}(?:\.\d{1,9}){0,2}(?:-[a-z0-9.]{1,32})?")
_LARGEST_EVIDENCE = 16_384


def is_version_like(name: str) -> bool:
    """Whether a label names a version for good, as ``v1.2.3`` does: set once, never moved, needs no declaration."""
    return _SEMVER.fullmatch(name) is not None


def label(connection: sa.Connection, project: str, name: str) -> Label:
    """A label of a project (its id), declared or built in. Raises ``NotFound`` telling which there are."""
    table = tables.prompt_label
    query = sa.select(table).where(table.c.project_id == project, table.c.name == name[:64])
    row = connection.execute(query).mappings().first() if name.isprintable() else None
    if row is not None and row["name"] == name:
        return store.label(row)
    builtin = _builtin(project, name)
    if builtin is None:
        known = sorted({one.name for one in all_labels(connection, project)})
        raise NotFound(
            f"There is no label {name[:64]!r}.",
            code="label_not_found",
            param="label",
            hint=("This takes a label, not a number: point one at the version. " if name.isdecimal() else "")
            + f"There are {', '.join(known[:20])}, and those like v1.2.3. `ostinato labels declare` makes more.",
        )
    return builtin


def _builtin(project: str, name: str) -> Label | None:
    if name == PRODUCTION:
        return Label(
            project_id=project,
            name=name,
            description="What callers get who name no label.",
            protection=Protection(release_required=True, approvals=1),
            builtin=True,
        )
    if is_version_like(name):
        return Label(project_id=project, name=name, immutable=True, builtin=True)
    return None


def loosened(before: Label | None, after: Label) -> bool:
    """Whether a label may be moved more easily ``after`` a declaration than ``before``."""
    if before is None:
        return False
    old, new = before.protection, after.protection
    return (
        (before.immutable and not after.immutable)
        or (old.by_release and not new.by_release)
        or new.approvals < old.approvals
        or not set(old.gates) <= set(new.gates)
    )


def all_labels(connection: sa.Connection, project: str) -> list[Label]:
    """Every label of a project but those like ``v1.2.3``, by name."""
    table = tables.prompt_label
    rows = connection.execute(sa.select(table).where(table.c.project_id == project).order_by(table.c.name))
    found = [store.label(row) for row in rows.mappings()]
    production = _builtin(project, PRODUCTION)
    if production is not None and all(one.name != PRODUCTION for one in found):
        found.append(production)
    return sorted(found, key=lambda one: one.name)


def assignment(connection: sa.Connection, project: str, prompt: str, label: str) -> Assignment | None:
    """Where a label of a prompt (by name or id) points now; ``None``: nowhere. Raises ``NotFound`` for the prompt."""
    found = store.find_row(connection, project, prompt)
    if found is None:
        raise store.missing(prompt)
    named = [one for one in assignments(connection, found["id"], found["name"]) if one.label == label]
    return named[0] if named else None


def assignments(connection: sa.Connection, prompt_id: str, name: str) -> list[Assignment]:
    """All labels that point at versions of a prompt, by label."""
    table, versions = tables.prompt_assignment, tables.prompt_version
    query = (
        sa.select(table, versions.c.digest)
        .join(versions, (versions.c.prompt_id == table.c.prompt_id) & (versions.c.number == table.c.number))
        .where(table.c.prompt_id == prompt_id)
        .order_by(table.c.label)
    )
    return [
        Assignment(
            prompt_id=prompt_id,
            prompt=name,
            label=row.label,
            number=row.number,
            digest=row.digest,
            release=row.release,
            canary=store.canary(row.canary),
            assigned_at=row.assigned_at,
            assigned_by=row.assigned_by,
            version=row.version,
        )
        for row in connection.execute(query)
    ]


def assign(
    connection: sa.Connection,
    *,
    project: str,
    prompt: str,
    label: str,
    number: int,
    release: str = "",
    canary: Canary | None = None,
    actor: access.Actor,
    reason: str = "",
    evidence: object = None,
    now: int,
    expect: int | None = None,
) -> LabelMove:
    """Let ``label`` of a prompt (by name or id) point at version ``number``; ``number=0`` takes it away.

    ``release``: the id of the release that does so; its cache generation is named after it. ``canary``: a share for
    another version, ``None`` ends one. ``expect``: the ``Assignment.version`` that the caller saw (0: none yet).
    Raises ``NotFound`` (prompt, label, version), ``Conflict`` (moved meanwhile, archived, immutable), ``Invalid``.
    """
    found = store.find(connection, project, prompt, lock=True)
    declared = _label_of(connection, project, label)
    _movable(found, number)
    if canary is not None:
        _check_canary(found, canary)
    standing = assignment(connection, project, found.id, label)
    seen = standing.version if standing is not None else 0
    if expect is not None and expect != seen:
        raise store.moved_on("label", _stands(label, standing))
    if declared.immutable and standing is not None and (standing.number, standing.canary) != (number, canary):
        raise Conflict(
            f"The label {label!r} names version {standing.number} of {found.name!r} for good.",
            code="label_immutable",
            hint="Choose another label, such as the next version's.",
        )
    return _write(connection, found, label, standing, number, release, canary, actor, reason, evidence, now)


def _label_of(connection: sa.Connection, project: str, name: str) -> Label:
    return label(connection, project, name)


def _movable(prompt: Prompt, number: int) -> None:
    if prompt.kind == "partial":
        raise Invalid(
            f"{prompt.name!r} is a partial: prompts pin its versions by number, labels do not point at it.",
            code="partial_has_no_labels",
            param="prompt",
        )
    if number and prompt.archived_at is not None:
        raise Conflict(f"The prompt {prompt.name!r} is archived.", code="prompt_archived", hint="Restore it first.")
    if not 0 <= number <= prompt.latest:
        raise store.no_version(prompt.name, number, prompt.latest)


def _check_canary(prompt: Prompt, canary: Canary) -> None:
    if not 1 <= canary.number <= prompt.latest:
        raise store.no_version(prompt.name, canary.number, prompt.latest)
    if not (0 <= canary.share <= 1 and 0 <= canary.control <= 1 and canary.share + canary.control <= 1 + 1e-9):
        raise Invalid("The shares of canary and control are from 0 to 1 together.", param="canary.share")


def _write(
    connection: sa.Connection,
    prompt: Prompt,
    label: str,
    standing: Assignment | None,
    number: int,
    release: str,
    canary: Canary | None,
    actor: access.Actor,
    reason: str,
    evidence: object,
    now: int,
) -> LabelMove:
    if len(reason) > LONGEST_MESSAGE:
        raise Invalid(f"A reason has at most {LONGEST_MESSAGE:,} characters.", code="reason_too_long", param="reason")
    if evidence is not None and len(msgspec.json.encode(evidence)) > _LARGEST_EVIDENCE:
        raise Invalid(f"Evidence has at most {_LARGEST_EVIDENCE:,} bytes.", code="evidence_too_large", param="evidence")
    table = tables.prompt_assignment
    chosen = (table.c.prompt_id == prompt.id) & (table.c.label == label)
    shown = msgspec.to_builtins(canary)
    if not number:
        connection.execute(table.delete().where(chosen))
    else:
        values: dict[str, object] = {
            "number": number,
            "release": release,
            "canary": shown,
            "assigned_at": now,
            "assigned_by": access.actor_name(actor),
        }
        if standing is None:
            # A label that comes back after it was taken away goes on counting, so that an old look is noticed.
            version = 1 + _moves(connection, prompt.id, label)
            connection.execute(table.insert().values(prompt_id=prompt.id, label=label, version=version, **values))
        else:
            connection.execute(table.update().where(chosen).values(version=standing.version + 1, **values))
    move: dict[str, object] = {
        "label": label,
        "from_number": standing.number if standing is not None else 0,
        "number": number,
        "release": release,
        "actor": access.actor_name(actor),
        "principal": access.principal_of(actor),
        "reason": reason,
        "evidence": evidence,
        "at": now,
    }
    result = connection.execute(tables.prompt_move.insert().values(prompt_id=prompt.id, canary=shown, **move))
    store.touch(connection, prompt.id)
    key = result.inserted_primary_key
    return msgspec.convert({**move, "seq": key[0] if key else 0, "prompt": prompt.name, "canary": shown}, LabelMove)


def _moves(connection: sa.Connection, prompt_id: str, label: str) -> int:
    table = tables.prompt_move
    query = sa.select(sa.func.count()).where(table.c.prompt_id == prompt_id, table.c.label == label)
    return connection.scalar(query) or 0


def _stands(label: str, standing: Assignment | None) -> str:
    if standing is None:
        return f"the label {label!r} points nowhere"
    return f"the label {label!r} points at version {standing.number} (its move {standing.version})"


def moves(
    connection: sa.Connection, prompt: Prompt, *, label: str | None, after: int | None, limit: int
) -> Sequence[LabelMove]:
    """A page of the moves of a prompt's labels, newest first; ``after``: the ``seq`` of the last one seen."""
    table = tables.prompt_move
    query = sa.select(table).where(table.c.prompt_id == prompt.id)
    if label is not None:
        query = query.where(table.c.label == label)
    if after is not None:
        query = query.where(table.c.seq < after)
    rows = connection.execute(query.order_by(table.c.seq.desc()).limit(store.page_size(limit))).mappings()
    fields = [name for name in LabelMove.__struct_fields__ if name not in ("prompt", "canary")]
    return [
        LabelMove(**{name: row[name] for name in fields}, prompt=prompt.name, canary=store.canary(row["canary"]))
        for row in rows
    ]
