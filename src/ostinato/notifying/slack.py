"""A message as Slack's incoming webhooks take it: blocks with a few figures, every value escaped."""

from typing import Any, cast

import msgspec

from ostinato.notifying.model import Message

_FIELDS = 10
"""Slack takes ten of a section."""
_LONGEST = 180
_UNTOLD = ("subject", "organization", "at")
"""Said elsewhere in the message."""


def body(message: Message) -> bytes:
    """The request's body."""
    told = cast("dict[str, Any]", msgspec.json.decode(message.body))
    data = cast("dict[str, Any]", told["data"])
    rest = [(name, value) for name, value in data.items() if name not in _UNTOLD and value not in ("", None, {})]
    fields = [
        {"type": "mrkdwn", "text": f"*{escaped(name)}*\n{escaped(_plain(value))}", "verbatim": True}
        for name, value in rest[:_FIELDS]
    ]
    title = headline(message.event, message.subject, data)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title[:150], "emoji": False}},
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    small = f"{escaped(str(told['timestamp']))} · {message.id}"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": small, "verbatim": True}]})
    return msgspec.json.encode({"text": escaped(_plain(title)), "blocks": blocks})


def headline(event: str, subject: str, data: dict[str, Any]) -> str:
    """The event and what it is about; of a case, what it is before its id: that is what a phone shows."""
    what = [str(data[name]) for name in ("severity", "kind") if data.get(name)] if "case" in data else []
    return f"{event}: {' '.join([*what, subject])}"


def escaped(text: str) -> str:
    """``text`` so that it is neither a link, a mention nor a channel: Slack's three control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    # Marks that only make text bold or struck through are taken away: a name must not look like something else.
    for mark in "*_~`":
        text = text.replace(mark, f"{mark}\u200b")
    return text[:_LONGEST] or "-"
