"""Follows a row of the ledger to whatever it points at."""

from typing import Any, Protocol

import msgspec

from ostinato import audit
from ostinato.access import Actor, Resource, SystemActor
from ostinato.access.permissions import require
from ostinato.core.errors import NotFound
from ostinato.explaining.model import (
    Answered,
    Asked,
    Explanation,
    Kept,
    Leaf,
    Origin,
    Prompted,
    Proof,
    Proven,
    Purpose,
    Released,
    Said,
    Spent,
    Word,
)
from ostinato.intents import Intents
from ostinato.prompts import Version
from ostinato.releases import Dossier
from ostinato.storage import Current
from ostinato.traces import Filter, Ledger, RequestEvent

MOST_LEAVES = 50
"""Deeds that are proven in one explanation; the newest before the request."""
_READER = SystemActor("explain")
"""Whoever may explain a request of a project sees what it points to, by this permission alone."""


class Prompts(Protocol):
    async def version(self, actor: Actor, project: str | None, ref: str, number: int) -> Version: ...


class Releases(Protocol):
    async def show(self, actor: Actor, release_id: str) -> Dossier: ...


class Explainer:
    """Explains requests of the ledger. ``prompts`` and ``releases`` are rooms of the same process."""

    def __init__(
        self, ledger: Ledger, log: audit.Log, intents: Current[Intents], prompts: Prompts, releases: Releases
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._intents = intents
        self._prompts = prompts
        self._releases = releases

    async def explain(self, actor: Actor, request_id: str, within: Filter, *, texts: bool = False) -> Explanation:
        """All that is known of how a request was answered, by its id or the caller's own ``x-request-id``.

        ``within``: what the actor reaches; other requests do not exist. ``texts``: whether texts may be told, where the
        project keeps them. Raises ``NotFound``, ``Denied``.
        """
        rows = await self._ledger.show(request_id, within)
        if not rows:
            raise NotFound(
                f"There is no request {request_id[:80]!r}.",
                code="trace_not_found",
                hint="Rows of other processes are there within a second; a refused key leaves none that you can see.",
            )
        row, absent = rows[0], dict[str, str]()
        require(actor, "explain:read", Resource(project=row.project, intent=row.intent, prompt=row.prompt))
        origin = await self._origin(row, within, absent)
        dossier = await self._dossier(row, absent)
        prompt = await self._prompt(row, absent)
        return Explanation(
            request=_asked(row),
            intent=self._purpose(row, absent),
            prompt=prompt,
            release=None if dossier is None else _released(row, dossier),
            input=_said(row, origin, absent, texts=texts),
            cache=_kept(row, origin),
            target=_answered(row, origin, absent),
            cost=msgspec.convert(row, Spent, from_attributes=True),
            audit=await self._proven(row, prompt, dossier, absent),
            absent=absent,
            others=tuple(other.request_id for other in rows[1:]),
        )

    async def _origin(self, row: RequestEvent, within: Filter, absent: dict[str, str]) -> RequestEvent | None:
        if not row.origin:
            absent["cache.origin"] = "it was not answered from the cache"
            return None
        found = [one for one in await self._ledger.show(row.origin, within) if one.request_id == row.origin]
        if not found:
            absent["cache.origin"] = f"the request that first produced it, {row.origin}, is no longer in the ledger"
            return None
        return found[0]

    def _purpose(self, row: RequestEvent, absent: dict[str, str]) -> Purpose | None:
        if not row.intent:
            absent["intent"] = "neither its prompt, nor a header, nor a rule gave it an intent"
            return None
        found = self._intents.value.of(row.project, row.intent)
        if found is None:
            absent["intent"] = f"the intent {row.intent!r} is no longer declared"
            return None
        told = found.declared
        return Purpose(
            key=found.key,
            name=found.name,
            title=told.title,
            owner=told.owner,
            stakes=found.stakes,
            version=found.version,
        )

    async def _prompt(self, row: RequestEvent, absent: dict[str, str]) -> Prompted | None:
        if not row.prompt:
            absent["prompt"] = "the caller sent messages of its own and asked for no registered prompt"
            return None
        try:
            found = await self._prompts.version(_READER, row.project, row.prompt, row.prompt_version)
        except NotFound:
            absent["prompt"] = f"version {row.prompt_version} of {row.prompt!r} is no longer in the registry"
            return None
        return Prompted(
            name=row.prompt,
            number=found.number,
            digest=found.digest,
            message=found.message,
            author=found.author,
            source=found.source,
            created_at=found.created_at,
        )

    async def _dossier(self, row: RequestEvent, absent: dict[str, str]) -> Dossier | None:
        if not row.release:
            absent["release"] = (
                "no release had put the version in force: its number was asked, or its label needs none"
                if row.prompt
                else "no registered prompt was asked"
            )
            return None
        try:
            found = await self._releases.show(_READER, row.release)
        except NotFound:
            found = None
        if found is None or found.release.project != row.project:
            absent["release"] = f"the release {row.release} is no longer there"
            return None
        return found

    async def _proven(
        self, row: RequestEvent, prompt: Prompted | None, dossier: Dossier | None, absent: dict[str, str]
    ) -> Proven | None:
        """The deeds that led to the version in force when the request came, each proven in the newest checkpoint."""
        if not row.prompt:
            absent["audit"] = "nobody decided on what was asked: no registered prompt, no release"
            return None
        until, entries = row.at + 1, dict[int, audit.Entry]()
        wanted = [audit.Filter(resource=f"prompt:{row.project}/{row.prompt}", until=until)]
        if dossier is not None:
            wanted.append(audit.Filter(resource=dossier.release.resource, until=until))
        for one in wanted:
            entries |= {entry.index: entry for entry in await self._log.page(one, limit=500)}
        chosen = [index for index in sorted(entries, reverse=True) if _counts(entries[index].leaf, row, prompt)]
        newest = await self._log.newest()
        size = newest.size if newest is not None else 0
        leaves = [await self._leaf(entries[index], size) for index in chosen[:MOST_LEAVES]]
        if not leaves:
            absent["audit.leaves"] = "the log has no deed about this prompt version from before the request"
        elif any(leaf.proof is None for leaf in leaves):
            absent["audit.proof"] = "what came after the newest checkpoint is proven by the next one"
        return Proven(
            checkpoint=newest.note if newest is not None else "",
            size=size,
            leaves=tuple(reversed(leaves)),
            more=max(0, len(chosen) - MOST_LEAVES),
        )

    async def _leaf(self, entry: audit.Entry, size: int) -> Leaf:
        leaf = entry.leaf
        return Leaf(
            index=entry.index,
            at=leaf.at,
            action=leaf.action,
            resource=leaf.resource,
            actor=leaf.actor,
            principal=leaf.principal,
            outcome=leaf.outcome,
            facts=leaf.facts,
            proof=await self._log.prove(entry.index, size) if entry.index < size else None,
        )


def _counts(leaf: audit.Leaf, row: RequestEvent, prompt: Prompted | None) -> bool:
    """Whether a deed is of the version that was rendered: its release, its writing, or a move of a label to it."""
    if leaf.action.startswith("releases:"):
        return True
    if leaf.action == "labels:move":
        return leaf.facts.get("to") == row.prompt_version
    return prompt is not None and leaf.facts.get("digest") == prompt.digest


def _asked(row: RequestEvent) -> Asked:
    values: dict[str, Any] = {name: getattr(row, name) for name in Asked.__struct_fields__}
    values["tags"] = tuple(tag for tag in row.tags.split(",") if tag)
    return Asked(**values)


def _said(row: RequestEvent, origin: RequestEvent | None, absent: dict[str, str], *, texts: bool) -> Said | None:
    if not row.input_digest:
        absent["input"] = "it was refused before it was read" if row.status >= 400 else "no digest of it was kept"
        return None
    source = origin or row
    return Said(
        digest=row.input_digest,
        fingerprint=row.fingerprint,
        input_text=source.input_text if texts else None,
        output_text=source.output_text if texts else None,
    )


def _kept(row: RequestEvent, origin: RequestEvent | None) -> Kept:
    first = None if origin is None else msgspec.convert(origin, Origin, from_attributes=True)
    return Kept(
        result=row.cache,
        kind=row.kind,
        reason=row.reason,
        stored=row.stored,
        generation=row.generation,
        age_s=row.age_s,
        origin=first,
    )


def _answered(row: RequestEvent, origin: RequestEvent | None, absent: dict[str, str]) -> Answered | None:
    if not row.target:
        absent["target"] = f"no provider was asked: {row.error or row.reason or 'unknown'}"
        return None
    source = origin or row
    return Answered(
        target=row.target,
        provider=row.provider,
        model=row.model,
        system_fingerprint=row.system_fingerprint,
        attempts=source.attempts,
        by_origin=bool(row.origin),
    )


def _released(row: RequestEvent, dossier: Dossier) -> Released:
    release = dossier.release
    return Released(
        id=release.id,
        label=release.label,
        number=release.number,
        arm=row.arm,
        state=release.state,
        digest=release.digest,
        author=release.author,
        reason=release.reason,
        proposed_at=release.proposed_at,
        started_at=release.started_at,
        approvals_needed=release.approvals_needed,
        approvals=tuple(
            Word(
                principal=one.principal,
                decision=one.decision,
                at=one.decided_at,
                comment=one.comment,
                bound=one.digest == release.digest,
            )
            for one in dossier.request.decisions
        ),
        gates=release.gates,
        evidence=tuple(
            Proof(name=one.name, passed=one.passed, digest=one.digest, principal=one.principal, at=one.at)
            for one in dossier.evidence
        ),
    )
