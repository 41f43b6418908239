"""What is written down: the deed of somebody, and the occasion on which it was done."""

import contextvars

import msgspec


class Occasion(msgspec.Struct, frozen=True):
    """The request that a deed belongs to, as the API's guard knows it; empty elsewhere."""

    request_id: str = ""
    reason: str = ""
    """Why, in the caller's words; taken where the deed gives no reason of its own."""
    principal: str = ""
    """Who stands behind the key; taken where the deed does not say."""
    org: str = ""
    """Id of the caller's organization; taken where the deed does not say."""
    facts: dict[str, str | int] = {}
    """What every deed of this occasion has among its facts: that the glass was broken for it."""


_NOWHERE = Occasion()
_occasion: contextvars.ContextVar[Occasion] = contextvars.ContextVar("ostinato_audit_occasion", default=_NOWHERE)


def occasion() -> Occasion:
    """What the API's guard has set for this task. Database threads do not see it: take it along."""
    return _occasion.get()


def set_occasion(value: Occasion) -> None:
    """Set what :func:`occasion` gives in this task from now on."""
    _occasion.set(value)


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """One action, done or tried."""

    actor: str
    """``key:ID`` or ``system:NAME``: see ``access.actor_name``."""
    principal: str = ""
    """Who stands behind the actor: see ``access.principal_of``."""
    action: str
    """``resource:verb``, e.g. ``prompts:write``, ``keys:revoke``."""
    resource: str
    """What it was done to: ``prompt:PROJECT/NAME``, ``key:ID`` ..."""
    org: str = ""
    project: str = ""
    before: object = None
    """A JSON value, or ``None``; only a keyed commitment of it goes into the leaf."""
    after: object = None
    """The same."""
    reason: str = ""
    """Goes into the leaf as a keyed commitment; the text is kept beside it and can be erased."""
    outcome: str = "done"
    """``done``, ``denied``, ``intended`` or ``failed``."""
    facts: dict[str, str | int] = {}
    """Public and not about persons: version numbers, shares, counts."""
    subject: str = ""
    """Whose personal data ``before``, ``after`` and ``reason`` may hold; empty: the principal's, else the actor's."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a leaf, as it is hashed and handed out. Commitments are hexadecimal HMAC-SHA256."""

    index: int
    at: int
    """UTC microseconds."""
    actor: str
    principal: str = ""
    action: str
    resource: str
    org: str = ""
    project: str = ""
    outcome: str = "done"
    before: str = ""
    after: str = ""
    reason: str = ""
    request_id: str = ""
    facts: dict[str, str | int] = {}
