"""What changed from one version to another: text line by line, everything else by name."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from ostinato.prompts.model import Content, Version
from ostinato.wire.model import Json

_MOST_LINES = 4_000
"""Lines of both sides up to which they are matched; finding the best match takes quadratic time."""


class Change(msgspec.Struct, frozen=True):
    """Something that has a name; ``None``: it was not there, or is no more."""

    name: str
    old: Any = None
    new: Any = None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """From ``old`` to ``new``; empty where nothing changed."""

    prompt: str
    old: int
    new: int
    same: bool
    """Whether both say the same."""
    text: str = ""
    """The templates, as a unified diff."""
    variables: list[Change] = []
    """By name, each with its schema."""
    params: list[Change] = []
    tools: list[Change] = []
    """By the function's name; ``*`` where only their order changed."""
    partials: list[Change] = []
    """By name, each with its pinned version."""
    response_schema: str = ""
    """As a unified diff of indented JSON."""
    other: list[Change] = []
    """Kind, format, and what the variables' schema says besides."""


def diff(old: Version, new: Version) -> Diff:
    """What changed from ``old`` to ``new``, both with their contents."""
    before, after = _content(old), _content(new)
    names = (f"{old.prompt}@{old.number}", f"{new.prompt}@{new.number}")
    tools = _changes(_tools(before), _tools(after))
    if not tools and before.tools != after.tools:
        tools = [Change("*", [_tool(one) for one in before.tools], [_tool(one) for one in after.tools])]
    return Diff(
        prompt=new.prompt,
        old=old.number,
        new=new.number,
        same=old.digest == new.digest,
        text=_unified(_lines(before), _lines(after), names),
        variables=_changes(_properties(before.variables), _properties(after.variables)),
        params=_changes(before.params, after.params),
        tools=tools,
        partials=_changes(before.partials, after.partials),
        response_schema=_unified(_json(before.response_schema), _json(after.response_schema), names),
        other=_changes(_other(before), _other(after)),
    )


def _content(version: Version) -> Content:
    assert version.content is not None
    return version.content


def _lines(content: Content) -> list[str]:
    if not content.messages:
        return content.text.split("\n")
    found: list[str] = []
    for turn in content.messages:
        found += [f"[{turn.role}]", *turn.template.split("\n")]
    return found


def _json(value: object) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode().split("\n") if value is not None else []


def _unified(old: list[str], new: list[str], names: tuple[str, str]) -> str:
    if old == new:
        return ""
    if len(old) + len(new) > _MOST_LINES:
        return "\n".join(_coarse(old, new, names))
    return "\n".join(difflib.unified_diff(old, new, *names, lineterm=""))


def _coarse(old: list[str], new: list[str], names: tuple[str, str]) -> Iterable[str]:
    """Everything between the first and the last line that differ, as one change."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    yield f"--- {names[0]}"
    yield f"+++ {names[1]}"
    yield f"@@ -{head + 1},{len(gone)} +{head + 1},{len(come)} @@"
    yield from (f"-{line}" for line in gone)
    yield from (f"+{line}" for line in come)


def _properties(schema: Json) -> Json:
    found: object = schema.get("properties")
    required: object = schema.get("required")
    needed = cast("list[object]", required) if isinstance(required, list) else []
    if not isinstance(found, dict):
        return {}
    return {name: {"schema": inner, "required": name in needed} for name, inner in cast("Json", found).items()}


def _other(content: Content) -> Json:
    rest = {key: value for key, value in content.variables.items() if key not in ("properties", "required", "type")}
    return {
        "kind": content.kind,
        "format": content.format,
        **{f"variables.{key}": value for key, value in rest.items()},
    }


def _tool(tool: Json) -> str:
    function: object = tool.get("function")
    name: object = cast("Json", function).get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) else str(tool.get("type"))


def _tools(content: Content) -> Json:
    return {_tool(one): one for one in content.tools}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    return [
        Change(name, old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if (name in old) != (name in new) or old.get(name) != new.get(name)
    ]
