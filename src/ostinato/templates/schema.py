"""What a template takes, as a JSON Schema, and whether a given schema declares it."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ostinato.templates.model import Use

Json = dict[str, Any]


def infer_schema(uses: Iterable[Use]) -> Json:
    """The schema of variables that nobody declared: what every rendering puts out is a required string; what is only
    asked for, looped over or filtered may be anything, and may be missing."""
    root = _Shape()
    for use in uses:
        root.add(use, 0)
    return {"type": "object", "properties": {}, **root.schema(), "additionalProperties": False}


class _Shape:
    """One name, with what is known of it."""

    def __init__(self) -> None:
        self.inner: dict[str, _Shape] = {}
        self.required = False
        self.text = True
        """Whether nothing but its text is ever taken."""

    def add(self, use: Use, depth: int) -> None:
        if depth == len(use.path):
            self.text = self.text and use.how == "text"
            return
        shape = self.inner.setdefault(use.path[depth], _Shape())
        shape.required = shape.required or (use.certain and use.how != "test")
        # An optional name may be a key of what a section holds, of whatever type.
        shape.text = shape.text and use.certain
        shape.add(use, depth + 1)

    def schema(self) -> Json:
        if not self.inner:
            return {"type": "string"} if self.text and self.required else {}
        found: Json = {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in sorted(self.inner.items())},
        }
        required = sorted(name for name, shape in self.inner.items() if shape.required)
        if required:
            found["required"] = required
        return found


def undeclared(uses: Iterable[Use], schema: Mapping[str, Any]) -> list[Use]:
    """The uses of names that ``schema`` does not have, outermost or in the section around them.

    Objects whose properties are not told, and schemas that go by references or alternatives, are taken to have all.
    """
    return [use for use in uses if not _declared(use, schema)]


def _declared(use: Use, root: Mapping[str, Any]) -> bool:
    scopes: list[Mapping[str, Any]] = [root]
    for path in use.within:
        inner = _find(path, scopes)
        scopes.append({} if inner is None else _item(inner))
    return _find(use.path, scopes) is not None


def _find(path: tuple[str, ...], scopes: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The schema of a dotted name, looked up from the innermost scope; empty: anything; ``None``: not declared."""
    for index in range(len(scopes) - 1, -1, -1):
        found: Mapping[str, Any] | None = scopes[index]
        for key in path:
            found = _property(found, key) if found is not None else None
        if found is not None:
            return found
    return None


def _property(schema: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    properties: object = schema.get("properties")
    if isinstance(properties, dict) and key in properties:
        found: object = cast("Json", properties)[key]
        return cast("Json", found) if isinstance(found, dict) else {}
    if "properties" not in schema and schema.get("type", "object") in ("object", ["object", "null"]):
        # Nothing is told of its keys; of an outermost schema ``{}`` that would make every slip of the pen a variable.
        return {}
    if schema.get("additionalProperties", False) is not False or any(
        name in schema for name in ("$ref", "allOf", "anyOf", "oneOf", "patternProperties")
    ):
        return {}
    return None


def _item(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a turn of a section over something of this schema."""
    items: object = schema.get("items")
    if isinstance(items, dict):
        return cast("Json", items)
    return schema
