"""Who calls, and what a key allows. Frozen: a :class:`Caller` lives in a snapshot and is shared by requests."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from ostinato.core import hashing


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """A token bucket: ``requests`` per ``seconds``, bursts up to ``requests``."""

    requests: int
    seconds: float = 60.0


class MoneyBudget(msgspec.Struct, frozen=True, gc=False):
    """At most ``nano`` nano-dollars per period."""

    nano: int
    period: str = "month"
    """``day``, ``month`` or ``total``; UTC calendar."""


class Account(msgspec.Struct, frozen=True, gc=False):
    """A purse that a call is paid from. A key may draw on several: its own, its issuer's, its project's."""

    id: str
    """``key:ID`` (kept when the key is rotated) or ``project:ID``."""
    budget: MoneyBudget


class SystemActor(msgspec.Struct, frozen=True, gc=False):
    """Ostinato itself, or the person at the machine: ``init``, ``config``. Bound by no key's limits."""

    name: str


class Resource(msgspec.Struct, frozen=True, gc=False):
    """What an action is about, as far as rights can depend on it. Empty: the action is not about such a thing."""

    project: str = ""
    """Id."""
    label: str = ""
    intent: str = ""
    prompt: str = ""

    def matches(self, about: "Resource") -> bool:
        """Whether ``about`` lies within this pattern: empty fields mean any, ``support-*`` what begins so."""
        return (
            (not self.project or self.project == about.project)
            and (not self.label or _fits(self.label, about.label))
            and (not self.intent or _fits(self.intent, about.intent))
            and (not self.prompt or _fits(self.prompt, about.prompt))
        )


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


class Rule(msgspec.Struct, frozen=True):
    """What a caller may do on some resources only (``allow``), or not at all there (``deny``, which always wins)."""

    effect: Literal["allow", "deny"]
    permissions: frozenset[str]
    on: Resource
    """A pattern."""
    layer: str = ""
    """Whose bindings it comes from: a caller needs one matching ``allow`` of *each* layer that limits a permission."""


class Glass(msgspec.Struct, frozen=True):
    """What a caller has broken: every right of the organization, borrowed for a short time."""

    id: str
    ends_at: int
    """UTC microseconds."""
    permissions: frozenset[str]
    """The caller's own, which it goes back to. Only these can be given to others."""
    rules: tuple[Rule, ...] = ()


class Caller(msgspec.Struct, frozen=True):
    """The actor of a data-plane call, as its key says. Everything that can change a decision is in ``digest``."""

    key_id: str
    key_prefix: str
    """First characters of the key, safe to show."""
    org: str
    project: str
    allowed_models: frozenset[str] | None = None
    """Aliases; ``None``: all of the project's."""
    end_user_required: bool = False
    """Such a key is never answered from cache without a named end user."""
    may_act_for_users: bool = True
    """Whether ``ostinato-user``, ``-session`` and ``-tags`` are heard for scope."""
    permissions: frozenset[str] = frozenset()
    rate: RateLimit | None = None
    budget: MoneyBudget | None = None
    expires_at: int | None = None
    """UTC microseconds."""
    store_text: bool = False
    """Whether the project lets the ledger keep prompt and answer text."""
    digest: bytes = b""
    name: str = ""
    """The key's name, for people."""
    accounts: tuple[Account, ...] = ()
    """Every purse that each of this key's calls must fit into; empty: no money limit."""
    principal: str = ""
    """Who stands behind the key: ``principal:ID``, or ``key:ID`` of the first key of its line. See ``principal_of``."""
    rules: tuple[Rule, ...] = ()
    """What limits ``permissions`` by resource; empty: nothing does."""
    allowed_intents: frozenset[str] | None = None
    """Intents whose prompts it may use; ``None``: all of the project's."""
    until: int | None = None
    """When its rights must be looked at again, UTC microseconds: it expires, or a binding or its glass does."""
    glass: Glass | None = None
    """Set while it has broken the glass: ``permissions`` are then borrowed."""

    def sealed(self) -> "Caller":
        """This caller with ``digest`` set from every field that can change what is answered."""
        return msgspec.structs.replace(
            self,
            digest=hashing.digest_of(
                [
                    self.org,
                    self.project,
                    sorted(self.allowed_models) if self.allowed_models is not None else None,
                    self.end_user_required,
                    self.may_act_for_users,
                    self.store_text,
                    "chat:call" in self.permissions,
                    "prompts:call" in self.permissions,
                    sorted(self.allowed_intents) if self.allowed_intents is not None else None,
                    [
                        (rule.effect, rule.layer, msgspec.to_builtins(rule.on))
                        for rule in self.rules
                        if "prompts:call" in rule.permissions
                    ],
                ]
            ),
        )


