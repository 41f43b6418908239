"""Carrying changes of intents out: at once where little is at stake, else as a request that others must approve.

What has been approved is exactly what stands afterwards: a request is bound to the digest of the change and to the
version of the intent that it was made from. Every deed leaves one leaf in the audit log, in its own transaction.
"""

import hashlib
from collections.abc import Callable

import msgspec

from ostinato import access, approvals, audit, storage
from ostinato.access import Actor, Resource
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, NotFound, OstinatoError
from ostinato.intents.model import Declaration, Stakes
from ostinato.intents.stakes import change_approvals
from ostinato.storage import declarations

KIND = "intents"
"""Of declarations."""
TOPIC = "policies"
"""Of notices: intents are compiled together with policies and check rules."""
REQUEST = "intent"
"""Kind of the requests for approval."""
_WEEK = 7 * 86_400_000_000
"""Microseconds that a request waits."""


class Change(msgspec.Struct, frozen=True):
    """A change as it waits for approval; its digest is what is approved."""

    name: str
    version: int
    """Of the declaration that it changes; 0: there was none."""
    body: object
    """What is to stand; ``None``: it is to be removed."""

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(hashing.canonical_json(self)).hexdigest()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to change, judged by the caller: may they, and can it be obeyed."""

    change: Change
    before: Declaration | None
    """What stands now."""
    after: Declaration | None
    """What would stand; ``None``: nothing."""
    org: str
    """Id of the organization that the intent belongs to; empty: everybody's."""
    over: Stakes | None = None
    """Of everybody's intent of the same key, which a project's own would stand before."""

    @classmethod
    def of(cls, change: Change, before: object, org: str) -> "Wanted":
        """``before``: the body that stands, with its project's id; ``None``: there is none."""
        return cls(change=change, before=_read(before), after=_read(change.body), org=org)

    @property
    def on(self) -> Resource:
        """What rights to change or approve it are judged on."""
        one = self.after or self.before
        project = "" if one is None or one.project == "*" else one.project
        return Resource(project=project, intent=(one.key if one is not None else "") or self.change.name)


def _read(body: object) -> Declaration | None:
    if body is None:
        return None
    try:
        return msgspec.convert(body, Declaration)
    except msgspec.ValidationError:
        # Of another version of Ostinato: nobody knows how much is at stake.
        return Declaration(stakes="critical")


MayApprove = Callable[[storage.Connection, str, str, Resource], bool]
"""Whether a principal of an organization may approve now what is done to a resource: connection, principal, org, on."""


