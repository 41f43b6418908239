"""What the fake does: a small grammar of knobs.

A *spec* is a list of knobs with commas between them, written as the model's name or set for the whole provider:
``fake-500``, ``fake-latency=50ms,cut=3``, ``fake-tools=2,reasoning``. Any other model name is a model without knobs.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from ostinato.core.errors import Invalid

UsageShape: TypeAlias = Literal["plain", "cached", "written", "reasoning", "all", "none"]
Shape: TypeAlias = Literal["ok", "html", "half", "empty", "garbage", "error200"]

_SIZES = {"kb": 1024, "mb": 1024 * 1024, "b": 1, "": 1}
_TIMES = {"ms": 0.001, "s": 1.0, "us": 0.000_001, "": 1.0}


class Script(msgspec.Struct, frozen=True, gc=False):
    """One behaviour. Times in seconds, sizes in bytes."""

    latency: float = 0.0
    """Before the first byte."""
    gap: float = 0.0
    """Between two chunks of a stream."""
    words: int = 12
    """Words of the answer; each is one chunk and one output token."""
    status: int = 200
    kind: str = ""
    """The error's type or code, where it is not the usual one of the status."""
    retry_after: float | None = None
    shape: Shape = "ok"
    """``html``, ``half`` (half a JSON), ``empty`` (no body), ``garbage`` (JSON of another shape), ``error200`` (an
    error inside a 200, or in mid-stream)."""
    cut: int | None = None
    """End the stream without its terminal event after so many chunks."""
    reset: int | None = None
    """Reset the connection after so many chunks; 0: before the head."""
    hang: int | None = None
    """Say nothing any more after so many chunks; 0: before the head."""
    speed: int = 0
    """Bytes per second of the body; 0: no bound."""
    pad: int = 0
    """So many bytes more in the first chunk."""
    tools: int = 0
    """Tool calls in the answer, for the tools that the request offers or one of our own."""
    reasoning: bool = False
    refusal: bool = False
    length: bool = False
    """Stop for length, in the middle."""
    filtered: bool = False
    """Stop because of a content filter."""
    silent: bool = False
    """An answer without any text."""
    usage: UsageShape = "plain"
    flaky: int = 0
    """Of so many calls plus one, only the last succeeds; the others fail with ``status``, else 503."""
    limit: int = 0
    """Calls per second; what is beyond is answered with 429 and ``retry-after``."""
    pings: bool = False
    """Keep-alives between the chunks."""


def _seconds(text: str) -> float:
    for unit in ("ms", "us", "s", ""):
        if text.endswith(unit):
            return max(0.0, float(text.removesuffix(unit) if unit else text)) * _TIMES[unit]
    raise ValueError(text)


def _bytes(text: str) -> int:
    lower = text.lower()
    for unit in ("kb", "mb", "b", ""):
        if lower.endswith(unit):
            return int(float(lower.removesuffix(unit) if unit else lower) * _SIZES[unit])
    raise ValueError(text)


def _shape(name: Shape) -> Callable[[str], dict[str, Any]]:
    return lambda _text: {"shape": name}


def _flag(name: str) -> Callable[[str], dict[str, Any]]:
    return lambda _text: {name: True}


def _number(name: str, default: int) -> Callable[[str], dict[str, Any]]:
    return lambda text: {name: int(text) if text else default}


def _usage(text: str) -> dict[str, Any]:
    return {"usage": msgspec.convert(text, UsageShape)}


