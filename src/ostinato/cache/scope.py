"""Scopes: whose entries a request may read and write.

The base (organization, project) comes from the authenticated key and from nothing else. What a request names in headers
or body can only narrow it: every value named leads to entries that nobody without it can reach. Where an identity is
demanded and not given there is no scope, and so no cache.
"""

import msgspec
from blake3 import blake3

from ostinato.access.model import Caller
from ostinato.cache.model import Policy, Scope

_PACK = msgspec.msgpack.Encoder()
_KEY_LENGTH = 32


def scope_of(caller: Caller, *, user: str | None, session: str, context: str, policy: Policy) -> Scope | None:
    """The scope of a request, or ``None`` where it has none; :func:`missing` says what was wanted.

    ``user`` is the end user, from the header or the body; it and ``session`` are heard only from a key that may act for
    users. ``context`` names no identity and is always heard. ``policy.scope == "project"`` shares entries among users;
    a key that demands an end user still demands one.
    """
    named = user or "" if caller.may_act_for_users else ""
    if caller.end_user_required and not named:
        return None
    if policy.session_scope:
        within = session if caller.may_act_for_users else ""
        if not within:
            return None
    else:
        within = ""
    return Scope(caller.org, caller.project, named if policy.scope == "user" else "", context, within)


def missing(caller: Caller, *, user: str | None, session: str, policy: Policy) -> str:
    """Why a request has no scope, in one word; ``""`` where it has one."""
    trusted = caller.may_act_for_users
    if caller.end_user_required and not (trusted and user):
        return "no-end-user"
    if policy.session_scope and not (trusted and session):
        return "no-session"
    return ""


def base_digest(scope: Scope) -> bytes:
    """Digest of organization and project alone: the required prefix of every look-up. 32 bytes."""
    return blake3(_PACK.encode(("base", scope.org, scope.project))).digest()


def digest(scope: Scope) -> bytes:
    """Digest of the whole scope. 32 bytes. Parts are length-prefixed, so no two scopes share an encoding."""
    return blake3(_PACK.encode(("scope", scope.org, scope.project, scope.user, scope.context, scope.session))).digest()


def user_digest(scope: Scope, secret: bytes) -> str:
    """The end user as metadata shows them: a digest keyed with ``secret``, 32 hex digits; ``""`` where none is named.

    The same user has different digests in different projects.
    """
    if not scope.user:
        return ""
    keyed = secret if len(secret) == _KEY_LENGTH else blake3(secret).digest()
    return blake3(_PACK.encode(("user", scope.org, scope.project, scope.user)), key=keyed).hexdigest(length=16)
