"""Requests, as both clients send them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypedDict
from urllib.parse import quote

import msgspec

from ostinato import __version__
from ostinato.client.settings import Settings
from ostinato.client.shelf import Key
from ostinato.core.errors import Invalid
from ostinato.wire.model import Json, WireName

PATHS: Final[dict[WireName, str]] = {
    "openai.chat": "/v1/chat/completions",
    "anthropic.messages": "/v1/messages",
}
AGENT: Final = f"ostinato-python/{__version__}"
PRODUCTION: Final = "production"

Message = Mapping[str, Any]
"""A message in the wire's own shape: ``{"role": "user", "content": "..."}``."""


class Call(NamedTuple):
    """A model call, ready to be sent."""

    wire: WireName
    path: str
    headers: dict[str, str]
    body: bytes


class Asked(TypedDict, total=False):
    """What a model can be asked with; a prompt or a model is needed, the rest may be left out."""

    prompt: str
    """Name of a prompt; ``NAME@LABEL`` and ``NAME@VERSION`` may be written too."""
    label: str
    """``production`` if neither label nor version is given."""
    version: int
    variables: Mapping[str, object]
    messages: Sequence[Message]
    """Of a prompt: what follows its own."""
    model: str
    """An alias, instead of a prompt."""
    temperature: float
    max_tokens: int
    params: Mapping[str, Any]
    """Any other fields of the wire: tools, response_format, stop ..."""
    user: str
    """Id of the end user: entries of their own, and the seed of canary and hold-out."""
    session: str
    tags: Sequence[str]
    """By which the kept answer can be withdrawn."""
    intent: str
    context: str
    """Digest of what else shapes the answer, such as the version of a document set."""
    cache_control: str
    """HTTP's words: ``no-cache``, ``no-store``, ``max-age=60``, ``only-if-cached``."""
    request_id: str


class _Asking(msgspec.Struct, frozen=True, kw_only=True):
    prompt: str | None = None
    label: str | None = None
    version: int | None = None
    variables: Mapping[str, object] | None = None
    messages: Sequence[Message] = ()
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    params: Mapping[str, Any] = {}
    user: str | None = None
    session: str | None = None
    tags: Sequence[str] = ()
    intent: str | None = None
    context: str | None = None
    cache_control: str | None = None
    request_id: str | None = None


def identification(settings: Settings) -> dict[str, str]:
    """Headers of every request."""
    return {"authorization": f"Bearer {settings.api_key}", "user-agent": AGENT}


def reference(name: str, label: str | None, version: int | None) -> str:
    """``NAME@LABEL`` or ``NAME@VERSION``. Raises ``Invalid`` where both are given."""
    key = key_of(name, label, version)
    return f"{key.name}@{key.version or key.label}"


def key_of(
    name: str, label: str | None, version: int | None, session: str | None = None, user: str | None = None
) -> Key:
    """What a prompt is asked for by; ``name`` may be ``NAME@LABEL`` or ``NAME@VERSION`` itself."""
    plain, at, tail = name.removeprefix("prompt:").partition("@")
    if at:
        if label is not None or version is not None:
            raise Invalid(f"{name[:200]!r} names a label or version already.", param="label")
        label, version = (None, int(tail)) if tail.isascii() and tail.isdigit() else (tail, None)
    if label is not None and version is not None:
        raise Invalid("A prompt is asked for by label or by version, not by both.", param="version")
    if not plain or label == "":
        raise Invalid("A prompt needs a name.", param="prompt", hint="Such as 'support/answer'.")
    if version is not None and version < 1:
        raise Invalid("Versions are counted from 1.", param="version")
    return Key(plain, "" if version else label or PRODUCTION, version or 0, session or "", user or "")


def prompt_query(key: Key, settings: Settings) -> tuple[str, dict[str, str]]:
    """Path and query that a prompt is fetched by."""
    query = {"version": str(key.version)} if key.version else {"label": key.label}
    if key.session:
        query["session"] = key.session
    if key.user:
        query["user"] = key.user
    if settings.project:
        query["project"] = settings.project
    return f"/api/v1/prompts/{quote(key.name, safe='')}/resolved", query


def call(wire: WireName, stream: bool, asked: Asked) -> Call:
    """A model call. Raises ``Invalid`` where it names neither a prompt nor a model, or both."""
    told = _Asking(**asked)
    if (told.prompt is None) == (told.model is None):
        raise Invalid("Give a prompt or a model.", param="prompt", hint="A prompt names its model itself.")
    if told.prompt is None:
        for name in ("label", "version", "variables"):
            if name in asked:
                raise Invalid(f"{name!r} belongs to a prompt.", param=name)
    for name in ("model", "messages", "stream", "prompt", "temperature", "max_tokens"):
        if name in told.params:
            raise Invalid(f"{name!r} has an argument of its own.", param=f"params.{name}")
    body: Json = {**told.params, "messages": list(told.messages)}
    body["model"] = told.model if told.prompt is None else "prompt:" + reference(told.prompt, told.label, told.version)
    for name in ("temperature", "max_tokens"):
        if (value := getattr(told, name)) is not None:
            body[name] = value
    if stream:
        body["stream"] = True
        if wire == "openai.chat":
            body.setdefault("stream_options", {"include_usage": True})
    if told.prompt is not None:
        body["prompt"] = {"variables": dict(told.variables or {})}
    try:
        data = msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Invalid(f"The request cannot be sent as JSON: {error}.") from None
    return Call(wire, PATHS[wire], {"content-type": "application/json", **_circumstances(told)}, data)


def _circumstances(told: _Asking) -> dict[str, str]:
    pairs = {
        "ostinato-user": told.user,
        "ostinato-session": told.session,
        "ostinato-tags": ",".join(told.tags) or None,
        "ostinato-intent": told.intent,
        "ostinato-context": told.context,
        "cache-control": told.cache_control,
        "x-request-id": told.request_id,
    }
    found = {name: value for name, value in pairs.items() if value is not None}
    for name, value in found.items():
        if not value.isascii() or not value.isprintable():
            raise Invalid(
                f"{value[:40]!r} cannot be sent as the header {name}: printable ASCII only.",
                param=name.removeprefix("ostinato-"),
                hint="Send an id or a digest instead.",
            )
    return found
