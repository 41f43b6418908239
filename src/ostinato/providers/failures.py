"""From what went wrong at a provider to a ``ProviderFailure`` of the right class, without secrets."""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from ostinato import outbound
from ostinato.providers.model import FailureClass, ProviderFailure
from ostinato.wire.errors import ErrorInStream, Malformed

MAX_ERROR_BODY = 64 * 1024
_MAX_RETRY_AFTER = 86_400.0
_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit-", "x-ms-ratelimit-")
_RETRY_HEADERS = ("retry-after", "retry-after-ms")
_CODE = re.compile(r"[a-z_]{1,64}")
_PASSED_THROUGH = frozenset({400, 404, 413, 422})

_BY_KIND: dict[str, FailureClass] = {
    "authentication_error": "credential",
    "invalid_api_key": "credential",
    "permission_error": "forbidden",
    "permission_denied": "forbidden",
    "billing_error": "forbidden",
    "insufficient_quota": "forbidden",
    "rate_limit_error": "rate",
    "rate_limit_exceeded": "rate",
    "tokens": "rate",
    "requests": "rate",
    "invalid_request_error": "request",
    "not_found_error": "request",
    "model_not_found": "request",
    "context_length_exceeded": "request",
    "request_too_large": "request",
    "timeout_error": "timeout",
    "overloaded_error": "server",
    "overloaded": "server",
    "api_error": "server",
    "server_error": "server",
    "internal_error": "server",
    "internal_server_error": "server",
    "service_unavailable": "server",
}


def of_status(status: int) -> FailureClass:
    """The class of an HTTP status that is no success (``wire.md``, Errors and retries)."""
    if status == 401:
        return "credential"
    if status in (402, 403):
        return "forbidden"
    if status == 429:
        return "rate"
    if status in _PASSED_THROUGH:
        return "request"
    if status in (408, 504):
        return "timeout"
    return "malformed" if status < 400 else "server"


def from_response(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: int,
    secret: str = "",
    wire: str = "openai.chat",
) -> ProviderFailure:
    """The failure that an error answer in ``wire`` means. ``now``: UTC us; ``secret`` is blotted out if echoed."""
    failure = of_status(status)
    code = _code_of(body)
    message = f"{provider} answered {status}{f' ({code})' if code else ''}."
    kept: bytes | None = None
    if failure == "request":
        kept = body[:MAX_ERROR_BODY]
        if secret:
            kept = kept.replace(secret.encode(), b"***")
    hint = ""
    if 300 <= status < 400:
        hint = "Redirects are not followed: put the final address into base_url."
    elif failure == "credential":
        hint = f"Check the API key of provider {provider}."
    elif failure == "forbidden":
        hint = f"The API key of provider {provider} may not use this model, or its account has no money left."
    return ProviderFailure(
        message,
        failure=failure,
        upstream_status=status,
        body=kept,
        content_type=headers.get("content-type", "application/json"),
        headers=passed_on(headers),
        retry_after=retry_after(headers, now),
        hint=hint,
        wire=wire,
    )


def from_outbound(
    provider: str, error: outbound.OutboundError | outbound.Refused, *, streaming: bool
) -> ProviderFailure:
    """The failure that a broken exchange means. ``streaming``: the head of a stream had arrived."""
    failure: FailureClass = "network"
    if isinstance(error, outbound.TimedOut):
        failure = "timeout"
    elif isinstance(error, outbound.TooLarge | outbound.BadResponse):
        failure = "malformed"
    elif streaming:
        failure = "cut"
    return ProviderFailure(f"{provider}: {error.message}", failure=failure, hint=error.hint)


def from_malformed(provider: str, error: Malformed | str, *, status: int = 200) -> ProviderFailure:
    """The failure that bytes which are no answer mean."""
    return ProviderFailure(f"{provider} sent no valid answer: {error}", failure="malformed", upstream_status=status)


def from_error_in_stream(
    provider: str, error: ErrorInStream, headers: Mapping[str, str], wire: str = "openai.chat"
) -> ProviderFailure:
    """The failure that an error inside a 200, or in mid-stream, means: judged by its kind."""
    failure = of_status(error.status) if error.status is not None else _BY_KIND.get(error.kind, "malformed")
    kind = error.kind if _CODE.fullmatch(error.kind) else ""
    body: bytes | None = None
    if failure == "request" and error.raw is not None:
        shape = {"type": "error", "error": error.raw} if wire == "anthropic.messages" else {"error": error.raw}
        body = msgspec.json.encode(shape)[:MAX_ERROR_BODY]
    return ProviderFailure(
        f"{provider} reported an error inside its answer{f' ({kind})' if kind else ''}.",
        failure=failure,
        upstream_status=error.status or (400 if failure == "request" else None),
        body=body,
        headers=passed_on(headers),
    )


def cut(provider: str) -> ProviderFailure:
    """The failure that a stream which ends without its terminal event means."""
    return ProviderFailure(f"{provider} ended its stream before the answer was complete.", failure="cut")


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The rate-limit headers among ``headers``: what callers may see of a provider's answer."""
    return {
        name: value[:256] for name, value in headers.items() if name.startswith(_PREFIXES) or name in _RETRY_HEADERS
    }


def retry_after(headers: Mapping[str, str], now: int) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date). ``now``: UTC microseconds."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if not text:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - now / 1_000_000
            except (ValueError, TypeError, OverflowError):
                continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.0), _MAX_RETRY_AFTER)
    return None


def _code_of(body: bytes) -> str:
    """The provider's own word for the error, if it is a plain word: then it cannot be a secret or a text."""
    if len(body) > MAX_ERROR_BODY:
        return ""
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    error: Any = decoded.get("error") if isinstance(decoded, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if isinstance(error, dict):
        for key in ("code", "type"):
            value: Any = error.get(key)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
            if isinstance(value, str) and _CODE.fullmatch(value):
                return value
    return ""
