"""The room's one object with a life: :class:`Prompts`, which keeps the snapshot and carries out changes."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato import audit
from ostinato.access import Actor, Project, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import allows, require
from ostinato.core.errors import Conflict
from ostinato.prompts import comparing, labels, reading, store, writing
from ostinato.prompts.comparing import Diff
from ostinato.prompts.labelling import Labelling
from ostinato.prompts.model import (
    Draft,
    Kind,
    Prompt,
    Saved,
    Source,
    Version,
)
from ostinato.prompts.reading import Dependants, Filters
from ostinato.prompts.registry import about
from ostinato.prompts.writing import Changes
from ostinato.templates import Finding
from ostinato.wire.model import Json, Message, Text

VersionsPage: TypeAlias = tuple[list[Version], int | None]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered prompt, to look at."""

    prompt: str
    number: int
    digest: str
    label: str
    release: str
    arm: str
    messages: list[dict[str, str]]
    """``role`` and ``content``."""
    model: str
    """The alias to call; empty where the prompt names none."""
    params: Json


class Prompts(Labelling):
    """Prompts, versions and labels. ``snapshot.value.resolve`` is the hot path; everything else talks to the database.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. Another project's prompts
    do not exist (``NotFound``). Every change is one transaction: rows, audit leaf, notice.
    """

    # -- prompts ---------------------------------------------------------------------------------------------------

    async def create(
        self,
        actor: Actor,
        project: str | None,
        name: str,
        *,
        kind: Kind = "chat",
        description: str = "",
        tags: Iterable[str] = (),
        intent: str = "",
        draft: Draft | None = None,
        message: str = "",
        source: Source = "person",
    ) -> tuple[Prompt, Saved | None]:
        """A new prompt, with its first version where a ``draft`` is given. Raises ``Conflict`` for a name in use."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[tuple[Prompt, Saved | None], audit.Deed]:
            require(actor, "prompts:write", Resource(project=home.id, prompt=name[:200], intent=intent))
            self.see_intent(home, intent)
            made = writing.create(
                connection,
                home,
                name,
                kind=kind,
                description=description,
                tags=tags,
                intent=intent,
                actor=actor,
                now=now,
            )
            saved = None
            if draft is not None:
                saved = writing.add_version(
                    connection,
                    made,
                    draft,
                    message=message,
                    source=source,
                    expect=None,
                    actor=actor,
                    now=now,
                    alias_exists=self.aliases(home),
                )
                self.see_partials(connection, actor, home, saved.version.content)
                made = msgspec.structs.replace(made, latest=saved.version.number)
            facts: dict[str, str | int] = {"kind": kind, "version": made.latest}
            if saved is not None:
                facts["digest"] = saved.version.digest
            return (made, saved), self.deed(actor, home, made.name, "prompts:write", after=made, facts=facts)

        return await self.change(actor, project, work)

    async def home(self, actor: Actor, project: str | None = None) -> Project:
        """The project that the actor means, and may see prompts of."""

        def work(connection: sa.Connection) -> Project:
            found = find_project(connection, actor, project)
            require(actor, "prompts:read", Resource(project=found.id))
            return found

        return await self.database.read(work)

    async def show(self, actor: Actor, project: str | None, ref: str) -> Prompt:
        """One prompt by name or id."""
        return await self.read(actor, project, ref, lambda _, found: found)

    async def list(
        self,
        actor: Actor,
        project: str | None = None,
        *,
        filters: Filters | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Prompt], str | None]:
        """A page of prompts by name, and what to give as ``after`` for the next one."""

        def work(connection: sa.Connection) -> tuple[list[Prompt], str | None]:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read")
            found = reading.page(connection, home.id, filters or Filters(), after=after, limit=limit)
            following = found[-1].name if len(found) == limit else None
            return [one for one in found if allows(actor, "prompts:read", about(home, one))], following

        return await self.database.read(work)

    async def update(
        self, actor: Actor, project: str | None, ref: str, changes: Changes, version: int | None = None
    ) -> Prompt:
        """One prompt after ``changes``. ``version``: what the caller saw; ``Conflict`` if it moved on."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Prompt, audit.Deed]:
            found = self.own(connection, actor, home, ref, "prompts:write")
            if isinstance(changes.intent, str) and changes.intent != found.intent:
                self.see_intent(home, changes.intent)
                self.leave_intent(actor, home, found)
                require(actor, "prompts:write", Resource(project=home.id, prompt=found.name, intent=changes.intent))
            changed = writing.update(connection, found, changes, version)
            return changed, self.deed(actor, home, found.name, "prompts:write", before=found, after=changed)

        return await self.change(actor, project, work)

    async def archive(self, actor: Actor, project: str | None, ref: str, *, reason: str = "") -> Prompt:
        """Take a prompt out of use. Raises ``Conflict`` while a label that needs a release points at it."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Prompt, audit.Deed]:
            found = self.own(connection, actor, home, ref, "prompts:write")
            for one in labels.assignments(connection, found.id, found.name):
                if labels.label(connection, home.id, one.label).protection.by_release:
                    raise Conflict(
                        f"The label {one.label!r} points at version {one.number} of {found.name!r}.",
                        code="prompt_in_use",
                        hint=f"Take the label away first: ostinato prompts unlabel {found.name} {one.label}",
                    )
            return self._archived(connection, actor, home, found, now, reason)

        return await self.change(actor, project, work)

    async def restore(self, actor: Actor, project: str | None, ref: str, *, reason: str = "") -> Prompt:
        """Take an archived prompt back into use, with its labels where they were."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Prompt, audit.Deed]:
            found = self.own(connection, actor, home, ref, "prompts:write")
            return self._archived(connection, actor, home, found, None, reason)

        return await self.change(actor, project, work)

    def _archived(
        self, connection: sa.Connection, actor: Actor, home: Project, found: Prompt, at: int | None, reason: str
    ) -> tuple[Prompt, audit.Deed]:
        changed = msgspec.structs.replace(found, archived_at=at, version=found.version + 1)
        store.touch(connection, found.id, archived_at=at, version=changed.version)
        facts: dict[str, str | int] = {"state": "archived" if at is not None else "restored"}
        return changed, self.deed(
            actor, home, found.name, "prompts:write", before=found, after=changed, reason=reason, facts=facts
        )

    # -- versions --------------------------------------------------------------------------------------------------

    async def add_version(
        self,
        actor: Actor,
        project: str | None,
        ref: str,
        draft: Draft,
        *,
        message: str = "",
        source: Source = "person",
        expect: int | None = None,
    ) -> Saved:
        """The version that ``draft`` comes to; one that says the same already is given back and nothing changes.

        ``expect``: the newest version that the author saw. Raises ``Conflict`` if there is a newer one, ``Invalid``
        naming what is wrong with the draft.
        """

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Saved, audit.Deed | None]:
            found = self.own(connection, actor, home, ref, "prompts:write")
            saved = writing.add_version(
                connection,
                found,
                draft,
                message=message,
                source=source,
                expect=expect,
                actor=actor,
                now=now,
                alias_exists=self.aliases(home),
            )
            self.see_partials(connection, actor, home, saved.version.content)
            if not saved.created:
                return saved, None
            facts: dict[str, str | int] = {
                "version": saved.version.number,
                "digest": saved.version.digest,
                "source": source,
            }
            return saved, self.deed(
                actor, home, found.name, "prompts:write", after=saved.version.content, reason=message, facts=facts
            )

        return await self.change(actor, project, work)

    async def version(self, actor: Actor, project: str | None, ref: str, number: int) -> Version:
        """One version with its content."""
        return await self.read(actor, project, ref, lambda c, found: store.find_version(c, found, number))

    async def versions(
        self, actor: Actor, project: str | None, ref: str, *, after: int | None = None, limit: int = 100
    ) -> VersionsPage:
        """A page of versions without their contents, newest first, and the next page's ``after``."""
        found = await self.read(actor, project, ref, lambda c, one: reading.versions(c, one, after=after, limit=limit))
        return found, found[-1].number if len(found) == limit and found[-1].number > 1 else None

    async def diff(self, actor: Actor, project: str | None, ref: str, old: int, new: int) -> Diff:
        """What changed from version ``old`` to version ``new``."""
        return await self.read(
            actor,
            project,
            ref,
            lambda c, found: comparing.diff(store.find_version(c, found, old), store.find_version(c, found, new)),
        )

    async def dependants(self, actor: Actor, project: str | None, ref: str) -> Dependants:
        """What would feel a change: prompts that take this partial, labels that point at this prompt."""
        return await self.read(actor, project, ref, reading.dependants)

    async def lint(self, actor: Actor, project: str | None, kind: Kind, draft: Draft) -> tuple[Finding, ...]:
        """What the linter says of a draft; nothing is stored. Raises what saving it would raise."""

        def work(connection: sa.Connection) -> tuple[Finding, ...]:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read", Resource(project=home.id))
            content = writing.build(connection, "", kind, home.id, draft)
            self.see_partials(connection, actor, home, content)
            return writing.findings(content, store.Pieces(connection, home.id), self.aliases(home))

        return await self.database.read(work)

    async def render(
        self,
        actor: Actor,
        project: str | None,
        ref: str,
        which: str = "",
        variables: Mapping[str, Any] | None = None,
        seed: bytes = b"",
    ) -> Shown:
        """What a version comes to with ``variables``. ``which``: a label (default ``production``) or a number."""
        found = await self.read(actor, project, ref, lambda _, one: one)
        resolved = self.snapshot.value.resolve(found.project_id, f"{found.name}@{which}", seed)
        rendered = resolved.compiled.render(variables)
        return Shown(
            prompt=resolved.prompt,
            number=resolved.number,
            digest=resolved.digest,
            label=resolved.label,
            release=resolved.release,
            arm=resolved.arm,
            messages=[{"role": one.role, "content": _said(one)} for one in rendered.messages],
            model=rendered.model,
            params=resolved.compiled.content.params,
        )


def _said(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, Text))
