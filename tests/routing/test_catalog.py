"""The catalog: what is declared, what is refused, and what a digest says."""

from typing import Any

import msgspec
import pytest

from ostinato.core.errors import Invalid, NotFound
from ostinato.routing import Catalog, Target, compile_routes, key_digest, target_digest
from ostinato.routing.model import Route

PROVIDERS = {"openai": b"https://api.openai.test", "local": b"local"}


def catalog(providers: dict[str, bytes] | None = None, **bodies: Any) -> Catalog:
    return compile_routes(bodies, PROVIDERS if providers is None else providers)


def one(body: Any, providers: dict[str, bytes] | None = None) -> Route:
    return catalog(providers, a=body).route("p", "a", "embedding" if body.get("kind") == "embedding" else "chat")


def test_short_and_long_forms():
    route = one({"targets": ["openai/org/model:v1", {"provider": "local", "model": "m", "timeout": 5, "weight": 2}]})
    assert [(t.provider, t.model, t.timeout, t.weight) for t in route.targets] == [
        ("openai", "org/model:v1", 60.0, 1.0),
        ("local", "m", 5.0, 2.0),
    ]
    assert route.targets[0].name == "openai/org/model:v1"
    assert one({"targets": "local/m"}).targets[0].model == "m"


def test_a_projects_own_alias_hides_the_one_for_all():
    found = catalog(
        fast={"targets": ["openai/a"]},
        mine={"alias": "fast", "project": "p", "targets": ["local/b"]},
        only={"project": "p", "targets": ["local/c"]},
        any={"project": "*", "targets": ["local/d"]},
    )
    assert found.route("p", "fast").targets[0].name == "local/b"
    assert found.route("q", "fast").targets[0].name == "openai/a"
    assert found.get("q", "only") is None
    assert found.aliases("p") == ["any", "fast", "only"]
    assert found.aliases("q") == ["any", "fast"]
    assert [target.name for target in found.targets()] == ["local/b", "local/c", "local/d", "openai/a"]
    assert len(found.routes()) == 4


def test_an_unknown_alias_names_those_that_exist_for_the_caller():
    found = catalog(
        fast={"targets": ["openai/a"]},
        secret={"project": "q", "targets": ["openai/a"]},
        vectors={"kind": "embedding", "targets": ["openai/e"]},
        slow={"targets": ["openai/b"]},
    )
    with pytest.raises(NotFound) as caught:
        found.route("p", "nope")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.hint == "Available: fast, slow."
    with pytest.raises(NotFound) as caught:
        found.route("p", "nope", allowed=frozenset({"slow"}))
    assert caught.value.hint == "Available: slow."
    with pytest.raises(NotFound) as caught:
        found.route("p", "x" * 100_000, allowed=frozenset())
    assert len(caught.value.sentence) < 400


def test_an_alias_of_the_other_kind_is_refused_with_the_way_out():
    found = catalog(fast={"targets": ["openai/a"]}, vectors={"kind": "embedding", "targets": ["openai/e"]})
    with pytest.raises(Invalid, match="embeddings") as caught:
        found.route("p", "vectors")
    assert "/v1/embeddings" in caught.value.hint
    with pytest.raises(Invalid, match="chat"):
        found.route("p", "fast", "embedding")


TWO: dict[str, Any] = {"targets": [{"provider": "openai", "model": "a"}, {"provider": "local", "model": "b"}]}


def changed(body: dict[str, Any], index: int, **fields: Any) -> dict[str, Any]:
    targets = [dict(target) for target in body["targets"]]
    targets[index].update(fields)
    return {**body, "targets": targets}


@pytest.mark.parametrize("strategy", ["ordered", "weighted"])
def test_what_can_change_an_answer_changes_the_digest(strategy: str):
    body = {**TWO, "strategy": strategy}
    route = one(body)
    for other in (
        changed(body, 0, model="c"),
        changed(body, 1, model="c"),
        changed(body, 0, provider="local"),
        changed(body, 0, revision="2"),
        {**body, "targets": body["targets"][:1]},
        {**body, "strategy": "weighted" if strategy == "ordered" else "ordered"},
        {**body, "kind": "embedding"},
    ):
        assert one(other).digest != route.digest
    moved = one(body, {**PROVIDERS, "openai": b"https://elsewhere.test"})
    assert moved.digest != route.digest
    assert target_digest(moved.targets[0]) != target_digest(route.targets[0])
    assert target_digest(moved.targets[1]) == target_digest(route.targets[1])


@pytest.mark.parametrize("strategy", ["ordered", "weighted"])
def test_what_cannot_change_an_answer_leaves_the_digest(strategy: str):
    body = {**TWO, "strategy": strategy}
    route = one(body)
    for fields in ({"weight": 9}, {"timeout": 9}, {"retries": 9}, {"max_tokens": 9}, {"max_concurrency": 9}):
        assert one(changed(body, 0, **fields)).digest == route.digest


def test_the_order_matters_where_it_decides_who_answers():
    turned = {**TWO, "targets": TWO["targets"][::-1]}
    assert one(TWO).digest != one(turned).digest
    assert one({**TWO, "strategy": "weighted"}).digest == one({**turned, "strategy": "weighted"}).digest


def test_the_drawn_target_is_in_the_key_of_a_weighted_route():
    ordered, weighted = one(TWO), one({**TWO, "strategy": "weighted"})
    assert key_digest(ordered, ordered.targets[0]) == key_digest(ordered, ordered.targets[1]) == ordered.digest
    first, second = (key_digest(weighted, target) for target in weighted.targets)
    assert first != second
    assert weighted.digest != first