KNOBS: dict[str, Callable[[str], dict[str, Any]]] = {
    "latency": lambda text: {"latency": _seconds(text)},
    "slow": lambda text: {"latency": _seconds(text)},
    "gap": lambda text: {"gap": _seconds(text)},
    "words": _number("words", 12),
    "status": _number("status", 500),
    "kind": lambda text: {"kind": text},
    "retry-after": lambda text: {"retry_after": _seconds(text)},
    "html": _shape("html"),
    "half": _shape("half"),
    "empty": _shape("empty"),
    "garbage": _shape("garbage"),
    "error200": _shape("error200"),
    "cut": _number("cut", 2),
    "reset": _number("reset", 0),
    "hang": _number("hang", 0),
    "blackhole": lambda _text: {"hang": 0},
    "speed": lambda text: {"speed": _bytes(text)},
    "pad": lambda text: {"pad": _bytes(text)},
    "tools": _number("tools", 1),
    "reasoning": _flag("reasoning"),
    "refusal": _flag("refusal"),
    "length": _flag("length"),
    "truncated": _flag("length"),
    "filtered": _flag("filtered"),
    "silent": _flag("silent"),
    "usage": _usage,
    "flaky": _number("flaky", 1),
    "limit": _number("limit", 1),
    "pings": _flag("pings"),
}
"""Name to the fields of :class:`Script` that it sets, given the text after ``=``."""


def read(spec: str) -> Script:
    """The script that ``spec`` describes; raises ``Invalid`` on a knob or value that there is not."""
    fields: dict[str, Any] = {}
    for part in filter(None, spec.replace("+", ",").split(",")):
        name, _, value = part.strip().partition("=")
        if name.isdecimal() and len(name) == 3:
            fields["status"] = int(name)
            continue
        knob = KNOBS.get(name)
        if knob is None:
            raise Invalid(f"The fake has no knob {name!r}.", hint=f"It has: {', '.join(sorted(KNOBS))}.")
        try:
            fields |= knob(value)
        except (ValueError, msgspec.ValidationError) as error:
            raise Invalid(f"The fake's knob {name!r} does not take {value!r}.") from error
    return Script(**fields)


def for_model(model: str, base: Script) -> Script:
    """The script for a call of ``model``: its own knobs, if its name has any, over the provider's ``base``."""
    name = model.rpartition("/")[2]
    for prefix in ("fake-", "fake:"):
        if name.startswith(prefix):
            own = read(name[len(prefix) :])
            changed = {f: v for f, v in msgspec.structs.asdict(own).items() if v != getattr(_PLAIN, f)}
            return msgspec.structs.replace(base, **changed)
    return base


_PLAIN = Script()


ERROR_KINDS: dict[int, tuple[str, str]] = {
    # Status: OpenAI's type, Anthropic's type.
    400: ("invalid_request_error", "invalid_request_error"),
    401: ("invalid_api_key", "authentication_error"),
    402: ("insufficient_quota", "billing_error"),
    403: ("permission_denied", "permission_error"),
    404: ("model_not_found", "not_found_error"),
    408: ("timeout", "timeout_error"),
    413: ("request_too_large", "request_too_large"),
    422: ("unprocessable_entity", "invalid_request_error"),
    429: ("rate_limit_exceeded", "rate_limit_error"),
    500: ("server_error", "api_error"),
    502: ("bad_gateway", "api_error"),
    503: ("service_unavailable", "api_error"),
    504: ("timeout", "timeout_error"),
    529: ("overloaded", "overloaded_error"),
}


class Gate:
    """What makes a call fail though its script would let it pass: flakiness and rate limits. Counts the calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.by_model: dict[str, int] = {}
        self._windows: dict[str, tuple[float, int]] = {}

    def admit(self, model: str, script: Script, now: float) -> Script:
        """Count the call and return the script that it really gets. ``now``: monotonic seconds."""
        self.calls += 1
        count = self.by_model.get(model, 0) + 1
        if len(self.by_model) < 10_000 or model in self.by_model:
            self.by_model[model] = count
        if script.flaky:
            failing = count % (script.flaky + 1) != 0
            usual = script.status if script.status != 200 else 503
            script = msgspec.structs.replace(script, status=usual if failing else 200)
        if script.limit:
            began, used = self._windows.get(model, (now, 0))
            if now - began >= 1.0:
                began, used = now, 0
            if len(self._windows) < 10_000 or model in self._windows:
                self._windows[model] = (began, used + 1)
            if used >= script.limit:
                return msgspec.structs.replace(script, status=429, retry_after=max(0.001, 1.0 - (now - began)))
        return script
