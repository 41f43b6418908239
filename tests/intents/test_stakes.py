"""What stakes bring along: the page says what the code does, and bounds hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cache.model import Policy
from ostinato.cache.policy import compile_policies
from ostinato.core.errors import Invalid
from ostinato.intents import compile_intents, stakes
from ostinato.intents.model import CacheRules
from ostinato.intents.stakes import DEFAULTS, LEVELS, change_approvals

LOOSE = Policy(
    stale_while_revalidate=60.0,
    stale_if_error=60.0,
    store_refusals=True,
    store_fallback=True,
    scope="project",
    finish_and_store=True,
    version="loose",
)
OWNED = {"owner": "somebody"}


def rows_of_the_page() -> dict[str, list[str]]:
    """The table in the docstring: what -> its four cells."""
    lines = (stakes.__doc__ or "").splitlines()
    marks = [number for number, line in enumerate(lines) if line.startswith("====")]
    columns = [part for part in lines[marks[0]].split("  ") if part]
    starts = [0]
    for column in columns:
        starts.append(starts[-1] + len(column) + 2)
    cells = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:-1], None], strict=False)] for line in lines]
    return {row[0]: row[1:] for row in cells[marks[1] + 1 : marks[2]]}


def never_stale(cache: CacheRules) -> bool:
    return cache.stale_if_error == cache.stale_while_revalidate == 0


def test_the_page_is_what_the_code_does() -> None:
    page = rows_of_the_page()
    told = {
        "cache mode": lambda d: "exact, off" if d.binding else "policy",
        "stale answers": lambda d: (
            "never" if d.cache.stale_if_error == d.cache.stale_while_revalidate == 0 else "policy"
        ),
        "scope": lambda d: "each user" if d.cache.scope == "user" else "policy",
        "refusals kept": lambda d: "never" if d.cache.store_refusals is False else "policy",
        "fallback answers kept": lambda d: "never" if d.cache.store_fallback is False else "policy",
        "finish after hang-up": lambda d: "no" if d.cache.finish_and_store is False else "policy",
        "approvals of a release": lambda d: str(d.approvals),
        "approvals of a change": lambda d: str(d.change_approvals),
        "a person looks at it": lambda d: "yes" if d.human_review else "no",
        "canary advances itself": lambda d: "yes" if d.auto_rollout else "no",
        "baseline hold-out": lambda d: "yes" if d.baseline_holdout else "no",
        "an owner is named": lambda d: "required" if d.binding else "-",
    }
    assert page == {what: [tell(DEFAULTS[level]) for level in LEVELS] for what, tell in told.items()}
    fixed = set(CacheRules().given()) | set(DEFAULTS["high"].cache.given())
    assert fixed == {
        "stale_while_revalidate",
        "stale_if_error",
        "store_refusals",
        "store_fallback",
        "scope",
        "finish_and_store",
    }, "what the code fixes and the page does not tell"


def test_an_intent_can_set_every_rule_of_a_cache_policy() -> None:
    assert set(CacheRules.__struct_fields__) - {"holdout"} == set(Policy.__struct_fields__) - {"version", "checks"}


@pytest.mark.parametrize("level", LEVELS)
def test_what_a_loose_policy_becomes(level: Any) -> None:
    made = compile_intents({"x": {"stakes": level, **OWNED}})
    policy = made.policy("p", "x", LOOSE)
    bound = level in ("high", "critical")
    assert (policy.stale_while_revalidate, policy.stale_if_error) == ((0, 0) if bound else (60, 60))
    assert policy.scope == ("user" if bound else "project")
    for field in ("store_refusals", "store_fallback", "finish_and_store"):
        assert getattr(policy, field) is not bound
    needs = made.requirements("p", "x")
    assert (needs.approvals, needs.human_review, needs.auto_rollout) == (
        (2, True, False) if bound else (1, False, True)
    )


@pytest.mark.parametrize("level", ["high", "critical"])
@pytest.mark.parametrize(
    ("table", "rule", "loose", "strict"),
    [
        ("cache", "stale_while_revalidate", 1.0, 0.0),
        ("cache", "stale_if_error", 1.0, 0.0),
        ("cache", "store_refusals", True, False),
        ("cache", "store_fallback", True, False),
        ("cache", "scope", "project", "user"),
        ("cache", "finish_and_store", True, False),
        ("review", "approvals", 1, 3),
        ("review", "human", False, True),
        ("review", "auto_rollout", True, False),
        ("review", "baseline_holdout", True, False),
    ],
)
def test_high_stakes_bound_what_is_declared(level: str, table: str, rule: str, loose: Any, strict: Any) -> None:
    for value, refused in ((loose, True), (strict, False)):
        body = {"stakes": level, **OWNED, table: {rule: value}}
        if refused:
            with pytest.raises(Invalid) as told:
                compile_intents({"x": body})
            assert (told.value.code, told.value.param) == ("stakes_bound", f"intents.x.{table}.{rule}")
            assert "Allowed at these stakes" in told.value.hint
        else:
            compile_intents({"x": body})
    compile_intents({"x": {"stakes": "low", table: {rule: loose}}})


@given(
    before=st.sampled_from([None, *LEVELS]),
    after=st.sampled_from([None, *LEVELS]),
)
def test_a_change_needs_what_the_higher_stakes_ask(before: Any, after: Any) -> None:
    there = [one for one in (before, after) if one is not None]
    needed = change_approvals(*there)
    assert needed == max((DEFAULTS[one].change_approvals for one in there), default=0)
    assert (needed > 0) == bool({"high", "critical"} & set(there))


@given(
    level=st.sampled_from(LEVELS),
    base=st.builds(
        Policy,
        mode=st.sampled_from(["off", "exact"]),
        ttl=st.floats(1, 1e6),
        stale_while_revalidate=st.floats(0, 1e6),
        stale_if_error=st.floats(0, 1e6),
        scope=st.sampled_from(["user", "project"]),
        store_refusals=st.booleans(),
        version=st.text("abc", min_size=4, max_size=8),
    ),
    answers=st.none() | st.floats(0.01, 30),
    data=st.sets(st.sampled_from(["public", "personal", "sensitive"])),
)
def test_no_policy_is_looser_than_its_intent(level: str, base: Policy, answers: float | None, data: set[str]) -> None:
    body: dict[str, Any] = {"stakes": level, **OWNED, "data_classes": sorted(data)}
    if answers is not None:
        body["retention"] = {"answers": answers}
    made = compile_intents({"x": body})
    policy = made.policy("p", "x", base)
    intent = made.of("p", "x")
    assert intent is not None
    for field, value in DEFAULTS[intent.stakes].cache.given().items():
        assert getattr(policy, field) == value
    if {"personal", "sensitive"} & data:
        assert policy.scope == "user"
    if answers is not None:
        for stale in (policy.stale_while_revalidate, policy.stale_if_error):
            assert policy.ttl + stale <= answers * 86_400 * (1 + 1e-9)
    told = {one.rule: one for one in made.effective(intent, base)}
    for field in set(CacheRules.__struct_fields__) - {"holdout"}:
        one = told[f"cache.{field}"]
        assert one.value == getattr(policy, field)
        assert (one.origin == "cache policy") <= (one.value == getattr(base, field))
    assert policy.version not in ("", base.version)


def test_a_policy_is_sealed_by_intent_stakes_and_rules() -> None:
    base = compile_policies({}).for_("p", "any")
    rules = {"no-cards": {"kind": "pii"}}
    bodies: dict[str, Any] = {
        "a": {},
        "b": {},
        "c": {"stakes": "low"},
        "d": {"cache": {"ttl": 60.0}},
        "e": {"checks": ["no-cards"]},
    }
    versions = {name: compile_intents(bodies, rules).policy("p", name, base).version for name in bodies}
    assert len({base.version, *versions.values()}) == 6
    renamed = compile_intents({"c": {"stakes": "high", **OWNED}}).policy("p", "c", base)
    assert renamed.version != versions["c"]
    tighter = compile_intents(bodies, {"no-cards": {"kind": "pii", "action": "block"}}).policy("p", "e", base)
    assert tighter.version != versions["e"], "a rule that was tightened hides old answers"
    again = compile_intents(bodies, rules)
    assert again.policy("p", "d", base) is again.policy("p", "d", base)


@pytest.mark.parametrize(
    ("declared", "value", "origin"), [({}, True, "built in"), ({"holdout": False}, False, "declared")]
)
def test_the_hold_out_is_no_rule_of_a_policy_and_told_with_the_others(declared: Any, value: bool, origin: str) -> None:
    made = compile_intents({"x": {"stakes": "low", "cache": declared}})
    intent = made.of("p", "x")
    assert intent is not None
    base = compile_policies({}).for_("p", "any")
    (told,) = [one for one in made.effective(intent, base) if one.rule == "cache.holdout"]
    assert (told.value, told.origin) == (value, origin)
    assert "holdout" not in intent.declared.cache.given()


@pytest.mark.parametrize("field", ["tokens_per_request", "tokens_per_day", "dollars_per_day", "latency_ms"])
@pytest.mark.parametrize("value", [0, -1, 10**16])
def test_a_budget_that_cannot_be_is_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(Invalid, match=field):
        compile_intents({"x": {"stakes": "low", "budgets": {field: value}}})
