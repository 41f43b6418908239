"""Admission: which requests may be answered from cache, and which answers may be kept.

Every rule speaks in one word, which goes to the ledger and into ``ostinato-cache``'s reason; ``""`` means yes. Only
complete, terminal, non-truncated, non-empty, well-formed answers of the asked target are kept.
"""

import random
from typing import Protocol

from ostinato.access.model import Caller
from ostinato.cache import schemas
from ostinato.cache.directives import NONE, Directives
from ostinato.cache.model import Policy, Scope
from ostinato.wire.model import Answer, BlockStart, ChatRequest, Delta, FinishReason, Json

_OK = 200
_LIVE_TOOLS = ("web_search", "web_fetch", "code_execution", "code_interpreter", "file_search", "mcp", "computer_use")
_LIVE_FIELDS = ("web_search_options", "mcp_servers", "container")
OF_FORM = frozenset({"truncated", "content-filter", "unknown-finish", "refusal", "empty", "tool-arguments", "schema"})
"""What is wrong with an answer itself: a person who writes another text in its place puts it right."""
_TERMINAL: frozenset[FinishReason] = frozenset({"stop", "stop_sequence", "tool_use", "refusal"})


class Summary(Protocol):
    """What admission needs to know of an answer; ``wire.Summary`` is one."""

    @property
    def finish(self) -> FinishReason | None: ...
    @property
    def has_tool_use(self) -> bool: ...
    @property
    def has_refusal(self) -> bool: ...
    @property
    def empty(self) -> bool: ...


def eligible(
    request: ChatRequest, policy: Policy, caller: Caller, scope: Scope | None, directives: Directives = NONE
) -> str:
    """Why the cache takes no part in this request, neither to answer nor to keep; ``""`` if it does."""
    if policy.mode == "off":
        return "policy-off"
    if directives.no_store:
        return "no-store"
    if scope is None:
        return "no-end-user" if caller.end_user_required or not policy.session_scope else "no-session"
    if request.temperature is not None and request.temperature > policy.temperature_limit:
        return "temperature"
    if request.extra:
        for fields in request.extra.values():
            if isinstance(fields, dict):
                reason = _extra(fields)  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
                if reason:
                    return reason
    for tool in request.tools:
        if tool.opaque is not None and str(tool.opaque.value.get("type", "")).startswith(_LIVE_TOOLS):
            return "live-tools"
    return ""


def _extra(fields: Json) -> str:
    """Fields of one wire that make a request uncacheable: several answers at once, or a look at the world."""
    if fields.get("n", 1) not in (1, None):
        return "n"
    if any(fields.get(name) for name in _LIVE_FIELDS):
        return "live-tools"
    return ""


def admissible(
    summary: Summary,
    *,
    policy: Policy,
    is_fallback: bool,
    status: int,
    complete: bool,
    size: int,
    request: ChatRequest | None = None,
    answer: Answer | None = None,
) -> str:
    """Why this answer is not kept; ``""`` if it is.

    ``complete``: the terminal event was seen. ``size``: of the encoded answer, bytes. With ``request`` and ``answer``
    the text is checked against the format that was asked for, and the arguments of tool calls for being JSON.
    """
    if status != _OK:
        return "error"
    if not complete or summary.finish is None or summary.finish == "pause":
        return "incomplete"
    if summary.finish == "length":
        return "truncated"
    if summary.finish == "content_filter":
        return "content-filter"
    if summary.finish not in _TERMINAL:
        return "unknown-finish"
    refused = summary.has_refusal or summary.finish == "refusal"
    if refused and not policy.store_refusals:
        return "refusal"
    if summary.empty and not refused:
        return "empty"
    if is_fallback and not policy.store_fallback:
        return "fallback"
    if size > policy.max_entry_bytes:
        return "too-large"
    if answer is None or refused:
        return ""
    if summary.has_tool_use and not _arguments_parse(answer):
        return "tool-arguments"
    if request is not None and request.response_format is not None:
        text = _text(answer)
        if (text or not summary.has_tool_use) and not schemas.conforms(text, request.response_format):
            return "schema"
    return ""


def expiry(policy: Policy, now: int, rng: random.Random, *, is_fallback: bool = False) -> tuple[int, int]:
    """End of freshness and end of any use, UTC microseconds. Jitter takes up to ``ttl_jitter`` of the TTL off."""
    ttl = min(policy.fallback_ttl, policy.ttl) if is_fallback else policy.ttl
    expires = now + max(1, int(ttl * (1.0 - policy.ttl_jitter * rng.random()) * 1_000_000))
    return expires, expires + int(max(policy.stale_while_revalidate, policy.stale_if_error) * 1_000_000)


def stale_use(policy: Policy, *, expires: int, now: int, directives: Directives = NONE) -> tuple[bool, bool]:
    """Whether an expired entry may be served while a new answer is fetched, and whether if every target fails.

    A caller who gave ``max-age`` or ``no-cache`` gets nothing stale.
    """
    if directives.max_age is not None or directives.no_cache or directives.no_store:
        return False, False
    past = now - expires
    return past < policy.stale_while_revalidate * 1_000_000, past < policy.stale_if_error * 1_000_000


def _arguments_parse(answer: Answer) -> bool:
    """Whether the arguments of every tool call are JSON; none at all stands for no arguments."""
    calls: dict[int, list[str]] = {}
    for event in answer.events:
        if isinstance(event, BlockStart):
            if event.kind == "tool_use":
                calls[event.index] = []
        elif isinstance(event, Delta) and event.index in calls:
            calls[event.index].append(event.text)
    return all(schemas.is_json("".join(parts)) for parts in calls.values() if any(part.strip() for part in parts))


def _text(answer: Answer) -> str:
    """All text blocks of the answer, joined."""
    texts: set[int] = {event.index for event in answer.events if isinstance(event, BlockStart) and event.kind == "text"}
    return "".join(event.text for event in answer.events if isinstance(event, Delta) and event.index in texts)
