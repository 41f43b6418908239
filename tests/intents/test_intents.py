"""Declarations of intents: what is refused, whose they are, and which intent a request is of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cache.policy import compile_policies
from ostinato.core.errors import Denied, Invalid, NotFound
from ostinato.intents import compile_intents


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ([], "intents.x", "Allowed: key, project"),
        ({"stake": "low"}, "intents.x.stake", "Allowed: key"),
        ({"stakes": "odd"}, "intents.x.stakes", "low, medium, high, critical"),
        ({"stakes": "high"}, "intents.x.owner", "who answers"),
        ({"stakes": "high", "owner": "  "}, "intents.x.owner", "who answers"),
        ({"key": "No Spaces"}, "intents.x.key", "1 to 64"),
        ({"key": "a" * 65}, "intents.x.key", "1 to 64"),
        ({"cache": {"mode": "semantic"}}, "intents.x.cache.mode", '"off", "exact"'),
        ({"cache": {"mode": "fuzzy"}}, "intents.x.cache.mode", '"off", "exact"'),
        ({"cache": {"tl": 1.0}}, "intents.x.cache.tl", "ttl_jitter"),
        ({"cache": {"ttl": -1.0}}, "intents.x.cache.ttl", "0.001"),
        ({"cache": {"ttl": "1h"}}, "intents.x.cache.ttl", ""),
        ({"cache": {"temperature_limit": 3.0}}, "intents.x.cache.temperature_limit", "0 to 2"),
        ({"cache": {"allow_directives": ["private"]}}, "intents.x.cache.allow_directives", "no-cache"),
        ({"checks": ["nothing"]}, "intents.x.checks", "No check"),
        ({"checks": ["a", "a"]}, "intents.x.checks", "once"),
        ({"review": {"approvals": -1}}, "intents.x.review.approvals", "0 to 20"),
        ({"review": {"approvals": 99}}, "intents.x.review.approvals", "0 to 20"),
        ({"review": {"gates": ["Not A Gate"]}}, "intents.x.review.gates", "evidence:"),
        ({"kpi_targets": [{"name": "x", "goal": 1}]}, "intents.x.kpi_targets[0].goal", "direction"),
        ({"kpi_targets": [{"name": "", "target": 1}]}, "intents.x.kpi_targets", "1 to 200"),
        ({"slices": ["a", "a"]}, "intents.x.slices", "once"),
        ({"slices": [""]}, "intents.x.slices", "1 to 200"),
        ({"data_classes": ["secret"]}, "intents.x.data_classes[0]", "personal"),
        ({"retention": {"answers": 0}}, "intents.x.retention.answers", "above 0"),
        ({"value_per_success": -1}, "intents.x.value_per_success", "0 to"),
        ({"value_per_success": 1e-12}, "intents.x.value_per_success", "nano-dollar"),
        ({"data_classes": ["personal"], "cache": {"scope": "project"}}, "intents.x.cache.scope", "user"),
        ({"match": {"aliases": ["a"] * 11, "tags": [str(n) for n in range(10)]}}, "intents.x.match", "100"),
        ({"title": "x" * 201}, "intents.x.title", "200"),
        ({"description": "\x00"}, "intents.x.description", "NUL"),
    ],
)
def test_what_is_refused_is_named_with_the_way_out(body: Any, param: str, told: str) -> None:
    with pytest.raises(Invalid) as error:
        compile_intents({"x": body})
    assert error.value.param == param
    assert told in error.value.hint
    assert "'x'" in error.value.message or "No Spaces" in error.value.message or "aaaa" in error.value.message


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "x" * 129])
def test_a_name_that_no_path_could_hold_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        compile_intents({name: {"key": "fine"}})


def test_all_that_may_be_declared() -> None:
    body = {
        "key": "refunds",
        "project": "p1",
        "title": "Refunds",
        "description": "Who gets money back",
        "owner": "care@example.com",
        "stakes": "high",
        "value_per_success": 2.5,
        "kpi_targets": [{"name": "accuracy", "target": 0.95}, {"name": "p95", "target": 2, "direction": "at-most"}],
        "slices": ["language=de", "language=fr"],
        "cache": {"mode": "exact", "ttl": 3600, "temperature_limit": 0.2, "scope": "user"},
        "review": {"approvals": 3, "gates": ["lint", "evidence:accuracy"]},
        "checks": ["no-cards"],
        "data_classes": ["personal", "internal"],
        "retention": {"answers": 7, "rows": 90, "texts": 30},
        "match": {"aliases": ["support"], "tags": ["refund"]},
    }
    made = compile_intents({"refunds-main": body}, {"no-cards": {"kind": "pii"}})
    intent = made.of("p1", "refunds")
    assert intent is not None
    assert (intent.name, intent.key, intent.project, intent.stakes) == ("refunds-main", "refunds", "p1", "high")
    assert intent.value == 2_500_000_000
    needs = made.requirements("p1", "refunds")
    assert (needs.approvals, needs.gates, needs.human_review) == (3, ("lint", "evidence:accuracy"), True)
    assert needs.version == intent.version != ""
    base = compile_policies({}).for_("p1", "support")
    policy = made.policy("p1", "refunds", base)
    assert (policy.ttl, policy.temperature_limit, policy.checks) == (3600, 0.2, ("no-cards",))


def test_a_project_has_its_own_before_everybodys() -> None:
    made = compile_intents({"all": {"key": "care"}, "mine": {"key": "care", "project": "p1"}, "sales": {}})
    assert made.of("p1", "care").name == "mine"  # pyright: ignore[reportOptionalMemberAccess]
    assert made.of("p2", "care").name == "all"  # pyright: ignore[reportOptionalMemberAccess]
    assert made.keys("p1") == ["care", "sales"] == made.keys("p2")
    with pytest.raises(NotFound) as told:
        made.require("p2", "cares")
    assert told.value.code == "intent_not_found"
    assert "care, sales" in told.value.hint


def test_two_of_one_key_or_one_rule_are_refused() -> None:
    for bodies in (
        {"a": {"key": "k"}, "b": {"key": "k"}},
        {"a": {"match": {"aliases": ["x", "y"]}}, "b": {"match": {"aliases": ["y"]}}},
        {"a": {"match": {"tags": ["x"]}}, "b": {"match": {"tags": ["x"]}}},
        {"a": {"match": {"aliases": ["x"], "tags": ["t"]}}, "b": {"match": {"aliases": ["x"], "tags": ["s", "t"]}}},
    ):
        with pytest.raises(Invalid) as told:
            compile_intents(bodies)
        assert told.value.code == "intent_conflict"
    compile_intents({"a": {"match": {"aliases": ["x"]}}, "b": {"match": {"aliases": ["x"], "tags": ["t"]}}})
    compile_intents({"a": {"match": {"aliases": ["x"]}}, "b": {"project": "p", "match": {"aliases": ["x"]}}})


def test_where_a_requests_intent_comes_from() -> None:
    made = compile_intents(
        {
            "care": {"match": {"aliases": ["support"]}},
            "refunds": {"match": {"aliases": ["support"], "tags": ["refund"]}},
            "legal": {"match": {"tags": ["legal"]}},
            "own": {"project": "p1", "match": {"aliases": ["support"]}},
        }
    )

    def of(project: str = "p2", **asked: Any) -> str | None:
        found = made.for_request(project, **asked)
        return found.key if found is not None else None

    assert of(alias="support") == "care"
    assert of("p1", alias="support") == "own", "a project's own rules come first"
    assert of(alias="support", tags=("refund",)) == "refunds"
    assert of(alias="other", tags=("refund",)) is None
    assert of(alias="other", tags=("x", "legal")) == "legal"
    assert of(alias="support", tags=("legal",)) == "legal"
    assert of(alias="support", header="legal") == "legal", "what the caller says comes before rules"
    assert of(alias="support", prompt="refunds") == "refunds"
    assert of(alias="support", prompt="refunds", header="refunds") == "refunds"
    assert of(alias="support", prompt="") == "care", "a prompt of no intent goes by the rules"
    with pytest.raises(Invalid) as told:
        of(prompt="refunds", header="care")
    assert told.value.code == "intent_mismatch"
    with pytest.raises(NotFound):
        of(header="nothing")
    with pytest.raises(NotFound):
        compile_intents({}).for_request("p", header="nothing")
    assert compile_intents({}).for_request("p", alias="support") is None


def test_a_key_for_some_intents() -> None:
    made = compile_intents({"care": {"match": {"aliases": ["support"]}}, "legal": {}})
    only = frozenset({"care"})
    assert made.for_request("p", header="care", allowed=only) is not None
    assert made.for_request("p", alias="support", allowed=only) is not None
    assert made.for_request("p", prompt="care", allowed=only) is not None
    assert made.for_request("p", alias="other", allowed=only) is None, "no prompt and no intent: models decide"
    for asked in ({"header": "legal"}, {"prompt": "legal"}, {"prompt": ""}):
        with pytest.raises(Denied) as told:
            made.for_request("p", **asked, allowed=only)
        assert told.value.code == "intent_not_allowed"
        assert "care" in told.value.hint


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True), st.sampled_from(["x", "y", "z"]))
def test_rules_agree_with_reading_them_one_by_one(tags: list[str], alias: str) -> None:
    rules = {
        "one": (["x"], []),
        "two": (["x", "y"], ["a"]),
        "three": ([], ["b", "c"]),
        "four": (["y"], ["d"]),
    }
    made = compile_intents({name: {"match": {"aliases": a, "tags": t}} for name, (a, t) in rules.items()})
    found = made.for_request("p", alias=alias, tags=tuple(tags))

    def meets(name: str) -> bool:
        aliases, wanted = rules[name]
        return (not aliases or alias in aliases) and (not wanted or bool(set(wanted) & set(tags)))

    fitting = [name for name in rules if meets(name)]
    assert (found is None) == (not fitting)
    if found is not None:
        both = [name for name in fitting if all(rules[name])]
        some = [name for name in fitting if rules[name][1] and not rules[name][0]]
        assert found.key in (both or some or fitting)
