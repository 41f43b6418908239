"""What operators can set."""

import msgspec
import pytest

from ostinato.access import Settings
from ostinato.core import money
from ostinato.core.errors import Invalid


def test_the_defaults_are_allowed():
    Settings().check()
    assert Settings().lease_minimum_nano == money.from_dollars("0.05")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests_per_minute", 0),
        ("concurrent_requests", 0),
        ("processes", -1),
        ("keys_per_project", 0),
        ("lease_share", 0.0),
        ("lease_share", 1.5),
        ("lease_share", float("nan")),
        ("lease_minimum", "free"),
        ("lease_minimum", "-1"),
        ("lease_minimum", "0"),
        ("lease_idle_seconds", 0.0),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object):
    with pytest.raises(Invalid) as refused:
        Settings(**{name: value}).check()
    assert refused.value.param == f"access.{name}"


def test_unknown_names_are_refused():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"request_per_minute": 1}, Settings)
