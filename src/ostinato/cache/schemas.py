"""Does an answer have the shape that its request asked for?

JSON Schema is judged by ``jsonschema-rs``: no references outside the schema are fetched, and patterns run on an engine
without backtracking. Schemas come from callers, so their size and the work that they can cause are bounded; what is
beyond the bounds counts as not conforming, which costs a cache entry and nothing else.
"""

import functools
from typing import Any

import jsonschema_rs
import msgspec

from ostinato.wire.model import Json

LARGEST_SCHEMA = 65_536
"""Bytes of JSON."""
MOST_NODES = 20_000
"""Of a schema with its references written out."""
_KEPT = 128
_DEEPEST = 128


class _TooMuch(Exception):
    """The schema would cause more work than we do for a cache entry."""


def is_json(text: str) -> bool:
    """Whether ``text`` is one JSON value."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return True


def conforms(text: str, response_format: Json) -> bool:
    """Whether ``text`` keeps to an OpenAI ``response_format``; a type that we do not know demands nothing."""
    kind = response_format.get("type")
    if kind not in ("json_object", "json_schema"):
        return True
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    if kind == "json_object":
        return isinstance(value, dict)
    outer = response_format.get("json_schema")
    schema = outer.get("schema") if isinstance(outer, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]: JSON of unknown shape
    if schema is None:
        return True
    try:
        return _validator(msgspec.json.encode(schema)).is_valid(value)
    except (_TooMuch, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError):
        return False


def usable(schema: Json) -> bool:
    """Whether :func:`conforms` can judge by ``schema``: it is one, and within the bounds of the work that we do."""
    try:
        _validator(msgspec.json.encode(schema))
    except (_TooMuch, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError):
        return False
    return True


@functools.lru_cache(maxsize=_KEPT)
def _validator(encoded: bytes) -> "jsonschema_rs.Validator":
    if len(encoded) > LARGEST_SCHEMA:
        raise _TooMuch
    schema: Any = msgspec.json.decode(encoded)
    _weigh(schema)
    return jsonschema_rs.validator_for(
        schema, offline=True, validate_formats=False, pattern_options=jsonschema_rs.RegexOptions()
    )


def _weigh(schema: Any) -> None:
    """Count the nodes of a schema with its references written out; a doubling chain of references grows as 2**n."""
    weights: dict[int, int] = {}
    open_nodes: set[int] = set()

    def weight(node: Any, depth: int) -> int:
        if not isinstance(node, dict | list):
            return 1
        known = weights.get(id(node))  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
        if known is not None:
            return known
        if id(node) in open_nodes:  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
            return 1
        if depth > _DEEPEST:
            raise _TooMuch
        open_nodes.add(id(node))  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
        total = 1
        children: Any = node.values() if isinstance(node, dict) else node  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]: JSON of unknown shape
        for child in children:
            total += weight(child, depth + 1)
        if isinstance(node, dict):
            reference: Any = node.get("$ref")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]: JSON of unknown shape
            if isinstance(reference, str):
                total += weight(_target(schema, reference), depth + 1)
        if total > MOST_NODES:
            raise _TooMuch
        open_nodes.discard(id(node))  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
        weights[id(node)] = total  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
        return total

    weight(schema, 0)


def _target(schema: Any, reference: str) -> Any:
    """What a local reference points to; nothing for another kind, which validation refuses or resolves by itself."""
    if reference == "#":
        return schema
    if not reference.startswith("#/"):
        return None
    node = schema
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node.get(name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]: JSON of unknown shape
        elif isinstance(node, list) and name.isdigit() and int(name) < len(node):  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
            node = node[int(name)]  # pyright: ignore[reportUnknownVariableType]: JSON of unknown shape
        else:
            return None
    return node  # pyright: ignore[reportUnknownVariableType]: JSON of unknown shape
