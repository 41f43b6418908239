"""The inventory: every ninety days, owners look at prompts that are stale, unowned, unused or drifting, and attest."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Resource, SystemActor, permissions
from ostinato.access.manage import find_project
from ostinato.core.errors import Conflict, NotFound, OstinatoError
from ostinato.families import Figures, Share
from ostinato.prompts import Prompt, Prompts
from ostinato.triage import store
from ostinato.triage.model import Finding, Item
from ostinato.triage.quality import Quality
from ostinato.triage.settings import Settings
from ostinato.triage.triage import Rooms

ACTOR = SystemActor("inventory")

Projects: TypeAlias = Callable[[], Awaitable[Sequence[tuple[str, str]]]]
"""Organization and project of all projects."""
Drifting: TypeAlias = Callable[[str], Awaitable[Mapping[tuple[str, str], str]]]
"""``drifting(project)``: prompt and intent, of which one may be empty -> what drifts there, in words."""
OpenCase: TypeAlias = Callable[[Item], Awaitable[None]]
"""Opens a case for an item that nobody has looked at in time. May be called again for the same."""

_DAY = 86_400_000_000
_COMMENT = 2_000
_PAGE = 500
_log = logging.getLogger(__name__)


class _Known(msgspec.Struct, frozen=True):
    """What is known of a prompt."""

    prompt: Prompt
    changed_at: int
    """When its newest version was made."""
    last: int
    """Its last request; 0: none is known."""
    quality: Share | None
    drift: str
    owner: str


class Inventory:
    """Asks owners, and remembers what they said. Every answer is one leaf of the audit log."""

    def __init__(self, rooms: Rooms, settings: Settings, prompts: Prompts, projects: Projects) -> None:
        self._rooms = rooms
        self._quality = Quality(rooms.signals, rooms.families, rooms.clock)
        self._settings = settings
        self._prompts = prompts
        self._projects = projects
        self.drifting: Drifting | None = None
        self.open_case: OpenCase | None = None
        self._task: asyncio.Task[None] | None = None
        self.failing = ""

    def start(self) -> None:
        """Begin to look, once a day."""
        if self._settings.enabled:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await self._rooms.clock.sleep(self._settings.look_seconds)
            await self.look()

    async def look(self) -> None:
        """One round over all projects, if a day has passed and no other process makes it. Does not raise."""
        now = self._rooms.clock.now()
        try:
            due = await self._rooms.control.run(lambda connection: store.begin(connection, "inventory", now, _DAY))
            for org, project in await self._projects() if due else ():
                await self.look_at(org, project)
        except OstinatoError as error:
            self.failing = error.message
        except Exception:
            self.failing = "the inventory could not be looked at"
            _log.exception("The inventory could not be looked at.")
        else:
            self.failing = ""

    async def look_at(self, org: str, project: str) -> Sequence[Item]:
        """The inventory of a project as it is now: who must be asked is asked, who is late is told of."""
        now = self._rooms.clock.now()
        known = await self._known(project)
        standing = {one.prompt: one for one in await self._rooms.control.read(lambda c: store.items(c, project))}
        changed: list[Item] = []
        for one in known:
            item = self._judged(org, project, one, standing.get(one.prompt.name), now)
            if item is not None:
                changed.append(item)
        there = {one.prompt.name for one in known}
        gone = [name for name in standing if name not in there]

        def work(connection: sa.Connection) -> None:
            for item in changed:
                store.put_item(connection, item)
            store.drop_items(connection, project, gone)

        if changed or gone:
            await self._rooms.control.run(work)
        items = await self._rooms.control.read(lambda connection: store.items(connection, project))
        for item in items:
            if item.state == "overdue" and self.open_case is not None:
                await self.open_case(item)
        return items

    def _judged(self, org: str, project: str, known: _Known, before: Item | None, now: int) -> Item | None:
        """The item as it must be written, or nothing where it is as it was."""
        settings = self._settings
        found = findings(known, settings, now)
        if before is None or (before.state == "attested" and now - before.asked_at >= settings.inventory_days * _DAY):
            if not found:
                return None
            return Item(
                org=org,
                project=project,
                prompt=known.prompt.name,
                intent=known.prompt.intent,
                owner=known.owner,
                findings=tuple(name for name, _ in found),
                reasons=tuple(text for _, text in found),
                asked_at=now,
                due_at=now + int(settings.attest_days * _DAY),
                version=before.version + 1 if before is not None else 1,
            )
        if before.state == "waiting" and now >= before.due_at:
            return msgspec.structs.replace(before, state="overdue", version=before.version + 1)
        return None

    # -- questions and answers -------------------------------------------------------------------------------------

    async def list(self, actor: Actor, project: str | None = None, *, look: bool = False) -> Sequence[Item]:
        """The inventory of a project, by prompt. ``look``: looked at anew."""
        home = await self._home(actor, project, "triage:read")
        if look:
            permissions.require(actor, "triage:decide", Resource(project=home[1]))
            return await self.look_at(*home)
        return await self._rooms.control.read(lambda connection: store.items(connection, home[1]))

    async def attest(
        self, actor: Actor, prompt: str, comment: str, *, project: str | None = None, version: int | None = None
    ) -> Item:
        """Say that somebody has looked at a prompt, and what is to become of it."""
        org, home = await self._home(actor, project, "triage:decide")
        now, occasion = self._rooms.clock.now(), audit.occasion()

        def work(connection: sa.Connection) -> Item:
            before = store.item(connection, home, prompt, lock=True)
            if before is None:
                raise NotFound(
                    f"The inventory asks nothing about {prompt[:200]!r}.",
                    code="inventory_not_found",
                    hint="`ostinato triage inventory` lists what it asks about.",
                )
            if version is not None and version != before.version:
                raise Conflict("The item has moved on since you looked.", code="version_moved", hint="Look again.")
            item = msgspec.structs.replace(
                before,
                state="attested",
                attested_at=now,
                attested_by=access.actor_name(actor),
                comment=comment.strip()[:_COMMENT],
                version=before.version + 1,
            )
            store.put_item(connection, item)
            deed = audit.Deed(
                actor=access.actor_name(actor),
                principal=access.principal_of(actor),
                action="triage:attest",
                resource=f"prompt:{home}/{prompt}",
                org=org,
                project=home,
                before=before.state,
                after=item.state,
                reason=item.comment,
                facts={"findings": ",".join(item.findings)},
            )
            self._rooms.log.append(connection, deed, occasion)
            return item

        return await self._rooms.control.run(work)

    # -- what is known ---------------------------------------------------------------------------------------------

    async def _known(self, project: str) -> Sequence[_Known]:
        rooms = self._rooms
        figures = await rooms.families.list(project)
        told = await self._quality.by_family(project)
        drifts: Mapping[tuple[str, str], str] = await self.drifting(project) if self.drifting is not None else {}
        found: list[_Known] = []
        after: str | None = None
        while True:
            page, after = await self._prompts.list(ACTOR, project, after=after, limit=_PAGE)
            found += [
                await self._of_prompt(project, one, figures, told, drifts) for one in page if one.kind != "partial"
            ]
            if after is None:
                return found

    async def _of_prompt(
        self,
        project: str,
        prompt: Prompt,
        figures: Sequence[Figures],
        told: Mapping[str, Share],
        drifts: Mapping[tuple[str, str], str],
    ) -> _Known:
        own = [one for one in figures if one.prompt == prompt.name]
        newest = max(own, key=lambda one: one.last, default=None)
        changed = prompt.created_at
        if prompt.latest:
            changed = (await self._prompts.version(ACTOR, project, prompt.name, prompt.latest)).created_at
        intent = self._rooms.intents.value.of(project, prompt.intent) if prompt.intent else None
        return _Known(
            prompt=prompt,
            changed_at=changed,
            last=newest.last if newest is not None else 0,
            quality=told.get(newest.family) if newest is not None else None,
            drift=_drift(drifts, prompt),
            owner=intent.declared.owner if intent is not None else "",
        )

    async def _home(self, actor: Actor, project: str | None, permission: str) -> tuple[str, str]:
        found = await self._rooms.control.read(lambda connection: find_project(connection, actor, project))
        permissions.require(actor, permission, Resource(project=found.id))
        return found.org_id, found.id


def _drift(drifts: Mapping[tuple[str, str], str], prompt: Prompt) -> str:
    """What is told of a prompt; else of its whole intent."""
    own = next((said for (name, _), said in drifts.items() if name == prompt.name), "")
    return own or (drifts.get(("", prompt.intent), "") if prompt.intent else "")


def findings(known: _Known, settings: Settings, now: int) -> list[tuple[Finding, str]]:
    """What is to be said of a prompt, each with its reason."""
    found: list[tuple[Finding, str]] = []
    if known.drift:
        found.append(("drifting", known.drift))
    age = (now - known.changed_at) / _DAY
    poor = known.quality is not None and known.quality.high < settings.low_quality
    if age >= settings.stale_days and (poor or known.drift):
        said = "it drifts" if known.drift else "few of its answers are good"
        found.append(("stale", f"Its newest version is {age:.0f} days old, and {said}."))
    if not known.owner:
        said = "whose intent names no owner" if known.prompt.intent else "and is of no intent"
        found.append(("unowned", f"Nobody answers for it: {said}."))
    idle = (now - max(known.last, known.changed_at)) / _DAY
    if idle >= settings.unused_days:
        found.append(("unused", f"It was not asked for {idle:.0f} days."))
    return found
