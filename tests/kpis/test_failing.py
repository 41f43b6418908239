"""Failure modes: what each failure is called, and how many there are of each."""

from typing import get_args

import pytest

from ostinato.kpis.failing import CLASSES, class_of
from ostinato.providers import FailureClass

_UPSTREAM = {
    "credential": "provider",
    "forbidden": "provider",
    "rate": "provider",
    "request": "caller",
    "server": "provider",
    "timeout": "timeout",
    "network": "provider",
    "malformed": "format",
    "cut": "cut stream",
}


def test_each_failure_of_a_provider_has_its_class() -> None:
    assert {one: class_of(f"upstream_{one}") for one in get_args(FailureClass)} == _UPSTREAM


@pytest.mark.parametrize(
    ("error", "right"),
    [
        ("rate_limit_exceeded", "policy"),
        ("budget_exceeded", "policy"),
        ("content_blocked", "policy"),
        ("targets_unavailable", "provider"),
        ("model_not_found", "caller"),
        ("invalid_request", "caller"),
        ("caller_left", "caller"),
        ("connection refused", "our own"),
        ("internal_error", "our own"),
        ("503", "provider"),
        ("504", "timeout"),
        ("429", "policy"),
        ("content_filter", "refusal"),
        ("anything else", "our own"),
    ],
)
def test_codes_are_mapped_by_whole_words(error: str, right: str) -> None:
    assert class_of(error) == right and right in CLASSES


async def test_failures_of_a_provider_are_told_apart(house) -> None:
    for number, failure in enumerate(("server", "server", "rate", "network", "malformed", "credential", "cut")):
        house.call(f"q{number}", status=502, error=f"upstream_{failure}", cost=None, usage=None)
    house.call("fine")
    found = await house.figure("failure_modes")
    assert (found.value, found.n) == (7 / 8, 8)
    told = {one["class"]: one["count"] for one in found.detail["pareto"]}
    assert told == {"provider": 5, "cut stream": 1, "format": 1}
    assert found.detail["pareto"][0]["codes"]["upstream_server"] == 2


async def test_answers_that_refuse_or_miss_their_format_are_failures(house) -> None:
    """They come with 200 and have no error."""
    for reason, finish in (("refusal", "stop"),) * 3 + (("content-filter", "content_filter"), ("schema", "stop")):
        house.hit(house.call(reason, reason=reason, finish=finish))
    house.call("x", reason="truncated", finish="length")
    house.call("y", reason="fallback")
    found = await house.figure("failure_modes")
    assert found.value == 6 / 12
    assert {one["class"]: one["count"] for one in found.detail["pareto"]} == {"refusal": 4, "format": 2}
    assert found.detail["pareto"][0]["codes"] == {"refusal": 3, "content-filter": 1}
    assert (await house.figure("error_rate")).value == 0


async def test_a_refusal_is_a_failure_where_the_cache_took_no_part_too(house) -> None:
    for number, finish in enumerate(("refusal", "refusal", "content_filter", "stop")):
        house.call(f"b{number}", cache="bypass", reason="policy-off", finish=finish)
    house.call("kept", finish="refusal")  # by a policy that keeps refusals
    house.call("m", reason="refusal", finish="refusal")  # once, not twice
    house.call("f", reason="content-filter", finish="content_filter")
    found = await house.figure("failure_modes")
    assert found.value == 6 / 7
    assert found.detail["pareto"][0]["codes"] == {"refusal": 4, "content-filter": 2}
