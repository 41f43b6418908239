"""The OpenAPI document of the control plane: the framework's, told what it cannot know.

The framework writes down paths, parameters and shapes. What holds for every route is added here: how to authenticate,
which permission is needed (``x-permission``), the problem documents of every refusal, the headers that every request
may carry and every answer does. Served at ``/api/v1/schema`` and ``/api/v1/schema/openapi.json`` without a key: it
tells nothing that the public documentation does not.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from litestar import Request
from litestar.enums import OpenAPIMediaType
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.serialization import encode_json, get_serializer

from ostinato.web.api.guarding import ANY_KEY, PERMISSION
from ostinato.web.api.idempotency import CHANGING, HEADER, REPLAYED
from ostinato.web.problems import CONTENT_TYPE

PREFIX = "/api/v1"
EXAMPLE = "example"
"""Name of the route's option that holds an example of its body."""

_DESCRIPTION = """\
Everything that is governed: organizations, keys, models, prices, policies, prompts, releases, the audit log and the \
ledger. Lists give `items` and `next`; errors are problem documents (RFC 9457) with a stable `code` and, where there \
is one, a `hint`: the way out. A change may be repeated safely by sending the same `idempotency-key` with it.\
"""

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "What happened, why, and the way out (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "description": "`urn:ostinato:` and the code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "For programs; stable."},
        "hint": {"type": "string", "description": "The way out."},
        "param": {"type": "string", "description": "The field or parameter at fault."},
    },
    "examples": [
        {
            "type": "urn:ostinato:invalid_api_key",
            "title": "invalid api key",
            "status": 401,
            "detail": "The API key is unknown.",
            "code": "invalid_api_key",
            "hint": "Check that it was copied whole.",
        }
    ],
}

_REFUSALS = {
    "400": "The request cannot be used as it is.",
    "401": "There is no living key with the request.",
    "403": "The key may not do this.",
    "404": "What is named does not exist, or not for this key.",
    "409": "The state has moved on since you looked, or forbids this.",
    "422": "A value is wrong, or an idempotency key was used for another request.",
    "429": "A rate or another limit is reached.",
    "default": "Refused or failed.",
}

_PARAMETERS: dict[str, dict[str, Any]] = {
    "RequestId": {
        "name": "x-request-id",
        "in": "header",
        "description": "Your own id of this request, 1 to 128 letters, digits and `._:/+=@-`; else one is made.",
        "schema": {"type": "string"},
    },
    "Reason": {
        "name": "ostinato-reason",
        "in": "header",
        "description": "Why, for the audit log: up to 512 characters, UTF-8 or percent-encoded.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": HEADER,
        "in": "header",
        "description": "The same key with the same request, within a day, gives the first answer again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
}


class Document(JsonRenderPlugin):
    """Serves the amended document; made once."""

    def __init__(self, handlers: Iterable[HTTPRouteHandler]) -> None:
        super().__init__(path=["/openapi.json", "/"], media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._handlers = tuple(handlers)
        self._made: bytes | None = None

    def render(self, request: "Request[Any, Any, Any]", openapi_schema: dict[str, Any]) -> bytes:
        if self._made is None:
            found = cast("dict[str, Any]", msgspec.json.decode(encode_json(openapi_schema, get_serializer())))
            self._made = msgspec.json.encode(amended(found, self._handlers))
        return self._made


def amended(document: dict[str, Any], handlers: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """The framework's document with everything that holds for every route."""
    document = cast("dict[str, Any]", _any_of(document))
    document["info"]["description"] = _DESCRIPTION
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["security"] = [{"key": []}]
    components = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    _name_apart(schemas)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, `ost_...`, with the permission."}
    }
    components["parameters"] = _PARAMETERS
    components["headers"] = {
        "RequestId": {
            "description": "Finds this request again, in the audit log too.",
            "required": True,
            "schema": {"type": "string"},
        },
        "Replayed": {"description": "`true`: this is the first answer again.", "schema": {"type": "string"}},
    }
    components["responses"] = {name: _refusal(text) for name, text in _REFUSALS.items()}
    operations = _operations(document, handlers)
    for method, path, handler, operation in operations:
        _amend(operation, method, path, handler)
    _summarize(operations)
    return document


Operation = tuple[str, str, HTTPRouteHandler, dict[str, Any]]
"""Method, path in the document, handler, and what the document says of it."""


def _operations(document: dict[str, Any], handlers: Iterable[HTTPRouteHandler]) -> list[Operation]:
    found: list[Operation] = []
    for handler in handlers:
        for path in handler.paths:
            plain = re.sub(r"{(\w+):\w+}", r"{\1}", PREFIX + path)
            for method in handler.http_methods:
                if operation := document["paths"].get(plain, {}).get(str(method).lower()):
                    found.append((str(method), plain, handler, operation))
    return found


def _amend(operation: dict[str, Any], method: str, path: str, handler: HTTPRouteHandler) -> None:
    needed = handler.opt[PERMISSION]
    operation["x-permission"] = None if needed == ANY_KEY else needed
    parameters: list[Any] = operation.setdefault("parameters", [])
    parameters.append(_reference("parameters", "RequestId"))
    statuses = ["400", "401", "403", "429", "default"]
    if "{" in path:
        statuses.append("404")
    if method in CHANGING:
        parameters += [_reference("parameters", "Reason"), _reference("parameters", "IdempotencyKey")]
        statuses += ["409", "422"]
    responses: dict[str, Any] = operation["responses"]
    for status, response in responses.items():
        if status.startswith("2"):
            headers = response.setdefault("headers", {})
            headers["x-request-id"] = _reference("headers", "RequestId")
            if method in CHANGING:
                headers[REPLAYED] = _reference("headers", "Replayed")
    responses.update({status: _reference("responses", status) for status in sorted(statuses)})
    example = handler.opt.get(EXAMPLE)
    if example is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = example


def _summarize(operations: list[Operation]) -> None:
    """Summaries of words, of which no two are alike."""
    for _, _, _, operation in operations:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operation.get("summary", ""))
        operation["summary"] = words[:1] + words[1:].lower()
    counts = Counter(operation["summary"] for *_, operation in operations)
    for _, path, _, operation in operations:
        if counts[operation["summary"]] > 1:
            operation["summary"] += f" ({path.removeprefix(PREFIX)})"


def _name_apart(schemas: dict[str, Any]) -> None:
    """No two shapes with one title: generators of clients make classes of them."""
    counts = Counter(schema.get("title") for schema in schemas.values())
    for name, schema in schemas.items():
        if counts[schema.get("title")] > 1:
            schema["title"] = name


def _any_of(node: object) -> object:
    """``oneOf`` as ``anyOf``: a value that fits two shapes of a union, as 1 fits integer and number, is not wrong."""
    if isinstance(node, dict):
        pairs = cast("dict[str, object]", node).items()
        return {("anyOf" if key == "oneOf" else key): _any_of(value) for key, value in pairs}
    if isinstance(node, list):
        return [_any_of(value) for value in cast("list[object]", node)]
    return node


def _refusal(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {"x-request-id": _reference("headers", "RequestId")},
        "content": {CONTENT_TYPE: {"schema": _reference("schemas", "Problem")}},
    }


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
