"""The part of the door that is about labels."""

from typing import TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Project, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import require
from ostinato.core.errors import Conflict, Denied
from ostinato.prompts import labels, reading, store, writing
from ostinato.prompts.model import (
    Assignment,
    Label,
    LabelMove,
    Protection,
)
from ostinato.prompts.registry import Registry

Assignments: TypeAlias = list[Assignment]
Labels: TypeAlias = list[Label]
MovesPage: TypeAlias = tuple[list[LabelMove], int | None]


class Labelling(Registry):
    """Labels: declared, moved, looked at. See :class:`~ostinato.prompts.prompts.Prompts`."""

    async def labels(self, actor: Actor, project: str | None = None) -> Labels:
        """The labels of a project, by name; those like ``v1.2.3`` need no declaration and are not listed."""

        def work(connection: sa.Connection) -> Labels:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read", Resource(project=home.id))
            return labels.all_labels(connection, home.id)

        return await self.database.read(work)

    async def declare_label(
        self,
        actor: Actor,
        project: str | None,
        name: str,
        *,
        description: str = "",
        protection: Protection | None = None,
        immutable: bool = False,
        version: int | None = None,
    ) -> Label:
        """Declare a label, or change its declaration. ``version``: what the caller saw (0: not declared).

        To loosen its protection also takes ``releases:approve``: else who may not approve a release could do without.
        """

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Label, audit.Deed]:
            require(actor, "labels:write", Resource(project=home.id, label=name[:64]))
            stood = next((one for one in labels.all_labels(connection, home.id) if one.name == name), None)
            before, made = reading.declare_label(
                connection,
                home.id,
                name,
                description=writing.check_description(description),
                protection=protection or Protection(),
                immutable=immutable,
                expect=version,
                actor=actor,
                now=now,
            )
            if labels.loosened(stood, made):
                require(actor, "releases:approve", Resource(project=home.id, label=name))
            deed = audit.Deed(
                actor=access.actor_name(actor),
                principal=access.principal_of(actor),
                action="labels:write",
                resource=f"label:{home.id}/{name}",
                org=home.org_id,
                project=home.id,
                before=msgspec.to_builtins(before),
                after=msgspec.to_builtins(made),
                facts={"version": made.version},
            )
            return made, deed

        return await self.change(actor, project, work)

    async def assignments(self, actor: Actor, project: str | None, ref: str) -> Assignments:
        """Where the labels of a prompt point."""
        return await self.read(actor, project, ref, lambda c, found: labels.assignments(c, found.id, found.name))

    async def move_label(
        self,
        actor: Actor,
        project: str | None,
        ref: str,
        label: str,
        number: int,
        *,
        reason: str = "",
        evidence: object = None,
        expect: int | None = None,
    ) -> LabelMove:
        """Let a label point at a version. ``expect``: the ``version`` of the assignment that the caller saw.

        Raises ``Denied`` where only a release may move it, ``NotFound`` for a label or version that does not exist,
        ``Conflict`` for a label that names a version for good, or that somebody moved meanwhile.
        """
        return await self._move(actor, project, ref, label, number, reason, evidence, expect)

    async def clear_label(
        self, actor: Actor, project: str | None, ref: str, label: str, *, reason: str = "", expect: int | None = None
    ) -> LabelMove:
        """Take a label away from a prompt. One that needs releases takes ``labels:write``, as its declaration does."""
        return await self._move(actor, project, ref, label, 0, reason, None, expect)

    async def _move(
        self,
        actor: Actor,
        project: str | None,
        ref: str,
        label: str,
        number: int,
        reason: str,
        evidence: object,
        expect: int | None,
    ) -> LabelMove:
        def work(connection: sa.Connection, home: Project, now: int) -> tuple[LabelMove, audit.Deed]:
            found = store.find(connection, home.id, ref, lock=True)
            about = Resource(project=home.id, prompt=found.name, intent=found.intent, label=label[:64])
            require(actor, "labels:move", about)
            declared = labels.label(connection, home.id, label)
            if declared.protection.by_release:
                if number:
                    raise Denied(
                        f"The label {label!r} is moved by releases only.",
                        code="label_protected",
                        hint=f"Propose one: ostinato releases propose {found.name} {number} --label {label}",
                    )
                require(actor, "labels:write", about)
            move = labels.assign(
                connection,
                project=home.id,
                prompt=found.id,
                label=label,
                number=number,
                actor=actor,
                reason=reason,
                evidence=evidence,
                now=now,
                expect=expect,
            )
            if not number and not move.from_number:
                raise Conflict(f"The label {label!r} of {found.name!r} points nowhere.", code="label_not_assigned")
            facts: dict[str, str | int] = {"label": label, "from": move.from_number, "to": number, "move": move.seq}
            return move, self.deed(actor, home, found.name, "labels:move", reason=reason, facts=facts)

        return await self.change(actor, project, work)

    async def history(
        self,
        actor: Actor,
        project: str | None,
        ref: str,
        *,
        label: str | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> MovesPage:
        """A page of the moves of a prompt's labels, newest first, and the next page's ``after``."""
        found = await self.read(
            actor, project, ref, lambda c, one: list(labels.moves(c, one, label=label, after=after, limit=limit))
        )
        return found, found[-1].seq if len(found) == limit else None
