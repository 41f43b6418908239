"""Exports of Langfuse: prompt objects as its public API gives them (``GET /api/public/v2/prompts/NAME``).

One object, a list of them, or ``{"prompts": [...]}`` or ``{"data": [...]}`` around one. Text and chat, every version,
``labels`` (but ``latest``, which a registry keeps by itself), ``tags``, ``commitMessage``; ``config`` as parameters,
tools and answer schema. References to other prompts must be resolved, which is the API's default.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

from ostinato.core.errors import Invalid
from ostinato.prompts import importers
from ostinato.prompts.importers import Found, Imported, Reading
from ostinato.prompts.model import Draft
from ostinato.wire.model import Json

_KNOWN: Final = (
    "name", "version", "type", "prompt", "config", "labels", "tags", "commitMessage",
    # What a server says of itself, and we say of ours:
    "id", "projectId", "createdAt", "updatedAt", "createdBy", "isActive", "resolutionGraph",
)  # fmt: skip
_REFERENCE: Final = "@@@langfusePrompt:"
_LATEST: Final = "latest"


def read(data: bytes, leave_out: Sequence[str] = ()) -> Imported:
    """The prompts of an export. Raises ``Invalid`` naming the prompt and the field."""
    reading = Reading(leave_out)
    told: object = importers.decode(data, "Langfuse")
    if isinstance(told, dict):
        outer = cast("Json", told)
        for key in ("prompts", "data"):
            if key in outer and "prompt" not in outer:
                reading.only("The export", outer, (key, "meta"))
                told = outer[key]
                break
        else:
            told = [outer]
    found = [_prompt(index, one, reading) for index, one in enumerate(importers.rows("The Langfuse export", told))]
    return importers.collect(found, reading)


def _prompt(index: int, value: Any, reading: Reading) -> Found:
    prompt = importers.table(f"Prompt {index + 1}", value)
    name = prompt.get("name")
    if not isinstance(name, str) or not name:
        raise Invalid(f"Prompt {index + 1} has no name.", param="name")
    number = importers.number(repr(name[:80]), prompt.get("version"))
    where = f"{name[:80]!r}, version {number}"
    reading.only(where, prompt, _KNOWN)
    kind, content = prompt.get("type", "text"), prompt.get("prompt")
    if kind not in ("text", "chat"):
        raise Invalid(f"{where}: there is no type {str(kind)[:40]!r}.", param="type")
    if _REFERENCE in str(content):
        raise Invalid(
            f"{where} refers to another prompt.",
            hint="Export it with its references resolved (`resolve=true`).",
            param="prompt",
        )
    config = importers.table(f"{where}: config", prompt.get("config") or {})
    rest = {key: item for key, item in config.items() if key not in ("tools", "response_format")}
    answer = None if reading.drops("config.response_format") else config.get("response_format")
    tools: object = None if reading.drops("config.tools") else config.get("tools")
    draft = Draft(
        text=importers.template(where, importers.text(where, "prompt", content)) if kind == "text" else None,
        messages=importers.turns(where, content, reading) if kind == "chat" else None,
        params=importers.params(where, rest, reading, "config."),
        tools=tuple(
            importers.table(f"{where}: a tool", tool) for tool in importers.rows(f"{where}: tools", tools or [])
        ),
        response_schema=importers.response_schema(where, answer) if answer is not None else None,
    )
    return Found(
        name=name,
        number=number,
        kind=kind,
        draft=draft,
        message=importers.text(where, "commitMessage", prompt.get("commitMessage")),
        labels=tuple(label for label in _texts(where, prompt, "labels") if label != _LATEST),
        tags=_texts(where, prompt, "tags"),
    )


def _texts(where: str, prompt: Json, key: str) -> tuple[str, ...]:
    return tuple(importers.text(where, key, one) for one in importers.rows(f"{where}: {key}", prompt.get(key) or []))
