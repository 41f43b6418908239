"""All keys of the installation as one value: a token is checked without I/O, in a microsecond.

Keys are found by the SHA-256 of what was presented. Nothing is compared character by character, so the time that a
refusal takes tells nothing about any key. How a dead key died is told only to whoever presents its true secret.

What a key may do can change with time alone (a binding ends, broken glass does). Each caller says until when it holds;
the first request after that has it worked out anew from what was read, so that it ends in time without the database.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from ostinato.access import keys, rights
from ostinato.access.model import Account, ApiKey, Binding, BreakGlass, Caller, MoneyBudget
from ostinato.access.rights import Ground, Rights
from ostinato.core.errors import Denied

REMEMBERED = 90 * 86_400 * 1_000_000
"""How long a dead key's owner is told what happened, microseconds; later it is simply unknown."""

_sha256 = hashlib.sha256


class DeadKey(msgspec.Struct, frozen=True, gc=False):
    """A key that is refused: remembered so that its owner can be told why."""

    prefix: str
    at: int
    """UTC microseconds."""
    how: Literal["revoked", "replaced", "disabled"]


class Held(msgspec.Struct, frozen=True):
    """A key as it was read, with what its project adds."""

    key: ApiKey
    digest: bytes
    store_text: bool = False
    project_budget: MoneyBudget | None = None


class AccessSnapshot:
    """Which secret is whose. A change makes a new one; only time changes a caller in place."""

    __slots__ = ("_dead", "_ground", "_held", "_live", "_purses", "key_ids")

    def __init__(self, held: Sequence[Held], ground: Ground, now: int) -> None:
        self._ground = ground
        # Of keys that share a purse (a rotated one and its successors) the last says how large it is.
        self._purses = {one.key.account: one.key.budget for one in held if one.key.rotated_to is None}
        self._held: dict[str, Held] = {}
        self._live: dict[bytes, Caller] = {}
        self._dead: dict[bytes, DeadKey] = {}
        known: dict[str, Rights] = {}
        for one in held:
            key = one.key
            if key.revoked_at is not None:
                if key.revoked_at > now - REMEMBERED:
                    how = "replaced" if key.rotated_to is not None else "revoked"
                    self._dead[one.digest] = DeadKey(key.prefix, key.revoked_at, how)
                continue
            caller = self._caller(one, now, known)
            disabled = ground.disabled_at(caller.principal)
            if disabled is not None:
                self._dead[one.digest] = DeadKey(key.prefix, disabled, "disabled")
                continue
            self._live[one.digest] = caller
            if caller.until is not None:
                self._held[key.id] = one
        self.key_ids = frozenset(caller.key_id for caller in self._live.values())
        """Ids of all keys that are accepted, unless they have expired."""

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
        if caller.until is not None and caller.until <= now:
            return self._renewed(caller, digest, now)
        return caller

    def glasses(self, now: int) -> list[BreakGlass]:
        """Who has every right at ``now``, the first to begin first."""
        return [one for one in self._ground.glasses if one.live(now) and one.key_id in self.key_ids]

    def bound(self, principal: str, now: int) -> list[Binding]:
        """What is bound to a principal at ``now``."""
        return [one for one in self._ground.bindings(principal) if one.live(now)]

    def _renewed(self, caller: Caller, digest: bytes, now: int) -> Caller:
        """The caller as it is from now on: its expiry has come, or that of something that it rested on."""
        if caller.expires_at is not None and caller.expires_at <= now:
            raise Denied(
                f"The API key {caller.key_prefix} expired on {_when(caller.expires_at)}.",
                authenticated=False,
                code="api_key_expired",
                hint="Create another one, or rotate keys before they expire.",
            )
        caller = self._live[digest] = self._caller(self._held[caller.key_id], now, {})
        return caller

    def _caller(self, one: Held, now: int, known: dict[str, Rights]) -> Caller:
        key = one.key
        may = self._ground.of(key, now, known)
        accounts = [
            Account(name, budget)
            for name in dict.fromkeys((key.account, *key.bound_by))
            if (budget := self._purses.get(name)) is not None
        ]
        if one.project_budget is not None:
            accounts.append(Account(f"project:{key.project_id}", one.project_budget))
        return Caller(
            key_id=key.id,
            key_prefix=key.prefix,
            org=key.org_id,
            project=key.project_id,
            allowed_models=may.allowed_models,
            end_user_required=may.end_user_required,
            may_act_for_users=may.may_act_for_users,
            permissions=may.permissions,
            rate=may.rate,
            budget=self._purses.get(key.account),
            expires_at=key.expires_at,
            store_text=one.store_text,
            name=key.name,
            accounts=tuple(accounts),
            principal=may.principal,
            rules=may.rules,
            allowed_intents=may.allowed_intents,
            until=rights.sooner(may.until, key.expires_at),
            glass=may.glass,
        ).sealed()

    def _unknown(self, token: str, digest: bytes) -> Denied:
        dead = self._dead.get(digest)
        if dead is None:
            return _refusal(token)
        if dead.how == "disabled":
            return Denied(
                f"Whom the API key {dead.prefix} stands for was disabled on {_when(dead.at)}.",
                authenticated=False,
                code="principal_disabled",
                hint="An administrator can enable the person or service again.",
            )
        replaced = dead.how == "replaced"
        how = "was replaced by a new one" if replaced else "was revoked"
        return Denied(
            f"The API key {dead.prefix} {how} on {_when(dead.at)}.",
            authenticated=False,
            code="api_key_revoked",
            hint="Use the new key." if replaced else "Ask whoever administers the project for another one.",
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
