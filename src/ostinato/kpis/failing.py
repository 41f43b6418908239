"""What a failure is called: a closed list of classes, by the ledger's error codes and by why an answer was not kept.

Codes of our own are named one by one. What a provider or a plain status says is told by its words, whole words only:
"stream" is in "upstream", and a rate limit of a provider is not a limit of ours.
"""

import re
from typing import get_args

from ostinato.providers import FailureClass

CLASSES = (
    "provider",
    "timeout",
    "cut stream",
    "format",
    "refusal",
    "policy",
    "retrieval",
    "wrong answer",
    "caller",
    "our own",
)

_OF_UPSTREAM = {"timeout": "timeout", "malformed": "format", "cut": "cut stream", "request": "caller"}
_NAMED = {f"upstream_{one}": _OF_UPSTREAM.get(one, "provider") for one in get_args(FailureClass)} | {
    "upstream_failed": "provider",
    "targets_unavailable": "provider",
    "targets_busy": "provider",
    "model_away": "provider",
    "not_supported": "provider",
    "answer_too_large": "format",
    "content_blocked": "policy",
    "budget_exceeded": "policy",
    "budget_exhausted": "policy",
    "no_budget": "policy",
    "price_unknown": "policy",
    "rate_limit_exceeded": "policy",
    "concurrency_limit_exceeded": "policy",
    "permission_denied": "policy",
    "model_not_allowed": "policy",
    "intent_not_allowed": "policy",
    "intent_tripped": "policy",
    "held_rejected": "policy",
    "held_expired": "policy",
    "caller_left": "caller",
    "stream_lagging": "caller",
    "untranslatable": "caller",
    "unsupported_encoding": "caller",
    "not_json": "caller",
    "too_deep": "caller",
    "not_cached": "caller",
    "intent_mismatch": "caller",
    "missing_api_key": "caller",
    "api_key_expired": "caller",
    "api_key_revoked": "caller",
    "flight_interrupted": "our own",
    "internal_error": "our own",
    "unavailable": "our own",
    "draining": "our own",
    "stopping": "our own",
    "cannot_hold": "our own",
}
_WORDS: tuple[tuple[str, frozenset[str]], ...] = (
    ("timeout", frozenset({"timeout", "deadline", "504"})),
    ("cut stream", frozenset({"cut", "truncated", "stream", "disconnected", "incomplete"})),
    ("format", frozenset({"format", "schema", "json", "malformed"})),
    ("refusal", frozenset({"refusal", "filter"})),
    ("policy", frozenset({"blocked", "policy", "check", "forbidden", "denied", "budget", "limit", "429", "403"})),
    ("caller", frozenset({"invalid", "unknown", "found", "missing", "large", "400", "401", "404", "413", "422"})),
    ("provider", frozenset({"provider", "upstream", "overloaded", "500", "502", "503", "529"})),
)

OF_ANSWERS = {
    "refusal": "refusal",
    "content-filter": "refusal",
    "schema": "format",
    "tool-arguments": "format",
    "incomplete": "format",
    "truncated": "format",
    "empty": "format",
}
"""Reasons for which an answer was not kept that are a failure of the answer itself, as detectors count them, too."""


def class_of(error: str) -> str:
    """The class of an error of the ledger; what nothing is known of is ours."""
    text = error.lower()
    if text in _NAMED:
        return _NAMED[text]
    words = set(re.split(r"[^a-z0-9]+", text))
    return next((name for name, some in _WORDS if words & some), "our own")
