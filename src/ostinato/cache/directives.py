"""``Cache-Control`` of a request: HTTP's words with HTTP's meaning, capped by the policy.

``no-cache`` asks for a new answer and stores it. ``no-store`` keeps nothing of this request; we also read nothing for
it. ``max-age=N`` accepts no answer older than ``N`` seconds, and no stale one. ``only-if-cached`` wants the cache or
nothing: HTTP's answer is 504. What we do not know, and what is malformed, is ignored (RFC 9111, section 5.2).
"""

import msgspec

from ostinato.cache.model import Policy

LONGEST_AGE = 2_147_483_648
"""Seconds; RFC 9111, section 1.2.2: what is larger is taken as this."""


class Directives(msgspec.Struct, frozen=True, gc=False):
    """What a caller asked of the cache."""

    no_cache: bool = False
    no_store: bool = False
    max_age: int | None = None
    """Seconds; ``None``: any age that the policy allows."""
    only_if_cached: bool = False


NONE = Directives()


def parse(header: str | bytes | None, policy: Policy | None = None) -> Directives:
    """The directives of a ``cache-control`` header (several lines joined by commas), of those that the policy heeds."""
    if not header:
        return NONE
    if isinstance(header, bytes):
        header = header.decode("latin-1")
    no_cache = no_store = only_if_cached = False
    max_age: int | None = None
    for part in _parts(header):
        name, _, value = part.partition("=")
        name = name.strip().lower()
        if name == "no-cache":
            no_cache = True
        elif name == "no-store":
            no_store = True
        elif name == "only-if-cached":
            only_if_cached = True
        elif name == "max-age":
            age = _seconds(value.strip())
            if age is not None:
                max_age = age if max_age is None else min(age, max_age)
    found = Directives(no_cache, no_store, max_age, only_if_cached)
    return found if policy is None else capped(found, policy)


def capped(directives: Directives, policy: Policy) -> Directives:
    """Without those that the policy does not let callers give."""
    allowed = policy.allow_directives
    return Directives(
        directives.no_cache and "no-cache" in allowed,
        directives.no_store and "no-store" in allowed,
        directives.max_age if "max-age" in allowed else None,
        directives.only_if_cached and "only-if-cached" in allowed,
    )


def accepts(directives: Directives, *, created: int, expires: int, now: int) -> bool:
    """Whether an entry is fresh enough for the caller. Times: UTC microseconds. ``max-age`` can only shorten a TTL."""
    if now >= expires or directives.no_cache or directives.no_store:
        return False
    return directives.max_age is None or now - created <= directives.max_age * 1_000_000


def _parts(header: str) -> list[str]:
    """The comma-separated members; a comma within quotes separates nothing."""
    if '"' not in header:
        return header.split(",")
    parts: list[str] = []
    begin = 0
    quoted = escaped = False
    for at, character in enumerate(header):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            parts.append(header[begin:at])
            begin = at + 1
    parts.append(header[begin:])
    return parts


def _seconds(value: str) -> int | None:
    """A count of seconds in digits, quoted or not; ``None`` if it is anything else."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if not (value.isascii() and value.isdigit()):
        return None
    return LONGEST_AGE if len(value) > 10 else min(int(value), LONGEST_AGE)
