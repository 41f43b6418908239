"""JSON Schemas of variables and answers: what is accepted as one, and whether values fit.

Judged by ``jsonschema-rs``: nothing outside the schema is fetched, patterns run on an engine without backtracking, and
the size of a schema with its references written out is bounded.
"""

from collections.abc import Mapping
from typing import Any, cast

import jsonschema_rs
import msgspec

from ostinato.core.errors import Invalid
from ostinato.prompts.model import LARGEST_SCHEMA, InvalidVariable, MissingVariable, UnknownVariable
from ostinato.wire.model import Json

_MOST_NODES = 20_000
_DEEPEST = 64


def check(schema: Json, param: str, *, of_object: bool = False) -> None:
    """Raise ``Invalid`` unless ``schema`` is a JSON Schema within bounds (``of_object``: of an object)."""
    if len(msgspec.json.encode(schema)) > LARGEST_SCHEMA:
        raise Invalid(f"A schema has at most {LARGEST_SCHEMA:,} bytes.", code="schema_too_large", param=param)
    if of_object:
        if schema.get("type", "object") != "object":
            raise Invalid("Variables are an object: the schema's type is not.", code="invalid_schema", param=param)
        if not isinstance(schema.get("properties", {}), dict):
            raise Invalid("`properties` must be an object.", code="invalid_schema", param=f"{param}.properties")
    _weigh(schema, param)
    try:
        validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise Invalid(f"This is no JSON Schema: {told}", code="invalid_schema", param=param) from None


def validator(schema: Json) -> "jsonschema_rs.Validator":
    """What judges values by ``schema``; an object whose properties are told takes no others, unless it says so."""
    return jsonschema_rs.validator_for(
        schema, offline=True, validate_formats=False, pattern_options=jsonschema_rs.RegexOptions(), mask="the value"
    )


def closed(schema: Json) -> Json:
    """``schema`` refusing names that it does not know, unless it says otherwise."""
    if "properties" not in schema or {"additionalProperties", "patternProperties", "$ref"} & schema.keys():
        return schema
    return {**schema, "additionalProperties": False}


def complain(judge: "jsonschema_rs.Validator", schema: Json, values: Mapping[str, Any]) -> InvalidVariable:
    """What is wrong with ``values``: the first thing, by name; never the value itself."""
    properties: object = schema.get("properties")
    known = sorted(cast("Json", properties)) if isinstance(properties, dict) else []
    names = ", ".join(known[:50]) or "none"
    try:
        error = next(iter(judge.iter_errors(values)), None)
    except (ValueError, RecursionError, OverflowError, TypeError):
        error = None
    if error is None:
        return InvalidVariable("The variables are not JSON values.", param="prompt.variables")
    path = [str(step)[:80] for step in error.instance_path]
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        name = ".".join([*path, kind.property])
        return MissingVariable(
            f"The variable {name!r} is missing.", param=f"prompt.variables.{name}", hint=f"The variables are: {names}."
        )
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties) and kind.unexpected:
        name = ".".join([*path, str(kind.unexpected[0])[:80]])
        return UnknownVariable(
            f"There is no variable {name!r}.", param=f"prompt.variables.{name}", hint=f"The variables are: {names}."
        )
    name = ".".join(path)
    told = error.message[:200].rstrip(".")
    return InvalidVariable(
        f"The variable {name!r} does not fit: {told}." if name else f"The variables do not fit: {told}.",
        param=f"prompt.variables.{name}" if name else "prompt.variables",
        hint="The schema of the variables tells what each may be.",
    )


def _weigh(schema: Json, param: str) -> None:
    """Bound the nodes of a schema with its local references written out: a doubling chain grows as 2**n."""
    weights: dict[int, int] = {}
    open_nodes: set[int] = set()

    def weight(node: Any, depth: int) -> int:
        if not isinstance(node, dict | list) or id(cast("object", node)) in open_nodes:
            return 1
        found = weights.get(id(cast("object", node)))
        if found is not None:
            return found
        if depth > _DEEPEST:
            raise _too_much(param)
        mark = id(cast("object", node))
        open_nodes.add(mark)
        items = cast("Json", node).values() if isinstance(node, dict) else cast("list[Any]", node)
        total = 1 + sum(weight(item, depth + 1) for item in items)
        if isinstance(node, dict):
            reference: object = cast("Json", node).get("$ref")
            if isinstance(reference, str):
                total += weight(_target(schema, reference, param), depth + 1)
        if total > _MOST_NODES:
            raise _too_much(param)
        open_nodes.discard(mark)
        weights[mark] = total
        return total

    weight(schema, 0)


def _target(schema: Json, reference: str, param: str) -> Any:
    if reference == "#":
        return schema
    if not reference.startswith("#/"):
        raise Invalid(
            f"A schema refers to itself only, not to {reference[:80]!r}.",
            code="invalid_schema",
            param=param,
            hint="Put what it refers to under $defs and write '#/$defs/NAME'.",
        )
    node: Any = schema
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = cast("Json", node).get(name)
        elif isinstance(node, list) and name.isdigit() and int(name[:9]) < len(cast("list[Any]", node)):
            node = cast("list[Any]", node)[int(name[:9])]
        else:
            return None
    return node


def _too_much(param: str) -> Invalid:
    return Invalid("This schema is nested or repeated too much.", code="schema_too_large", param=param)