class Changes:
    """The one way in which intents change over the API."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        may_approve: MayApprove | None = None,
    ) -> None:
        """``may_approve``: asked of every approval again when a change is carried out; left out, each one counts."""
        self._database = database
        self._clock = clock
        self._notices = notices
        self._log = log
        self._may_approve = may_approve

    async def make(self, actor: Actor, wanted: Wanted) -> int | approvals.Request:
        """Carry a change out, giving the new version (0: removed); or ask for the approval that its stakes need.

        Raises ``Conflict`` where it was changed meanwhile, is read-only, or another change of it waits already.
        """
        occasion = audit.occasion()
        result = await self._database.run(lambda connection: self._make(connection, actor, wanted, occasion))
        if isinstance(result, int):
            self._notices.publish(TOPIC, marked=True)
        return result

    def _make(
        self, connection: storage.Connection, actor: Actor, wanted: Wanted, occasion: audit.Occasion
    ) -> int | approvals.Request:
        stakes: list[Stakes] = [one.stakes for one in (wanted.before, wanted.after) if one is not None]
        if wanted.over is not None and wanted.after is not None:
            # Else a project's own of low stakes would lower them without a word from anybody.
            stakes.append(wanted.over)
        needed = change_approvals(*stakes)
        if not needed:
            version, before = self._apply(connection, actor, wanted.change)
            self._write(connection, actor, occasion, wanted, before, {"version": version})
            return version
        _refuse_stale(connection, wanted.change)
        target = _target(wanted.change)
        for other in self._waiting(connection, target):
            raise Conflict(
                f"Another change of {target} waits for approval: request {other.id}.",
                code="change_pending",
                hint="Have it approved, or reject it, then come again.",
            )
        now = self._clock.now()
        request = approvals.open_request(
            connection,
            now=now,
            actor=actor,
            kind=REQUEST,
            target=target,
            digest=wanted.change.digest(),
            body=msgspec.to_builtins(wanted.change),
            needed=needed,
            org=wanted.org,
            project=wanted.on.project,
            expires=now + _WEEK,
        )
        facts: dict[str, str | int] = {"request": request.id, "digest": request.digest, "needed": needed}
        self._write(connection, actor, occasion, wanted, None, facts, action="intents:propose")
        return request

    async def waiting(self, name: str) -> approvals.Request | None:
        """The change of an intent that waits for approval, if there is one."""
        found = await self._database.read(lambda connection: self._waiting(connection, f"intent:{name}"))
        return found[0] if found else None

    async def decide(
        self, actor: Actor, wanted: Wanted, *, decision: str, digest: str, comment: str = ""
    ) -> approvals.Request:
        """One more word on the change that waits; with the last approval that it needs, the change stands.

        ``wanted`` is what waits, judged again. Raises ``NotFound`` (nothing waits), ``Denied`` (the author approves)
        and ``Conflict`` (``digest`` is of another change, or the intent has moved on: the request is then void).
        """
        occasion = audit.occasion()
        request, voided = await self._database.run(
            lambda connection: self._decide(connection, actor, wanted, decision, digest, comment, occasion)
        )
        if request.state == "done":
            self._notices.publish(TOPIC, marked=True)
        if voided is not None:
            raise voided
        return request

    def _decide(
        self,
        connection: storage.Connection,
        actor: Actor,
        wanted: Wanted,
        decision: str,
        digest: str,
        comment: str,
        occasion: audit.Occasion,
    ) -> tuple[approvals.Request, OstinatoError | None]:
        now, target = self._clock.now(), _target(wanted.change)
        request = next(iter(self._waiting(connection, target)), None)
        if request is None:
            raise NotFound(f"No change of {target} waits for approval.", code="approval_not_found")
        if request.digest != wanted.change.digest():
            raise Conflict(
                f"Another change of {target} waits for approval by now.", code="approval_stale", hint="Look again."
            )
        try:
            _refuse_stale(connection, wanted.change)
        except Conflict as error:
            # The request ends whatever was decided: this must be kept, so it is told only after the commit.
            approvals.void(connection, request.id, f"{target} was changed meanwhile", now=now)
            facts: dict[str, str | int] = {"request": request.id}
            self._write(connection, actor, occasion, wanted, None, facts, action="intents:void", comment=comment)
            return approvals.find(connection, request.id), error
        approvals.decide(
            connection, now=now, actor=actor, request_id=request.id, decision=decision, comment=comment, digest=digest
        )
        facts = {"request": request.id, "digest": digest}
        before: object = None
        if decision == approvals.APPROVE:
            tally = approvals.tally(connection, request.id, now=now, allowed=self._allowed(connection, wanted))
            facts["approvals"] = len(tally.approved_by)
            if tally.reached:
                approvals.complete(connection, request.id, now=now)
                facts["version"], before = self._apply(connection, actor, wanted.change)
        action = f"intents:{decision}"
        self._write(connection, actor, occasion, wanted, before, facts, action=action, comment=comment)
        return approvals.find(connection, request.id), None

    def _allowed(self, connection: storage.Connection, wanted: Wanted) -> Callable[[str], bool]:
        may = self._may_approve
        if may is None:
            return lambda _: True
        return lambda principal: may(connection, principal, wanted.org, wanted.on)

    def _waiting(self, connection: storage.Connection, target: str) -> list[approvals.Request]:
        now = self._clock.now()
        found = approvals.page(connection, org=None, kind=REQUEST, target=target, state="open")
        return [request for request in found if request.standing(now) == "open"]

    def _apply(self, connection: storage.Connection, actor: Actor, change: Change) -> tuple[int, object]:
        """Put or remove it; gives the new version (0: removed) and the body before."""
        now, name = self._clock.now(), access.actor_name(actor)
        before = _refuse_stale(connection, change)
        version = 0
        if change.body is None:
            declarations.remove(connection, KIND, change.name, actor=name, source="api", now=now, expect=change.version)
        else:
            version, _ = declarations.put(
                connection, KIND, change.name, change.body, actor=name, source="api", now=now, expect=change.version
            )
        self._notices.mark(connection, TOPIC)
        return version, before

    def _write(
        self,
        connection: storage.Connection,
        actor: Actor,
        occasion: audit.Occasion,
        wanted: Wanted,
        before: object,
        facts: dict[str, str | int],
        *,
        action: str = "",
        comment: str = "",
    ) -> None:
        stakes = {
            name: one.stakes for name, one in (("before", wanted.before), ("after", wanted.after)) if one is not None
        }
        deed = audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action or ("intents:remove" if wanted.change.body is None else "intents:write"),
            resource=_target(wanted.change),
            org=wanted.org,
            project=wanted.on.project,
            before=before,
            after=wanted.change.body,
            reason=comment,
            facts={**facts, **{f"stakes_{name}": value for name, value in stakes.items()}},
        )
        self._log.append(connection, deed, occasion)


def change_of(request: approvals.Request) -> Change:
    """The change that a request is about."""
    return msgspec.convert(request.body, Change)


def _target(change: Change) -> str:
    return f"intent:{change.name}"


def _refuse_stale(connection: storage.Connection, change: Change) -> object:
    """The body that stands, if it is of the version that the change was made from. Raises ``Conflict``."""
    standing = {one.name: one for one in declarations.entries(connection, KIND)}.get(change.name)
    if standing is not None and standing.read_only:
        raise Conflict(
            f"The intent {change.name!r} is declared in the configuration file and read-only here.",
            code="declared_in_configuration",
            hint="Change it in the file and restart, or take it out of the file first.",
        )
    found = standing.version if standing is not None else 0
    if found != change.version:
        raise Conflict(
            f"The intent {change.name!r} was changed meanwhile: it is at version {found}, not {change.version}.",
            code="declaration_changed",
            hint="Look again, then repeat.",
        )
    return standing.body if standing is not None else None
