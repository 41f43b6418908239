"""Entries, policies, scopes and selectors of the response cache."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.wire.model import Json, Usage


class Policy(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What may be cached for a project and alias, and for how long. Defaults are ``interfaces.md``'s."""

    mode: Literal["off", "exact"] = "exact"
    ttl: float = 86_400.0
    """Seconds that an answer is fresh."""
    ttl_jitter: float = 0.1
    """Share of ``ttl`` taken off at random, so that entries made together do not expire together."""
    temperature_limit: float = 1.0
    """A request above it is not cached; one without temperature is."""
    stale_while_revalidate: float = 0.0
    """Seconds past ``ttl`` in which an old answer is served while a new one is fetched."""
    stale_if_error: float = 0.0
    """Seconds past ``ttl`` in which an old answer is served when every target fails."""
    store_refusals: bool = False
    store_fallback: bool = False
    """Whether an answer from a fallback target is stored."""
    fallback_ttl: float = 300.0
    scope: Literal["user", "project"] = "user"
    """``user``: an end user, where one is named, has entries of their own. ``project``: shared by declaration."""
    session_scope: bool = False
    max_entry_bytes: int = 1_048_576
    finish_and_store: bool = False
    """Whether an upstream call is finished and stored after its caller has left."""
    allow_directives: tuple[str, ...] = ("no-cache", "no-store", "max-age", "only-if-cached")
    checks: tuple[str, ...] = ()
    """Names of declared check rules, applied on the input and before admission; see ``checks``."""
    version: str = ""
    """Digest of this policy and its check rules; part of the generation."""


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Whose entries: the base from the key, narrowed by what the request names. ``""`` means not named."""

    org: str
    project: str
    user: str = ""
    context: str = ""
    session: str = ""


class EntryMeta(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is told of an entry, beside its answer."""

    fingerprint_version: int
    alias: str
    target: str
    """``provider/model`` that really answered."""
    release: str
    """Empty until prompts are registered."""
    generation: str
    org: str
    project: str
    user_digest: str
    context: str
    tags: tuple[str, ...]
    created: int
    """UTC microseconds."""
    expires: int
    """End of freshness, UTC microseconds."""
    stale_until: int
    """Until when it may be served stale under some rule."""
    input_digest: str
    usage: Usage
    cost: int | None
    """Nano-dollars at the time; ``None``: unknown price."""
    origin: str
    """Request id of the call that produced it."""
    quality: Json | None = None


class Selector(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Which entries to withdraw: all given fields must match; at least one beside org and project."""

    org: str
    project: str = ""
    entry: str = ""
    """Opaque entry name, as given in ``ostinato-entry``."""
    user: str = ""
    target: str = ""
    alias: str = ""
    tag: str = ""
    context: str = ""
    generation: str = ""
    everything: bool = False
    user_digest: str = ""
    """Of ``user``, in place of the name: how a withdrawal is written down and told to other processes."""


CacheResult: TypeAlias = Literal["hit-exact", "miss", "stale", "bypass"]
