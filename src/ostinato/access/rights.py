"""What each key may do *now*: never more than its makers, nor than what is bound to its principal.

A key's row says what it was issued with. On use that is cut down to what the key that made it may do now, and so on up
to the first of the line; wherever a key was issued for a registered principal, that principal's bindings cut in too.
So whoever narrows a key or unbinds a role narrows at once everything that was made with it.

A maker that was revoked or has expired keeps its last grants as the ceiling of what it made: people leave and keys are
rotated, and the applications they set up must not stop in the night. What a leaver's own keys can do ends with the
principal: disabling it stops every key that it stands behind. A rotated key stands for its line: the newest of the line
is the maker, so that rotation frees nobody from a ceiling.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ostinato.access import permissions, scoping
from ostinato.access.model import ApiKey, Binding, BreakGlass, Glass, Principal, RateLimit, Rule

_KEY = "key:"
_PRINCIPAL = "principal:"

BROKEN = permissions.ALL - {"organizations:read", "organizations:write"}
"""What breaking the glass adds: every right *of the organization*."""


class Rights(msgspec.Struct, frozen=True):
    """What a key may do at one moment."""

    principal: str
    permissions: frozenset[str]
    rules: tuple[Rule, ...] = ()
    allowed_models: frozenset[str] | None = None
    allowed_intents: frozenset[str] | None = None
    end_user_required: bool = False
    may_act_for_users: bool = True
    rate: RateLimit | None = None
    until: int | None = None
    """When a binding or the glass ends, and the rights are others."""
    glass: Glass | None = None


class Ground:
    """Everything that rights follow from, as it was read: rights of a later moment need no database."""

    def __init__(
        self,
        keys: Sequence[ApiKey],
        principals: Mapping[str, Principal],
        bindings: Mapping[str, Sequence[Binding]],
        glasses: Sequence[BreakGlass],
    ) -> None:
        self._keys = {key.id: key for key in keys}
        self._principals = principals
        self._bindings = bindings
        self.glasses = tuple(glasses)
        """Those that had not ended when they were read."""
        self._layers: dict[str, tuple[int, scoping.Layer]] = {}
        """What bindings came to when they were last looked at, and when that was: most keys share a few principals."""
        self._first = {key.id: self._first_of(key) for key in keys}
        self._newest = {self._first[key.id].id: key for key in keys if key.rotated_to is None}

    def of(self, key: ApiKey, now: int, known: dict[str, Rights]) -> Rights:
        """The rights of ``key`` at ``now``, where it belongs. ``known``: a scratch pad for calls with that ``now``."""
        reached = self._standing(key, now, known)
        allowed, rules = scoping.reduce(key.project_id, reached.permissions, reached.rules)
        rights = msgspec.structs.replace(reached, permissions=allowed, rules=rules)
        for glass in self.glasses:
            if glass.key_id == key.id and glass.live(now):
                return msgspec.structs.replace(
                    rights,
                    permissions=BROKEN | allowed,
                    rules=(),
                    until=sooner(rights.until, glass.ends_at),
                    glass=Glass(glass.id, glass.ends_at, allowed, rules),
                )
        return rights

    def disabled_at(self, principal: str) -> int | None:
        """Since when who stands behind a key is disabled."""
        found = self._principals.get(principal.removeprefix(_PRINCIPAL))
        return None if found is None else found.disabled_at

    def bindings(self, principal: str) -> Sequence[Binding]:
        """What is bound to who stands behind a key, ended or not."""
        return self._bindings.get(principal.removeprefix(_PRINCIPAL), ())

    def _standing(self, key: ApiKey, now: int, known: dict[str, Rights]) -> Rights:
        """The rights as they are handed down, wherever in the organization they are used."""
        line: list[ApiKey] = []
        at: ApiKey | None = key
        while at is not None and at.id not in known:
            line.append(at)
            at = self._maker(at)
        reached = None if at is None else known[at.id]
        for one in reversed(line):
            reached = known[one.id] = self._handed(one, reached, now)
        return known[key.id]

    def _handed(self, key: ApiKey, maker: Rights | None, now: int) -> Rights:
        """What is left of what ``key`` was issued with."""
        first = self._first[key.id]
        if maker is None:
            # A maker that cannot be found must not free what it made.
            orphan = first.created_by.startswith(_KEY)
            maker = Rights(f"{_KEY}{first.id}", frozenset() if orphan else permissions.ALL)
        rights = Rights(
            principal=f"{_PRINCIPAL}{key.principal}" if key.principal else maker.principal,
            permissions=key.permissions & maker.permissions,
            rules=maker.rules,
            allowed_models=_fewer(key.allowed_models, maker.allowed_models),
            allowed_intents=_fewer(key.allowed_intents, maker.allowed_intents),
            end_user_required=key.end_user_required or maker.end_user_required,
            may_act_for_users=key.may_act_for_users and maker.may_act_for_users,
            rate=slower(key.rate, maker.rate),
            until=maker.until,
        )
        if key.principal and rights.principal != maker.principal:
            layer = self._layer(key.principal, now)
            allowed = rights.permissions if layer.allowed is None else rights.permissions & layer.allowed
            rights = msgspec.structs.replace(
                rights,
                permissions=allowed - layer.denied,
                rules=rights.rules + layer.rules,
                until=sooner(rights.until, layer.until),
            )
        if not rights.rules:
            return rights
        # What this key does not have at home it does not hand down; how its rules apply elsewhere is seen there.
        return msgspec.structs.replace(
            rights, permissions=scoping.reduce(key.project_id, rights.permissions, rights.rules)[0]
        )

    def _layer(self, principal: str, now: int) -> scoping.Layer:
        at, layer = self._layers.get(principal, (None, None))
        if layer is None or at != now:
            found = self._principals.get(principal)
            layer = scoping.Layer(frozenset())
            if found is not None:
                layer = scoping.layer(principal, found.governed, self._bindings.get(principal, ()), now)
            self._layers[principal] = now, layer
        return layer

    def _maker(self, key: ApiKey) -> ApiKey | None:
        by = self._first[key.id].created_by
        maker = self._keys.get(by.removeprefix(_KEY)) if by.startswith(_KEY) else None
        return None if maker is None else self._newest.get(self._first[maker.id].id, maker)

    def _first_of(self, key: ApiKey) -> ApiKey:
        """The key that this one goes back to by rotations."""
        while key.rotated_from is not None and key.rotated_from in self._keys:
            key = self._keys[key.rotated_from]
        return key


def sooner(one: int | None, other: int | None) -> int | None:
    """The earlier of two moments, where ``None`` is never."""
    return one if other is None else other if one is None else min(one, other)


def slower(rate: RateLimit | None, limit: RateLimit | None) -> RateLimit | None:
    """``rate`` where it stays within ``limit`` in bursts and in the long run; else the limit itself."""
    if limit is None or rate is None:
        return rate or limit
    within = rate.requests <= limit.requests and rate.requests * limit.seconds <= limit.requests * rate.seconds
    return rate if within else limit


def _fewer(names: frozenset[str] | None, limit: frozenset[str] | None) -> frozenset[str] | None:
    if names is None or limit is None:
        return limit if names is None else names
    return names & limit
