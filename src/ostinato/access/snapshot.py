"""All keys of the installation as one immutable value: a token is checked without I/O, in a microsecond.

Keys are found by the SHA-256 of what was presented. Nothing is compared character by character, so the time that a
refusal takes tells nothing about any key. How a dead key died is told only to whoever presents its true secret.
"""

import hashlib
from datetime import UTC, datetime

import msgspec

from ostinato.access import keys
from ostinato.access.model import Caller
from ostinato.core.errors import Denied

_sha256 = hashlib.sha256


class DeadKey(msgspec.Struct, frozen=True, gc=False):
    """A key that was revoked or replaced: remembered so that its owner can be told."""

    prefix: str
    at: int
    """UTC microseconds."""
    replaced: bool


class AccessSnapshot:
    """Which secret is whose. Immutable; a change makes a new one."""

    __slots__ = ("_dead", "_live", "key_ids")

    def __init__(self, live: dict[bytes, Caller], dead: dict[bytes, DeadKey]) -> None:
        self._live = live
        self._dead = dead
        self.key_ids = frozenset(caller.key_id for caller in live.values())
        """Ids of all keys that are not revoked."""

    def __len__(self) -> int:
        return len(self._live)

    def authenticate(self, token: str | None, now: int) -> Caller:
        """Whose key ``token`` is at ``now`` (UTC microseconds). Raises :class:`Denied` with ``authenticated=False``."""
        if token is None or len(token) != keys.LENGTH or not token.isascii():
            raise _refusal(token)
        digest = _sha256(token.encode()).digest()
        caller = self._live.get(digest)
        if caller is None:
            raise self._unknown(token, digest)
        if caller.expires_at is not None and caller.expires_at <= now:
            raise Denied(
                f"The API key {caller.key_prefix} expired on {_when(caller.expires_at)}.",
                authenticated=False,
                code="api_key_expired",
                hint="Create another one, or rotate keys before they expire.",
            )
        return caller

    def _unknown(self, token: str, digest: bytes) -> Denied:
        dead = self._dead.get(digest)
        if dead is None:
            return _refusal(token)
        how = "was replaced by a new one" if dead.replaced else "was revoked"
        return Denied(
            f"The API key {dead.prefix} {how} on {_when(dead.at)}.",
            authenticated=False,
            code="api_key_revoked",
            hint="Use the new key." if dead.replaced else "Ask whoever administers the project for another one.",
        )


def _refusal(token: str | None) -> Denied:
    """The same words for every key that is not known; the hint depends on the form of the text alone."""
    if not token:
        return Denied(
            "This request carries no API key.",
            authenticated=False,
            code="missing_api_key",
            hint="Send it as 'Authorization: Bearer ost_...' or as 'x-api-key: ost_...'.",
        )
    if keys.well_formed(token):
        hint = "Check that it belongs to this installation."
    elif token.startswith(keys.MARK):
        hint = f"It seems to be copied badly: a key is {keys.LENGTH} letters, digits and underscores."
    else:
        hint = "Ostinato's keys begin with ost_; a provider's own key stays in Ostinato's configuration."
    return Denied("This API key is not valid.", authenticated=False, code="invalid_api_key", hint=hint)


def _when(micros: int) -> str:
    try:
        return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d at %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "an unknown date"
