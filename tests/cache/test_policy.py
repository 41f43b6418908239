"""Policies: which one holds, what versions they have, and what is refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cache import policy as policies
from ostinato.cache.model import Policy
from ostinato.core.errors import Invalid


def test_without_declarations_the_defaults_hold():
    found = policies.compile_policies({}).for_("p", "a")
    assert msgspec.structs.replace(found, version="") == Policy()
    assert len(found.version) == 16


def test_the_most_specific_declaration_wins():
    compiled = policies.compile_policies(
        {
            "all": {"ttl": 1},
            "alias": {"alias": "a", "ttl": 2},
            "project": {"project": "p", "ttl": 3},
            "both": {"project": "p", "alias": "a", "ttl": 4},
            "other": {"project": "q", "alias": "b", "ttl": 5, "mode": "off"},
        }
    )
    found = {(project, alias): compiled.for_(project, alias).ttl for project in "pqr" for alias in "abc"}
    assert found == {
        ("p", "a"): 4, ("p", "b"): 3, ("p", "c"): 3,
        ("q", "a"): 2, ("q", "b"): 5, ("q", "c"): 1,
        ("r", "a"): 2, ("r", "b"): 1, ("r", "c"): 1,
    }  # fmt: skip


def naive(bodies: dict[str, dict[str, Any]], project: str, alias: str) -> float:
    """The rule in plain words, to compare with."""
    for wanted in ((project, alias), (project, ""), ("", alias), ("", "")):
        for body in bodies.values():
            if (body.get("project", ""), body.get("alias", "")) == wanted:
                return body["ttl"]
    return Policy().ttl


@given(st.sets(st.tuples(st.sampled_from(["", "p", "q"]), st.sampled_from(["", "a", "b"]))))
def test_look_up_equals_the_rule(declared: set[tuple[str, str]]):
    bodies = {
        f"d{index}": {"project": project or "*", "alias": alias, "ttl": float(index + 1)}
        for index, (project, alias) in enumerate(sorted(declared))
    }
    compiled = policies.compile_policies(bodies)
    plain = {name: {**body, "project": body["project"].replace("*", "")} for name, body in bodies.items()}
    for project in ("p", "q", "r"):
        for alias in ("a", "b", "c"):
            assert compiled.for_(project, alias).ttl == naive(plain, project, alias)


def test_any_change_of_a_setting_is_another_version():
    changes: dict[str, Any] = {
        "mode": "off", "ttl": 5.0, "ttl_jitter": 0.2, "temperature_limit": 0.5, "stale_while_revalidate": 1.0,
        "stale_if_error": 1.0, "store_refusals": True, "store_fallback": True, "fallback_ttl": 1.0, "scope": "project",
        "session_scope": True, "max_entry_bytes": 1000, "finish_and_store": True, "allow_directives": ["no-store"],
        "checks": ["c"],
    }  # fmt: skip
    assert set(changes) == set(Policy.__struct_fields__) - {"version"}
    rules = {"c": {"kind": "pii"}}
    versions = {
        policies.compile_policies({"x": {name: value}}, rules).for_("p", "a").version for name, value in changes.items()
    }
    versions.add(policies.compile_policies({}, rules).for_("p", "a").version)
    assert len(versions) == len(changes) + 1


def test_a_changed_check_rule_is_another_version():
    body = {"x": {"checks": ["c"]}}
    one = policies.compile_policies(body, {"c": {"kind": "pii"}})
    other = policies.compile_policies(body, {"c": {"kind": "secrets"}})
    unrelated = policies.compile_policies(body, {"c": {"kind": "pii"}, "d": {"kind": "banned"}})
    assert one.for_("p", "a").version != other.for_("p", "a").version
    assert one.for_("p", "a").version == unrelated.for_("p", "a").version
    assert one.digest != other.digest
    assert one.digest == unrelated.digest


def test_a_spelled_out_default_is_the_default():
    spelled = policies.compile_policies({"x": {"ttl": 86_400, "mode": "exact"}})
    assert spelled.for_("p", "a") == policies.compile_policies({}).for_("p", "a")


def test_whom_a_policy_is_for_is_part_of_the_digest():
    one = policies.compile_policies({"x": {"ttl": 1, "project": "p"}})
    other = policies.compile_policies({"x": {"ttl": 1, "project": "q"}})
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("body", "param", "hint"),
    [
        ({"tll": 3}, "policies.x.tll", "ttl"),
        ({"version": "1"}, "policies.x.version", "ttl"),
        ({"mode": "semantic"}, "policies.x.mode", '"off", "exact"'),
        ({"ttl": "1h"}, "policies.x.ttl", "0.001 to"),
        ({"ttl": 0}, "policies.x.ttl", "0.001 to"),
        ({"ttl": -1}, "policies.x.ttl", "0.001 to"),
        ({"ttl": float("nan")}, "policies.x.ttl", "0.001 to"),
        ({"ttl": float("inf")}, "policies.x.ttl", "0.001 to"),
        ({"ttl_jitter": 1}, "policies.x.ttl_jitter", "0 to 0.9"),
        ({"temperature_limit": 3}, "policies.x.temperature_limit", "0 to 2"),
        ({"max_entry_bytes": 0}, "policies.x.max_entry_bytes", "256 to"),
        ({"max_entry_bytes": 1.5}, "policies.x.max_entry_bytes", "256 to"),
        ({"store_refusals": 1}, "policies.x.store_refusals", "true, false"),
        ({"scope": "everybody"}, "policies.x.scope", '"user", "project"'),
        ({"allow_directives": ["max-stale"]}, "policies.x.allow_directives", "only-if-cached"),
        ({"allow_directives": "no-store"}, "policies.x.allow_directives", "only-if-cached"),
        ({"checks": ["nobody"]}, "policies.x.checks", "known"),
        ({"project": 3}, "policies.x.project", "all"),
        ("off", "policies.x", "ttl"),
        (None, "policies.x", "ttl"),
    ],
)
def test_what_is_wrong_is_refused_by_name(body: Any, param: str, hint: str):
    with pytest.raises(Invalid) as caught:
        policies.compile_policies({"x": body}, {"known": {}})
    assert caught.value.param == param
    assert hint in caught.value.hint
    assert "'x'" in caught.value.message or param in caught.value.message


def test_two_policies_for_the_same_are_refused():
    with pytest.raises(Invalid, match="'one' and 'two'"):
        policies.compile_policies({"one": {"alias": "a"}, "two": {"alias": "a", "project": "*"}})
