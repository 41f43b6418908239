"""Withdrawing entries: what a selector means, and how a withdrawal beats what is still on its way.

A call that began before a withdrawal and ends after it must not bring the answer back. So withdrawals are counted
and the last ones are kept: whoever wants to store or promote an answer says at which count its call began, and is
refused if any withdrawal since then matches. Nothing is stopped or scanned for that; without a withdrawal it is one
comparison.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from ostinato.cache import scope as scopes
from ostinato.cache.memory import Entry, MemoryTier, Traits
from ostinato.cache.model import Scope, Selector
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid

_KEPT = 256
"""Withdrawals remembered. A call that outlives more of them does not store: refusing is safe, forgetting is not."""
_SLICE_SECONDS = 0.002
"""How long a scan holds the event loop at a time."""


class Report(msgspec.Struct, frozen=True, gc=False):
    """How many entries a withdrawal reached, or would reach."""

    memory: int
    shared: int
    total: int
    """Distinct entries: most are in both tiers."""
    dry_run: bool


class Matcher:
    """A selector, ready to be asked about one entry after the other."""

    def __init__(self, selector: Selector, secret: bytes, name_of: Callable[[bytes, bytes], str]) -> None:
        self.selector = selector
        self._name_of = name_of
        self._user_digest = user_digest(selector, secret)

    def traits(self, traits: Traits) -> bool:
        """Whether everything but ``entry`` matches."""
        wanted = self.selector
        return (
            traits.org == wanted.org
            and (not wanted.project or traits.project == wanted.project)
            and (not self._user_digest or traits.user_digest == self._user_digest)
            and (not wanted.target or traits.target == wanted.target)
            and (not wanted.alias or traits.alias == wanted.alias)
            and (not wanted.tag or wanted.tag in traits.tags)
            and (not wanted.context or traits.context == wanted.context)
            and (not wanted.generation or traits.generation == wanted.generation)
        )

    def entry(self, key: bytes, traits: Traits) -> bool:
        """Whether the entry of ``key`` matches in every respect."""
        return self.traits(traits) and self.name(key, traits.scope)

    def name(self, key: bytes, scope: bytes) -> bool:
        """Whether the name matches, where one is wanted."""
        return not self.selector.entry or self._name_of(key, scope) == self.selector.entry

    def labels(self) -> dict[str, str]:
        """The selector in terms of the shared tier's labels; name and tag are asked for apart."""
        wanted = self.selector
        labels = {
            "org": wanted.org,
            "project": wanted.project,
            "user": self._user_digest,
            "target": wanted.target,
            "alias": wanted.alias,
            "context": wanted.context,
            "generation": wanted.generation,
        }
        return {name: value for name, value in labels.items() if value}


def user_digest(selector: Selector, secret: bytes) -> str:
    """The selector's end user as entries know them. Digests differ by project, so a user is named with a project."""
    if not selector.user:
        return selector.user_digest
    if not selector.project:
        raise Invalid("An end user is known by project: name the project too.", code="project_missing", param="project")
    return scopes.user_digest(Scope(selector.org, selector.project, selector.user), secret)


def unnamed(selector: Selector, secret: bytes) -> Selector:
    """The same selector without the user's name, which is nobody's to know who only carries it out."""
    return msgspec.structs.replace(selector, user="", user_digest=user_digest(selector, secret))


def check(selector: Selector) -> None:
    """Refuse a selector that says too little. Raises ``Invalid``."""
    if not selector.org:
        raise Invalid("A selector must name the organization.", code="org_missing", param="org")
    narrowed = (
        selector.entry
        or selector.user
        or selector.user_digest
        or selector.target
        or selector.alias
        or selector.tag
        or selector.context
        or selector.generation
    )
    if not (narrowed or selector.everything):
        raise Invalid(
            "The selector names nothing to withdraw.",
            code="empty_selector",
            hint="Name an entry, user, target, alias, tag, context or generation, or say `everything`.",
        )


class Withdrawals:
    """Counts withdrawals, and remembers the last ones for those who began before them."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[tuple[int, Matcher]] = deque()
        self._floor = 0

    def add(self, matcher: Matcher) -> None:
        """From now on, what began earlier and matches is refused."""
        self.count += 1
        self._kept.append((self.count, matcher))
        if len(self._kept) > _KEPT:
            self._floor = self._kept.popleft()[0]

    def refuse_all(self) -> None:
        """From now on, whatever began earlier is refused."""
        self.count += 1
        self._floor = self.count

    def refuses(self, begun: int, key: bytes, traits: Traits) -> bool:
        """Whether an answer whose call began at count ``begun`` has been withdrawn since."""
        if begun == self.count:
            return False
        if begun < self._floor:
            return True
        return any(matcher.entry(key, traits) for number, matcher in self._kept if number > begun)


async def scan(tier: MemoryTier, matcher: Matcher, clock: Clock, number: int, found: Callable[[Entry], None]) -> int:
    """Call ``found`` with every matching entry of the in-process tier; how many there were.

    ``number`` must be new with every scan. Other tasks run every few milliseconds; what is put meanwhile may be missed.
    """
    count = 0
    named = bool(matcher.selector.entry)
    until = clock.monotonic() + _SLICE_SECONDS
    for entries in tier.slices():
        for position, entry in enumerate(entries):
            if entry.withdrawn:
                continue
            kind = entry.kind
            if kind.seen != number:
                kind.seen = number
                kind.verdict = matcher.traits(kind.traits)
            if kind.verdict and (not named or matcher.name(entry.key, kind.traits.scope)):
                found(entry)
                count += 1
            if not position & 255 and clock.monotonic() > until:
                await clock.sleep(0)
                until = clock.monotonic() + _SLICE_SECONDS
    return count
