"""A change under way: the open transaction, who makes it and when, and what the audit log will say of it."""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from ostinato.access.model import Actor, Caller, actor_name, principal_of
from ostinato.audit import Deed


class Change:
    """Carried through one transaction; whoever opened it appends ``deeds`` before the commit."""

    __slots__ = ("actor", "connection", "deeds", "now")

    def __init__(self, connection: sa.Connection, actor: Actor, now: int) -> None:
        self.connection = connection
        self.actor = actor
        self.now = now
        """UTC microseconds."""
        self.deeds: list[Deed] = []

    def note(
        self,
        action: str,
        resource: str,
        *,
        org: str = "",
        project: str = "",
        before: msgspec.Struct | None = None,
        after: msgspec.Struct | None = None,
        reason: str = "",
        facts: Mapping[str, str | int] | None = None,
        subject: str = "",
    ) -> None:
        """One leaf for what was just done. ``facts`` are public: nothing about persons, never a secret."""
        told = dict(facts or {})
        if isinstance(self.actor, Caller) and self.actor.glass is not None:
            told["breakglass"] = self.actor.glass.id
        self.deeds.append(
            Deed(
                actor=actor_name(self.actor),
                principal=principal_of(self.actor),
                action=action,
                resource=resource,
                org=org,
                project=project,
                before=_plain(before),
                after=_plain(after),
                reason=reason,
                facts=told,
                subject=subject,
            )
        )


def _plain(value: msgspec.Struct | None) -> object:
    return None if value is None else msgspec.to_builtins(value, order="deterministic")
