"""Refused attempts at the control plane, written down: one leaf each, but never so many that they fill the disk.

Who is known and may not do something leaves a leaf (``outcome`` denied) of its own, up to a rate; beyond it attempts
are counted, and the next leaf says how many there were. Who is unknown is only counted: one leaf a minute.
"""

import logging
import re
from typing import Any, cast

from ostinato import audit
from ostinato.access import Caller, actor_name, principal_of
from ostinato.access.keys import MARK, PREFIX_LENGTH
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.web.server import Scope

_log = logging.getLogger("ostinato.web")

PER_SECOND = 10.0
BURST = 100.0
ACTION_OF_UNKNOWN = "api:authenticate"
_LONGEST_RESOURCE = 255
_SECRET = re.compile(rf"{MARK}\w{{{PREFIX_LENGTH - len(MARK)},}}", re.ASCII)


def action_of(scope: Scope) -> str:
    """The permission that the route of a request asks for; the action that was denied."""
    options = cast("dict[str, Any]", getattr(scope.get("route_handler"), "opt", {}))
    return str(options.get("permission", "api:call"))


def shown(path: str) -> str:
    """A path as it may be written down: bounded, and without a secret that somebody put there by mistake."""
    return _SECRET.sub(lambda found: found[0][:PREFIX_LENGTH] + "...", path)[:_LONGEST_RESOURCE]


class Denials:
    """Writes refusals of the control plane into the audit log."""

    def __init__(self, log: audit.Log, clock: Clock, *, per_second: float = PER_SECOND, burst: float = BURST) -> None:
        self._log = log
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._filled_at = clock.monotonic()
        self._unknown = 0
        self._since = clock.now()
        self.unrecorded = 0
        """Attempts of known callers that the next leaf will count."""

    def unknown(self) -> None:
        """Count an attempt without a living key."""
        self._unknown += 1

    async def denied(self, caller: Caller, action: str, resource: str) -> None:
        """Write one attempt down, or count it. Never raises because the log cannot be written: the answer stands."""
        if not self._admit():
            self.unrecorded += 1
            return
        deed = audit.Deed(
            actor=actor_name(caller),
            principal=principal_of(caller),
            action=action,
            resource=shown(resource),
            org=caller.org,
            project=caller.project,
            outcome="denied",
        )
        await self._write(deed, 1)

    async def flush(self) -> None:
        """Write down what was only counted, if anything: once a minute, and at the end."""
        now = self._clock.now()
        unknown, since = self._unknown, self._since
        self._unknown, self._since = 0, now
        if not unknown and not self.unrecorded:
            return
        deed = audit.Deed(
            actor="system:api",
            action=ACTION_OF_UNKNOWN,
            resource="/api/v1",
            outcome="denied",
            facts={"attempts": unknown, "seconds": (now - since) // 1_000_000},
        )
        if not await self._write(deed, 0):
            self._unknown += unknown
            self._since = since

    async def _write(self, deed: audit.Deed, attempts: int) -> bool:
        """``attempts``: of known callers that the leaf itself tells of."""
        before, self.unrecorded = self.unrecorded, 0
        if before:
            deed.facts["unrecorded"] = before
        try:
            await self._log.record(deed)
        except OstinatoError as error:
            self.unrecorded += before + attempts
            _log.warning("A refused attempt could not be written down and will be counted: %s", error.sentence)
            return False
        return True

    def _admit(self) -> bool:
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
