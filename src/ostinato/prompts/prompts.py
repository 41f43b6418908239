"""The room's one object with a life: :class:`Prompts`, which keeps the snapshot and carries out changes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Project, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import allows, require
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Denied, Invalid
from ostinato.prompts import comparing, labels, reading, snapshot, store, writing
from ostinato.prompts.comparing import Diff
from ostinato.prompts.labels import TOPIC
from ostinato.prompts.model import (
    Assignment,
    Draft,
    Kind,
    Label,
    LabelMove,
    Prompt,
    Protection,
    Saved,
    Source,
    Version,
)
from ostinato.prompts.reading import Dependants, Filters
from ostinato.prompts.snapshot import PromptSnapshot
from ostinato.prompts.writing import Changes
from ostinato.templates import Finding
from ostinato.wire.model import Json, Message, Text

T = TypeVar("T")

Assignments: TypeAlias = list[Assignment]
Labels: TypeAlias = list[Label]
MovesPage: TypeAlias = tuple[list[LabelMove], int | None]
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


Exists = Callable[[str, str], bool]
"""Whether a project (by id) has an intent of this key."""


class Prompts:
    """Prompts, versions and labels. ``snapshot.value.resolve`` is the hot path; everything else talks to the database.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. Another project's prompts
    do not exist (``NotFound``). Every change is one transaction: rows, audit leaf, notice.
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        intent_exists: Exists | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._notices = notices
        self._log = log
        self.intent_exists = intent_exists
        """``None``: any key is taken."""
        self._now = PromptSnapshot()
        self.snapshot = storage.Snapshot(self._load, notices, TOPIC, clock)
        """Every prompt; ``failing`` tells when they could not be read again."""
        self.snapshot.on_swap(self._swap)

    async def start(self) -> None:
        """Read all prompts and follow changes. Raises ``Unavailable`` if the database cannot be read."""
        await self.snapshot.start()

    async def stop(self) -> None:
        """Stop following changes; the last snapshot stays."""
        await self.snapshot.close()

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
            self._intent(home, intent)
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
                    connection, made, draft, message=message, source=source, expect=None, actor=actor, now=now
                )
                made = msgspec.structs.replace(made, latest=saved.version.number)
            facts: dict[str, str | int] = {"kind": kind, "version": made.latest}
            if saved is not None:
                facts["digest"] = saved.version.digest
            return (made, saved), self._deed(actor, home, made.name, "prompts:write", after=made, facts=facts)

        return await self._change(actor, project, work)

    async def home(self, actor: Actor, project: str | None = None) -> Project:
        """The project that the actor means, and may see prompts of."""

        def work(connection: sa.Connection) -> Project:
            found = find_project(connection, actor, project)
            require(actor, "prompts:read", Resource(project=found.id))
            return found

        return await self._database.read(work)

    async def show(self, actor: Actor, project: str | None, ref: str) -> Prompt:
        """One prompt by name or id."""
        return await self._read(actor, project, ref, lambda _, found: found)

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
            return [one for one in found if allows(actor, "prompts:read", _about(home, one))], following

        return await self._database.read(work)

    async def update(
        self, actor: Actor, project: str | None, ref: str, changes: Changes, version: int | None = None
    ) -> Prompt:
        """One prompt after ``changes``. ``version``: what the caller saw; ``Conflict`` if it moved on."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Prompt, audit.Deed]:
            found = self._own(connection, actor, home, ref, "prompts:write")
            if isinstance(changes.intent, str) and changes.intent != found.intent:
                self._intent(home, changes.intent)
                require(actor, "prompts:write", Resource(project=home.id, prompt=found.name, intent=changes.intent))
            changed = writing.update(connection, found, changes, version)
            return changed, self._deed(actor, home, found.name, "prompts:write", before=found, after=changed)

        return await self._change(actor, project, work)

    async def archive(self, actor: Actor, project: str | None, ref: str, *, reason: str = "") -> Prompt:
        """Take a prompt out of use. Raises ``Conflict`` while a label that needs a release points at it."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Prompt, audit.Deed]:
            found = self._own(connection, actor, home, ref, "prompts:write")
            for one in labels.assignments(connection, found.id, found.name):
                if labels.label(connection, home.id, one.label).protection.by_release:
                    raise Conflict(
                        f"The label {one.label!r} points at version {one.number} of {found.name!r}.",
                        code="prompt_in_use",
                        hint=f"Take the label away first: ostinato prompts unlabel {found.name} {one.label}",
                    )
            return self._archived(connection, actor, home, found, now, reason)

        return await self._change(actor, project, work)

    async def restore(self, actor: Actor, project: str | None, ref: str, *, reason: str = "") -> Prompt:
        """Take an archived prompt back into use, with its labels where they were."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Prompt, audit.Deed]:
            found = self._own(connection, actor, home, ref, "prompts:write")
            return self._archived(connection, actor, home, found, None, reason)

        return await self._change(actor, project, work)

    def _archived(
        self, connection: sa.Connection, actor: Actor, home: Project, found: Prompt, at: int | None, reason: str
    ) -> tuple[Prompt, audit.Deed]:
        changed = msgspec.structs.replace(found, archived_at=at, version=found.version + 1)
        store.touch(connection, found.id, archived_at=at, version=changed.version)
        facts: dict[str, str | int] = {"state": "archived" if at is not None else "restored"}
        return changed, self._deed(
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
            found = self._own(connection, actor, home, ref, "prompts:write")
            saved = writing.add_version(
                connection, found, draft, message=message, source=source, expect=expect, actor=actor, now=now
            )
            if not saved.created:
                return saved, None
            facts: dict[str, str | int] = {
                "version": saved.version.number,
                "digest": saved.version.digest,
                "source": source,
            }
            return saved, self._deed(
                actor, home, found.name, "prompts:write", after=saved.version.content, reason=message, facts=facts
            )

        return await self._change(actor, project, work)

    async def version(self, actor: Actor, project: str | None, ref: str, number: int) -> Version:
        """One version with its content."""
        return await self._read(actor, project, ref, lambda c, found: store.find_version(c, found, number))

    async def versions(
        self, actor: Actor, project: str | None, ref: str, *, after: int | None = None, limit: int = 100
    ) -> VersionsPage:
        """A page of versions without their contents, newest first, and the next page's ``after``."""
        found = await self._read(actor, project, ref, lambda c, one: reading.versions(c, one, after=after, limit=limit))
        return found, found[-1].number if len(found) == limit and found[-1].number > 1 else None

    async def diff(self, actor: Actor, project: str | None, ref: str, old: int, new: int) -> Diff:
        """What changed from version ``old`` to version ``new``."""
        return await self._read(
            actor,
            project,
            ref,
            lambda c, found: comparing.diff(store.find_version(c, found, old), store.find_version(c, found, new)),
        )

    async def dependants(self, actor: Actor, project: str | None, ref: str) -> Dependants:
        """What would feel a change: prompts that take this partial, labels that point at this prompt."""
        return await self._read(actor, project, ref, reading.dependants)

    async def lint(self, actor: Actor, project: str | None, kind: Kind, draft: Draft) -> tuple[Finding, ...]:
        """What the linter says of a draft; nothing is stored. Raises what saving it would raise."""

        def work(connection: sa.Connection) -> tuple[Finding, ...]:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read", Resource(project=home.id))
            content = writing.build(connection, "", kind, home.id, draft)
            return writing.findings(content, store.Pieces(connection, home.id))

        return await self._database.read(work)

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
        found = await self._read(actor, project, ref, lambda _, one: one)
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

    # -- labels ----------------------------------------------------------------------------------------------------

    async def labels(self, actor: Actor, project: str | None = None) -> Labels:
        """The labels of a project, by name; those like ``v1.2.3`` need no declaration and are not listed."""

        def work(connection: sa.Connection) -> Labels:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read", Resource(project=home.id))
            return labels.all_labels(connection, home.id)

        return await self._database.read(work)

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
        """Declare a label, or change its declaration. ``version``: what the caller saw (0: not declared)."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Label, audit.Deed]:
            require(actor, "labels:write", Resource(project=home.id, label=name[:64]))
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

        return await self._change(actor, project, work)

    async def assignments(self, actor: Actor, project: str | None, ref: str) -> Assignments:
        """Where the labels of a prompt point."""
        return await self._read(actor, project, ref, lambda c, found: labels.assignments(c, found.id, found.name))

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
            return move, self._deed(actor, home, found.name, "labels:move", reason=reason, facts=facts)

        return await self._change(actor, project, work)

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
        found = await self._read(
            actor, project, ref, lambda c, one: list(labels.moves(c, one, label=label, after=after, limit=limit))
        )
        return found, found[-1].seq if len(found) == limit else None

    # -- how it is done --------------------------------------------------------------------------------------------

    def _intent(self, home: Project, intent: str) -> None:
        if intent and self.intent_exists is not None and not self.intent_exists(home.id, intent):
            raise Invalid(
                f"There is no intent {intent[:80]!r} in this project.",
                code="intent_not_found",
                param="intent",
                hint="`ostinato intents list` shows them.",
            )

    def _own(self, connection: sa.Connection, actor: Actor, home: Project, ref: str, permission: str) -> Prompt:
        """A prompt with its row locked, if the actor has the permission on it."""
        found = store.find(connection, home.id, ref, lock=True)
        require(actor, permission, _about(home, found))
        return found

    def _deed(
        self,
        actor: Actor,
        home: Project,
        name: str,
        action: str,
        *,
        before: object = None,
        after: object = None,
        reason: str = "",
        facts: dict[str, str | int] | None = None,
    ) -> audit.Deed:
        return audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action,
            resource=f"prompt:{home.id}/{name}",
            org=home.org_id,
            project=home.id,
            before=None if before is None else msgspec.to_builtins(before),
            after=None if after is None else msgspec.to_builtins(after),
            reason=reason,
            facts=facts or {},
        )

    async def _read(self, actor: Actor, project: str | None, ref: str, work: Callable[[sa.Connection, Prompt], T]) -> T:
        def query(connection: sa.Connection) -> T:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read")
            found = store.find(connection, home.id, ref)
            require(actor, "prompts:read", _about(home, found))
            return work(connection, found)

        return await self._database.read(query)

    async def _change(
        self,
        actor: Actor,
        project: str | None,
        work: Callable[[sa.Connection, Project, int], tuple[T, audit.Deed | None]],
    ) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T, bool]:
            home = find_project(connection, actor, project)
            result, deed = work(connection, home, self._clock.now())
            if deed is not None:
                self._notices.mark(connection, TOPIC)
                self._log.append(connection, deed, occasion)
            return result, deed is not None

        result, changed = await self._database.run(transaction)
        if changed:
            self._notices.publish(TOPIC, marked=True)
            if self.snapshot.epoch:
                await self.snapshot.reload()
        return result

    async def _load(self) -> PromptSnapshot:
        known = self._now
        return await self._database.read(lambda connection: snapshot.load(connection, known))

    def _swap(self, value: PromptSnapshot) -> None:
        self._now = value


def _said(message: Message) -> str:
    return "".join(block.text for block in message.content if isinstance(block, Text))


def _about(home: Project, prompt: Prompt) -> Resource:
    return Resource(project=home.id, prompt=prompt.name, intent=prompt.intent)