def test_a_targets_digest_tells_its_parts_apart():
    made = {
        target_digest(Target(p, m, revision=r))
        for p, m, r in [("a", "b", ""), ("ab", "", ""), ("", "ab", ""), ("a", "", "b")]
    }
    assert len(made) == 4


@pytest.mark.parametrize(
    ("body", "param", "hint"),
    [
        ({}, "models.a.targets", "provider/model"),
        ({"targets": []}, "models.a.targets", "provider/model"),
        ({"targets": 3}, "models.a.targets", "provider/model"),
        ({"targets": ["openai/a"] * 33}, "models.a.targets", "provider/model"),
        ({"targets": ["openai"]}, "models.a.targets[0]", "provider/model"),
        ({"targets": ["openai/"]}, "models.a.targets[0].model", "model"),
        ({"targets": ["openai/a", "openai/a"]}, "models.a.targets", "once"),
        ({"targets": ["azure/a"]}, "models.a.targets[0].provider", "local, openai"),
        (
            {"targets": ["local/b", {"provider": "azure", "model": "a"}]},
            "models.a.targets[1].provider",
            "local, openai",
        ),
        ({"targets": [{"provider": "openai"}]}, "models.a.targets[0]", "provider, model"),
        ({"targets": [{"provider": "openai", "model": "a", "wait": 3}]}, "models.a.targets[0].wait", "timeout"),
        ({"targets": [{"provider": "openai", "model": "a", "digest": "x"}]}, "models.a.targets[0].digest", "timeout"),
        ({"targets": [{"provider": "openai", "model": "a", "weight": -1}]}, "models.a.targets[0].weight", "0 to"),
        ({"targets": [{"provider": "openai", "model": "a", "weight": "2"}]}, "models.a.targets[0].weight", "0 to"),
        ({"targets": [{"provider": "openai", "model": "a", "timeout": 0}]}, "models.a.targets[0].timeout", "0.01 to"),
        ({"targets": [{"provider": "openai", "model": "a", "retries": 99}]}, "models.a.targets[0].retries", "0 to 10"),
        ({"targets": ["openai/a"], "stratgy": "ordered"}, "models.a.stratgy", "strategy"),
        ({"targets": ["openai/a"], "strategy": "random"}, "models.a.strategy", "ordered, weighted"),
        ({"targets": ["openai/a"], "kind": "audio"}, "models.a.kind", "chat, embedding"),
        ({"targets": ["openai/a"], "project": 3}, "models.a.project", ""),
        ({"targets": ["openai/a"], "alias": "a b"}, "models.a.alias", "letters"),
        ({"targets": ["openai/a"], "alias": "prompt:x"}, "models.a.alias", "prompt:"),
        ({"targets": ["openai/a"], "alias": "x\r\ny"}, "models.a.alias", "letters"),
        ("openai/a", "models.a", "targets"),
    ],
)
def test_what_is_wrong_is_refused_by_name(body: Any, param: str, hint: str):
    with pytest.raises(Invalid) as caught:
        compile_routes({"a": body}, PROVIDERS)
    assert caught.value.param == param
    assert hint in caught.value.hint


def test_weights_that_are_all_zero_are_refused():
    body = {"strategy": "weighted", "targets": [{"provider": "openai", "model": "a", "weight": 0}]}
    with pytest.raises(Invalid, match="weight 0"):
        compile_routes({"a": body}, PROVIDERS)


def test_two_declarations_of_an_alias_are_refused():
    with pytest.raises(Invalid, match="'a' and 'b'"):
        catalog(a={"targets": ["openai/a"]}, b={"alias": "a", "targets": ["local/b"]})


def test_equal_catalogs_have_equal_digests():
    assert catalog(a=TWO, b=TWO).digest == catalog(b=TWO, a=TWO).digest
    assert catalog(a=TWO).digest != catalog(b=TWO).digest
    assert catalog(a=TWO).digest != catalog(a={**TWO, "project": "p"}).digest


def test_a_route_travels_as_json():
    route = one(TWO)
    assert msgspec.json.decode(msgspec.json.encode(route), type=Route) == route


@pytest.mark.parametrize("field", ["provider", "model", "revision"])
@pytest.mark.parametrize(
    "text", ["a\r\nset-cookie: x=1", "a\nb", "a\rb", "a\0", "\x1b[31m", "a\x85b", "a\u2028b", "\ud800", "a" * 501]
)
def test_what_stands_in_headers_has_no_control_characters(field: str, text: str):
    body = {"provider": "openai", "model": "m", "revision": "1"}
    with pytest.raises(Invalid) as caught:
        one({"targets": [{**body, field: text}]}, {**PROVIDERS, text: b"x"})
    assert caught.value.param == f"models.a.targets[0].{field}"
    assert caught.value.message.isprintable()
    assert "printable" in caught.value.hint


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb"])
def test_nor_in_the_short_form(text: str):
    with pytest.raises(Invalid) as caught:
        one({"targets": [f"openai/{text}"]})
    assert caught.value.param == "models.a.targets[0].model"


@pytest.mark.parametrize("model", ["org/model:v1@x", "Qwen 2.5", "\u6a21\u578b", "m" * 500])
def test_unusual_names_of_models_are_fine(model: str):
    assert one({"targets": [{"provider": "openai", "model": model}]}).targets[0].model == model
