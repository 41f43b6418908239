"""The events that are told, by what they are about; and the patterns by which an endpoint asks for them."""

import difflib
import re
from collections.abc import Mapping

from ostinato.core.errors import Invalid

AUDITED: Mapping[str, tuple[str, ...]] = {
    "breakers": ("trip", "try", "reopen", "close"),
    "breakglass": ("begin", "end"),
    "intents": ("write", "remove", "propose", "approve", "reject", "void"),
    "keys": ("create", "update", "revoke", "rotate"),
    "labels": ("write", "move"),
    "optimizations": (
        "start", "pause", "resume", "cancel", "review", "propose", "refused", "nothing-to-gain", "fail", "delete",
    ),
    "principals": ("create", "update", "enable", "disable"),
    "prompts": ("write",),
    "releases": (
        "propose", "attach", "approve", "reject", "withdraw", "void", "start", "advance", "pause", "resume", "promote",
        "rollback",
    ),
    "roles": ("bind", "unbind"),
    "webhooks": ("create", "update", "enable", "disable", "rotate", "remove"),
}  # fmt: skip
"""What is told as it is written in the audit log."""

EVENTS: Mapping[str, tuple[str, ...]] = {
    **AUDITED,
    "cases": (
        "open", "reopen", "return", "triage", "comment", "propose", "approve", "automatic", "reject", "execute",
        "fail", "notify", "verify", "escalate", "overdue", "close", "dismiss",
    ),
    "erasures": ("done",),
    "monitoring": ("alarm",),
    "reviews": ("overdue",),
    "triage": ("proposed", "waiting", "applied", "rejected"),
    "updates": ("run", "ask", "approve", "reject", "start", "advance", "pass", "roll_back", "finish", "abandon"),
}  # fmt: skip
"""The same, and what rooms tell themselves: resource -> verbs."""

_FORM = re.compile(r"[a-z][a-z_-]{0,39}:(?:\*|[a-z][a-z_-]{0,39})")


def matches(pattern: str, event: str) -> bool:
    """Whether ``event`` is meant by ``pattern``."""
    return pattern in ("*", event) or (pattern.endswith(":*") and event.startswith(pattern[:-1]))


def patterns(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """``wanted``, each once, in order: ``resource:verb``, ``resource:*``, or ``*`` for everything.

    Raises ``Invalid`` for what no event will ever match, with those that there are: such an endpoint would be silent
    for good, and look well.
    """
    kept = tuple(dict.fromkeys(wanted))
    if not 1 <= len(kept) <= 50:
        raise Invalid("Name 1 to 50 events.", code="invalid_events", param="events", hint="Such as `cases:*`.")
    for one in kept:
        if one != "*":
            _check(one)
    return kept


def _check(pattern: str) -> None:
    resource, _, verb = pattern.partition(":")
    formed = _FORM.fullmatch(pattern) is not None
    if formed and resource in EVENTS and verb in ("*", *EVENTS[resource]):
        return
    near = [resource] if resource in EVENTS else difflib.get_close_matches(resource, EVENTS, 1)
    of_near = "".join(f" Of {one}: {', '.join(EVENTS[one])}." for one in near)
    raise Invalid(
        f"{pattern[:80]!r} names no event.",
        code="invalid_events",
        param="events",
        hint=f"Write `resource:verb`, `resource:*`, or `*` for everything. "
        f"There are events of {', '.join(sorted(EVENTS))}.{of_near}",
    )
