"""``Cache-Control`` of requests, as HTTP means it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cache import directives
from ostinato.cache.directives import NONE, Directives
from ostinato.cache.model import Policy


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", NONE),
        (None, NONE),
        (b"no-cache", Directives(no_cache=True)),
        ("No-Cache", Directives(no_cache=True)),
        ("NO-STORE", Directives(no_store=True)),
        (" no-cache ,\tno-store ", Directives(no_cache=True, no_store=True)),
        ("only-if-cached", Directives(only_if_cached=True)),
        ("max-age=60", Directives(max_age=60)),
        ("Max-Age = 60", Directives(max_age=60)),
        ('max-age="60"', Directives(max_age=60)),
        ("max-age=0", Directives(max_age=0)),
        ("max-age=60, max-age=10", Directives(max_age=10)),
        ("max-age=10, max-age=60", Directives(max_age=10)),
        ("max-age=99999999999999999999", Directives(max_age=directives.LONGEST_AGE)),
        ("max-age=4294967296", Directives(max_age=directives.LONGEST_AGE)),
        ("max-age", NONE),
        ("max-age=", NONE),
        ("max-age=-1", NONE),
        ("max-age=1.5", NONE),
        ("max-age=1e3", NONE),
        ("max-age=\u0661".encode().decode("latin-1"), NONE),
        ("max-age=\u00b2", NONE),
        ("max-age='5'", NONE),
        ("max-age=x, no-cache", Directives(no_cache=True)),
        ("no-cache=anything", Directives(no_cache=True)),
        ("no-cachee, xno-store, public, max-stale=9, min-fresh=3, no-transform", NONE),
        ('x="a, no-store", no-cache', Directives(no_cache=True)),
        ('x="a \\", no-store", no-cache', Directives(no_cache=True)),
        ('x="never closed, no-store', NONE),
        (",,, ,no-store,,", Directives(no_store=True)),
        (b"\xff\xfe, no-store", Directives(no_store=True)),
    ],
)
def test_reading(header: str | bytes | None, expected: Directives):
    assert directives.parse(header) == expected


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_nothing_breaks_it(header: str | bytes):
    found = directives.parse(header)
    assert found.max_age is None or 0 <= found.max_age <= directives.LONGEST_AGE


@given(st.lists(st.sampled_from(["no-cache", "no-store", "max-age", "only-if-cached"]), unique=True))
def test_the_policy_caps(allowed: list[str]):
    header = "no-cache, no-store, max-age=5, only-if-cached"
    found = directives.parse(header, Policy(allow_directives=tuple(allowed)))
    assert found == Directives(
        "no-cache" in allowed, "no-store" in allowed, 5 if "max-age" in allowed else None, "only-if-cached" in allowed
    )


@given(st.integers(0, 100), st.integers(1, 100), st.none() | st.integers(0, 200))
def test_max_age_only_shortens(age: int, ttl: int, max_age: int | None):
    created = 1_000_000_000
    asked = Directives(max_age=max_age)
    fresh = directives.accepts(NONE, created=created, expires=created + ttl * 1_000_000, now=created + age * 1_000_000)
    accepted = directives.accepts(
        asked, created=created, expires=created + ttl * 1_000_000, now=created + age * 1_000_000
    )
    assert fresh == (age < ttl)
    assert accepted == (fresh and (max_age is None or age <= max_age))


def test_who_wants_a_new_answer_or_none_kept_takes_no_old_one():
    for asked in (Directives(no_cache=True), Directives(no_store=True)):
        assert not directives.accepts(asked, created=0, expires=10, now=1)
    assert directives.accepts(Directives(only_if_cached=True), created=0, expires=10, now=1)