Actor = Caller | SystemActor
"""Who changes something: a key over the API, or the system itself."""


def actor_name(actor: Actor) -> str:
    """The actor as it is written down: ``key:ID`` or ``system:NAME``."""
    return f"system:{actor.name}" if isinstance(actor, SystemActor) else f"key:{actor.key_id}"


def principal_of(actor: Actor) -> str:
    """Who stands behind the actor: equal for all keys that one person or service made for itself.

    ``principal:ID``, ``key:ID`` of the first key of a line that nobody is registered for, or ``system:NAME``.
    """
    if isinstance(actor, SystemActor):
        return f"system:{actor.name}"
    return actor.principal or f"key:{actor.key_id}"


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """The outermost owner of everything."""

    id: str
    key: str
    """Short name for URLs and command lines; unique."""
    name: str
    created_at: int
    created_by: str
    version: int
    """Counts changes; sent back with an update to notice that somebody else was quicker."""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What shares a cache and a ledger: the scope that a key brings along."""

    id: str
    org_id: str
    key: str
    """Short name; unique in its organization."""
    name: str
    store_text: bool = False
    """Whether the ledger may keep prompt and answer text."""
    budget: MoneyBudget | None = None
    """A limit on what all of its keys together spend."""
    created_at: int
    created_by: str
    version: int


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key. The secret is not among it: it was shown once and is stored as a digest."""

    id: str
    org_id: str
    project_id: str
    name: str
    prefix: str
    permissions: frozenset[str]
    allowed_models: frozenset[str] | None = None
    end_user_required: bool = False
    may_act_for_users: bool = True
    rate: RateLimit | None = None
    """``None``: the default of the settings."""
    budget: MoneyBudget | None = None
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None
    rotated_from: str | None = None
    """Id of the key that this one replaced."""
    rotated_to: str | None = None
    """Id of the key that replaced this one."""
    last_used_at: int | None = None
    """Within the last minute or so of the true time, in UTC microseconds."""
    account: str = ""
    """The purse of its own budget; a rotated key keeps the purse."""
    bound_by: tuple[str, ...] = ()
    """Purses of the key that issued it: their budgets bind this key too."""
    principal: str = ""
    """Id of the person or service it was issued for; empty: whoever stands behind its creator."""
    allowed_intents: frozenset[str] | None = None
    """Intents whose prompts it may use; ``None``: all that its creator may."""
    version: int = 1

    def state(self, now: int) -> str:
        """``active``, ``expired`` or ``revoked`` at ``now``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A person or a service that keys are issued for and roles are bound to."""

    id: str
    org_id: str
    key: str
    """Short name; unique in its organization."""
    kind: Literal["person", "service"]
    name: str
    governed: bool = False
    """Whether a role was ever bound to it: from then on its keys can do only what bindings allow, even once those
    have ended. Before, its keys can do what they were issued with."""
    disabled_at: int | None = None
    """Since when its keys are refused."""
    created_at: int
    created_by: str
    version: int = 1


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A principal may (or may not) do what a role or a list of permissions says, everywhere or on some resources."""

    id: str
    org_id: str
    principal_id: str
    effect: Literal["allow", "deny"] = "allow"
    role: str = ""
    """Name of a seed role; empty where ``permissions`` are listed."""
    permissions: frozenset[str] = frozenset()
    """Listed permissions; empty where a role is named."""
    on: Resource = Resource()
    """A pattern; empty: the whole organization."""
    expires_at: int | None = None
    created_at: int
    created_by: str

    def live(self, now: int) -> bool:
        """Whether it holds at ``now``."""
        return self.expires_at is None or self.expires_at > now


class BreakGlass(msgspec.Struct, frozen=True, kw_only=True):
    """One time that somebody took every right of the organization."""

    id: str
    org_id: str
    key_id: str
    """The one key that it holds for; keys made by it gain nothing."""
    key_prefix: str
    principal: str
    reason: str
    began_at: int
    ends_at: int
    """When it ends by itself, at the latest an hour after it began."""
    ended_at: int | None = None
    """When somebody ended it before."""
    ended_by: str = ""

    @property
    def sentence(self) -> str:
        """Who it is, and until when."""
        until = datetime.fromtimestamp(self.ends_at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return f"the key {self.key_prefix} has every right of its organization until {until}"

    def live(self, now: int) -> bool:
        """Whether it holds at ``now``."""
        return self.ended_at is None and self.ends_at > now
