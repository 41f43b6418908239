"""Where messages go, what they say, and how their deliveries fare."""

import re
from typing import Literal

import msgspec

from ostinato.core.secret import ApiKey
from ostinato.notifying.events import matches
from ostinato.wire.model import Json

Kind = Literal["webhook", "slack", "email"]

WAITING, DELIVERED, DEAD = "waiting", "delivered", "dead"
"""States of a delivery. ``dead``: every try has failed, or there is nobody to deliver it to any more."""

_EVENT = re.compile(r"[a-z][a-z_-]{0,39}:[a-z][a-z_-]{0,39}")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages go: no secret is in it. Times are UTC microseconds."""

    id: str
    org: str
    project: str
    """Id; empty: messages of every project of the organization, and of the organization itself."""
    name: str
    kind: Kind
    address: str
    """As everybody may see it: of a URL without its query, of Slack's the host; or the recipients."""
    events: tuple[str, ...]
    """``resource:verb``, ``resource:*`` or ``*``."""
    enabled: bool = True
    why: str = ""
    """Why it was disabled."""
    created_at: int = 0
    created_by: str = ""
    version: int = 1
    failing_since: int | None = None
    """Of the first failure since the last success."""
    failures: int = 0
    """Since then."""
    refused: int = 0
    """Messages that there was no room for, ever."""

    @property
    def resource(self) -> str:
        """What rules of permission and the audit log call it."""
        return f"webhook:{self.id}"

    def takes(self, org: str, project: str, event: str) -> bool:
        """Whether a message is for this endpoint."""
        if org != self.org or (self.project and project != self.project):
            return False
        return any(matches(pattern, event) for pattern in self.events)


class Target(msgspec.Struct, frozen=True):
    """An endpoint with what nobody may see."""

    endpoint: Endpoint
    address: ApiKey
    """The URL, or the recipients, with commas."""
    secrets: tuple[tuple[ApiKey, int], ...] = ()
    """Secrets with the time (UTC microseconds) until which each signs, 0: for good; the newest first."""


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be told, and where."""

    name: str
    kind: Kind = "webhook"
    address: str
    """URL, or e-mail addresses with commas."""
    events: tuple[str, ...]


class Changes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an endpoint; what is left unset stays."""

    address: str | msgspec.UnsetType = msgspec.UNSET
    events: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, as it is delivered. Its id is the same at every try and to every endpoint."""

    id: str
    org: str
    project: str
    event: str
    subject: str
    at: int
    body: bytes
    """JSON: see :func:`ostinato.notifying.payload.compose`."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way to one endpoint."""

    message: str
    """Its id: the header ``webhook-id``."""
    endpoint: str
    event: str
    subject: str
    at: int
    state: str
    tries: int = 0
    next_at: int | None = None
    """When it is tried again."""
    status: int = 0
    """Of the last answer; 0: there was none."""
    said: str = ""
    """What went wrong at the last try: at most 200 characters, redacted."""
    done_at: int | None = None


class Due(msgspec.Struct, frozen=True):
    """A delivery that this process has taken, until ``until``."""

    message: Message
    endpoint: str
    tries: int
    """Made before this one."""


class Sent(msgspec.Struct, frozen=True):
    """How one try went."""

    ok: bool
    status: int = 0
    said: str = ""
    gone: bool = False
    """The receiver wants no more of it, ever."""
    after: float = 0.0
    """Seconds that the receiver asks to be left alone."""


def is_event(text: str) -> bool:
    """Whether ``text`` has the form ``resource:verb``."""
    return _EVENT.fullmatch(text) is not None


Data = Json
"""Ids and figures; never a text."""
