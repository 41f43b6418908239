"""The OpenAPI document of the control plane: valid by its standard, complete, and the same on both of its paths."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import ROUTES, opened

from ostinato.web.api.guarding import ANY_KEY


async def _read() -> Any:
    async with opened() as plane:
        document = await plane.client.get("/api/v1/schema/openapi.json")
        again = await plane.client.get("/api/v1/schema")
        assert document.status_code == again.status_code == 200
        assert document.content == again.content
        assert document.headers["x-request-id"]
        return document.json()


@pytest.fixture(scope="module")
def document() -> Any:
    return asyncio.run(_read())


def operations(document: Any) -> dict[str, Any]:
    return {
        f"{method.upper()} {path.removeprefix('/api/v1')}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def plain(path: str) -> str:
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)


def test_it_is_valid(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_it_tells_of_every_route_and_its_permission(document: Any) -> None:
    told = operations(document)
    assert set(told) == {f"{route.method} {plain(route.path)}" for route in ROUTES}
    for route in ROUTES:
        operation = told[f"{route.method} {plain(route.path)}"]
        assert operation["x-permission"] == (None if route.permission == ANY_KEY else route.permission)
        assert operation.get("description"), route
        assert {"400", "401", "403", "429", "default"} <= set(operation["responses"]), route
        names = {one.get("name") or one["$ref"].rpartition("/")[2] for one in operation["parameters"]}
        assert ("IdempotencyKey" in names) == ("Reason" in names) == route.changes, route
        assert all(one in names for one in re.findall(r"{(\w+):", route.path)), route
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_every_refusal_is_a_problem_document(document: Any) -> None:
    for response in document["components"]["responses"].values():
        assert list(response["content"]) == ["application/problem+json"]
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                assert response == {"$ref": f"#/components/responses/{status}"}, name
            else:
                assert "x-request-id" in response["headers"], name


def test_no_two_things_are_called_the_same(document: Any) -> None:
    schemas = document["components"]["schemas"].values()
    for names in (
        [operation["operationId"] for operation in operations(document).values()],
        [operation["summary"] for operation in operations(document).values()],
        [schema["title"] for schema in schemas if "title" in schema],
    ):
        assert sorted(names) == sorted(set(names))
