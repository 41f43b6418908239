"""What people have sent by hand: tests, and dead letters once more.

It happens in ``work``, which is another database than the audit log's: so it is intended, done, and told, and what a
crash leaves open is done by the next process (:meth:`ostinato.audit.Keeper.resume`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.notifying import outbox, payload
from ostinato.notifying.endpoints import Endpoints
from ostinato.notifying.model import Endpoint, Message

TEST, RESEND = "webhooks-test", "webhooks-resend"
"""Kinds of effects in the audit log."""
_RESENT = 1_000

Put = Callable[[sa.Connection, Sequence[tuple[Message, Sequence[str]]]], None]
"""Writes messages with the endpoints that each is for."""


class Effects:
    """A part of :class:`Notifying`."""

    def __init__(
        self,
        log: audit.Log,
        work: storage.Database,
        clock: Clock,
        endpoints: Endpoints,
        *,
        put: Put,
        wake: Callable[[], None],
    ) -> None:
        self._log = log
        self._work = work
        self._clock = clock
        self._endpoints = endpoints
        self._put = put
        self._wake = wake

    async def test(self, actor: Actor, ref: str) -> Message:
        """Send an endpoint a message ``webhooks:test``, whatever it is for; its deliveries tell how that went."""
        endpoint = await self._endpoints.show(actor, ref, "webhooks:write")
        if not endpoint.enabled:
            raise Conflict("This endpoint is disabled.", code="endpoint_disabled", hint="Enable it first.")
        identifier = ids.new(self._clock.now())
        deed = _deed(actor, endpoint, "test")
        wanted = {"endpoint": endpoint.id, "key": identifier}
        effect = await self._log.intend(deed, TEST, wanted)
        made = await self._finish(effect, self.carry_out_test(wanted))
        message = self._test_message(endpoint, identifier)
        return msgspec.structs.replace(message, id=str(made["message"]))

    async def resend(self, actor: Actor, ref: str, messages: Sequence[str] = ()) -> int:
        """Send dead letters of an endpoint again, under their old ids: those named, or a thousand of all."""
        if len(messages) > _RESENT or not all(ids.is_id(one) for one in messages):
            raise Invalid(f"Name up to {_RESENT} messages by their ids.", code="invalid_messages", param="messages")
        endpoint = await self._endpoints.show(actor, ref, "webhooks:write")
        deed = _deed(actor, endpoint, "resend", {"named": len(messages)})
        wanted = {"endpoint": endpoint.id, "messages": list(messages)}
        effect = await self._log.intend(deed, RESEND, wanted)
        return int((await self._finish(effect, self.carry_out_resend(wanted)))["resent"])

    async def carry_out_test(self, wanted: Any) -> dict[str, str | int]:
        """The effect of :meth:`test`; may be carried out twice."""
        target = next((one for one in self._endpoints.current.value if one.endpoint.id == wanted["endpoint"]), None)
        if target is None:
            return {"message": ""}
        made = self._test_message(target.endpoint, wanted["key"])
        await self._work.run(lambda connection: self._put(connection, [(made, (target.endpoint.id,))]))
        self._wake()
        return {"message": made.id}

    async def carry_out_resend(self, wanted: Any) -> dict[str, str | int]:
        """The effect of :meth:`resend`; may be carried out twice."""
        now = self._clock.now()
        count = await self._work.run(
            lambda connection: outbox.again(connection, wanted["endpoint"], wanted["messages"], now, _RESENT)
        )
        self._wake()
        return {"resent": count}

    async def _finish(self, effect: str, work: Awaitable[dict[str, str | int]]) -> dict[str, str | int]:
        """Carry out what was intended and write its outcome down."""
        try:
            facts = await work
        except OstinatoError as error:
            await self._log.finish(effect, "failed", {"code": error.code})
            raise
        await self._log.finish(effect, "done", facts)
        return facts

    def _test_message(self, endpoint: Endpoint, key: str) -> Message:
        data = {"endpoint": endpoint.id, "name": endpoint.name}
        return payload.compose(
            self._clock.now(), endpoint.org, endpoint.project, "webhooks:test", endpoint.resource, data, key=key
        )


def _deed(actor: Actor, one: Endpoint, verb: str, facts: dict[str, str | int] | None = None) -> audit.Deed:
    return audit.Deed(
        actor=access.actor_name(actor),
        principal=access.principal_of(actor),
        action=f"webhooks:{verb}",
        resource=one.resource,
        org=one.org,
        project=one.project,
        facts={"kind": one.kind, **(facts or {})},
    )
