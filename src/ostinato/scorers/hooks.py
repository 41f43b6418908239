"""Scorers of your own behind HTTP: the subject goes out as JSON, a score comes back. Addresses come from the
configuration alone: whoever may declare a scorer must not thereby send texts wherever they like."""

import hashlib
import hmac
from typing import Any

import msgspec

from ostinato import outbound
from ostinato.core.errors import UpstreamFailed
from ostinato.scorers.kinds import Asking, Context, Kind, Said, missing, wrong
from ostinato.scorers.model import Subject
from ostinato.scorers.settings import Hook

_MOST_BYTES = 65_536
"""Of the answer."""
_encode = msgspec.json.Encoder().encode


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hook: str
    """Its name in ``[scorers.hooks]``."""
    options: dict[str, Any] = {}
    """Sent along."""


class _Reply(msgspec.Struct, frozen=True):
    value: float | None
    label: str = ""
    rationale: str = ""
    confidence: float | None = None


def signature(secret: str, seconds: int, body: bytes) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 over the time, a dot and the body, so that nothing can be sent again later."""
    mac = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256)
    return f"t={seconds},v1={mac.hexdigest()}"


def sent(subject: Subject, options: dict[str, Any]) -> bytes:
    """What a hook is sent."""
    told: dict[str, object] = {
        name: getattr(subject, name)
        for name in (
            *("output", "inputs", "input_text", "reference", "passages", "retrieved", "finish", "cost"),
            *("latency_us", "metadata", "request_id"),
        )
    }
    return _encode({"subject": told, "options": options})


def _make(config: Http, context: Context) -> Asking:
    hook = context.hooks.get(config.hook)
    if hook is None:
        raise wrong(
            "hook",
            f"There is no HTTP hook called {config.hook[:80]!r}.",
            f"The configuration names: {', '.join(sorted(context.hooks)) or 'none'}; see [scorers.hooks].",
        )
    client, clock = context.client, context.clock
    if client is None:
        raise missing("the way out", "http", "The server has it.")

    async def say(subject: Subject) -> Said:
        body = sent(subject, config.options)
        headers = {"content-type": "application/json"}
        if hook.secret is not None:
            headers["ostinato-signature"] = signature(hook.secret.reveal(), clock.now() // 1_000_000, body)
        return read(await _posted(client, hook, body, headers))

    return say


async def _posted(client: outbound.Client, hook: Hook, body: bytes, headers: dict[str, str]) -> outbound.Response:
    return await client.post(
        hook.url, body, headers, hook.timeout, allow_private=hook.allow_private, max_bytes=_MOST_BYTES
    )


def read(response: outbound.Response) -> Said:
    """What a hook answered. Raises ``UpstreamFailed`` for what is no score."""
    if response.status != 200:
        raise UpstreamFailed(f"The hook answered with status {response.status}.", code="hook_failed")
    try:
        told = msgspec.json.decode(response.body, type=_Reply)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamFailed("The hook's answer is no score.", code="hook_failed") from error
    return Said(told.value, told.label, told.rationale, told.confidence)


def _identity(config: Http, context: Context) -> object:
    hook = context.hooks.get(config.hook)
    return hook.url if hook is not None else ""


KINDS = (
    Kind(
        name="http",
        title="A server of your own, named in the configuration.",
        config=Http,
        make=_make,
        asking=True,
        needs=("hook",),
        identity=_identity,
    ),
)
