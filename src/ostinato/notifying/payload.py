"""What a message says: ids and figures, composed once and sent byte for byte at every try."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import msgspec

from ostinato.core import hashing, ids
from ostinato.core.errors import Invalid
from ostinato.notifying.model import Message, is_event

LARGEST = 16_384
"""Bytes of a message."""
_TEXT = 200
"""Characters of a value: enough for ids, names and reasons in words, too few for a prompt or an answer."""
_DEEPEST = 4
_MOST = 50
"""Values of one object or list."""


def compose(
    now: int, org: str, project: str, event: str, subject: str, data: object = None, *, key: str = ""
) -> Message:
    """A message. ``key``: of two messages with one key the second is the first; empty: every one is new.

    The body is ``{"type", "timestamp", "data": {"organization", "project", "subject", ...}}``. Values that are longer
    than ids and figures are cut. Raises ``Invalid`` for what is no event.
    """
    if not is_event(event):
        raise Invalid(f"{event[:80]!r} is no event: resource:verb.", code="invalid_event")
    told = cast("dict[str, object]", _bounded(cast("object", data), 0)) if isinstance(data, Mapping) else {}
    body = {
        "type": event,
        "timestamp": datetime.fromtimestamp(now / 1_000_000, UTC).isoformat().replace("+00:00", "Z"),
        "data": {**told, "organization": org, "project": project, "subject": subject[:_TEXT]},
    }
    encoded = msgspec.json.encode(body)
    if len(encoded) > LARGEST:
        body["data"] = {"organization": org, "project": project, "subject": subject[:_TEXT], "cut": True}
        encoded = msgspec.json.encode(body)
    named = hashing.digest(org.encode(), project.encode(), event.encode(), key.encode())[:16].hex() if key else ""
    return Message(
        id=named or ids.new(now),
        org=org,
        project=project,
        event=event,
        subject=subject[:_TEXT],
        at=now,
        body=encoded,
    )


def _bounded(value: object, depth: int) -> object:
    """``value`` without long texts, deep trees or long lists."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT else value[: _TEXT - 1] + "…"
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= _DEEPEST:
        return None
    if isinstance(value, Mapping):
        pairs = list(cast("Mapping[object, object]", value).items())[:_MOST]
        return {str(name)[:_TEXT]: _bounded(inner, depth + 1) for name, inner in pairs}
    if isinstance(value, list | tuple):
        return [_bounded(inner, depth + 1) for inner in cast("list[object]", value)[:_MOST]]
    return _bounded(msgspec.to_builtins(value), depth + 1) if isinstance(value, msgspec.Struct) else None
