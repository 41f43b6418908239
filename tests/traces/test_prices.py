"""Prices: exact, dated, and never guessed."""

import datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.core.errors import Invalid
from ostinato.traces import PriceBook, Rates, Tariff, prices
from ostinato.wire.model import Usage

MILLION = 1_000_000


def at(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime.datetime(year, month, day, tzinfo=datetime.UTC).timestamp()) * MILLION


NOW = at(2025, 11, 30)


def book(**rates: object) -> PriceBook:
    return PriceBook([("p", "m", Tariff(**rates))])


@pytest.mark.parametrize(
    ("rates", "usage", "dollars"),
    [
        # Cached tokens counted inside the provider's input (as OpenAI does): wire.Usage has them apart already.
        ({"input": 2.5, "cache_read": 1.25, "output": 10}, Usage(80_000, 20_000, 0, 1_000), "0.235"),
        # Counted beside it (as Anthropic does), with writes for five minutes ...
        ({"input": 3, "cache_read": 0.3, "cache_write": 3.75, "output": 15}, Usage(1_000, 9_000, 2_000, 500), "0.0207"),
        # ... and for an hour.
        (
            {"input": 3, "cache_read": 0.3, "cache_write": 3.75, "cache_write_1h": 6, "output": 15},
            Usage(0, 0, 3_000, raw={"cache_creation": {"ephemeral_1h_input_tokens": 2_000}}),
            "0.01575",
        ),
        # Reasoning as output, and at a price of its own.
        ({"input": 1, "output": 4}, Usage(0, 0, 0, 100, 900), "0.004"),
        ({"input": 1, "output": 4, "reasoning": 2}, Usage(0, 0, 0, 100, 900), "0.0022"),
        # What has no price of its own costs what it would cost otherwise.
        ({"input": 1, "output": 4}, Usage(1_000, 1_000, 1_000), "0.003"),
        # A long context.
        (
            {"input": 1, "output": 4, "over": 1_000, "long": Rates(2, 8)},
            Usage(900, 101, 0, 100),
            "0.002802",
        ),
        ({"input": 1, "output": 4, "over": 1_000, "long": Rates(2, 8)}, Usage(900, 100, 0, 100), "0.0014"),
        ({"input": 0.01875, "output": 0}, Usage(1), "0.000000019"),
    ],
)  # fmt: skip
def test_every_shape_of_tariff(rates: dict, usage: Usage, dollars: str) -> None:
    assert book(**rates).price("p", "m", usage, NOW) == int(Decimal(dollars) * 10**9)


TOKENS = st.integers(0, 10**7)
DOLLARS = st.decimals(0, 100, places=3).map(float)


@given(st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS), st.tuples(DOLLARS, DOLLARS, DOLLARS, DOLLARS, DOLLARS))
def test_a_price_is_the_exact_sum_rounded_once(tokens: tuple, rates: tuple) -> None:
    tariff = Tariff(rates[0], rates[3], cache_read=rates[1], cache_write=rates[2], reasoning=rates[4])
    exact = sum(Decimal(n) * Decimal(str(rate)) * 1_000 for n, rate in zip(tokens, rates, strict=True))
    price = PriceBook([("p", "m", tariff)]).price("p", "m", Usage(*tokens), NOW)
    assert price is not None
    assert abs(price - exact) <= Decimal("0.5")


def test_what_is_unknown_has_no_price() -> None:
    known = book(input=1, output=1)
    assert known.price("p", "other", Usage(1), NOW) is None
    assert known.price("other", "m", Usage(1), NOW) is None
    assert known.price("p", "m", Usage(), NOW) == 0


def test_a_tariff_holds_from_its_day_until_the_next() -> None:
    dated = PriceBook(
        [
            ("p", "m", Tariff(1, 1, valid_from=datetime.date(2025, 3, 1))),
            ("p", "m", Tariff(2, 2, valid_from=datetime.date(2025, 1, 1))),
        ]
    )
    usage = Usage(1_000_000)
    assert dated.price("p", "m", usage, at(2024, 12, 31)) is None
    assert dated.price("p", "m", usage, at(2025, 1, 1) - 1) is None
    assert dated.price("p", "m", usage, at(2025, 1, 1)) == 2 * 10**9
    assert dated.price("p", "m", usage, at(2025, 3, 1) - 1) == 2 * 10**9
    assert dated.price("p", "m", usage, at(2025, 3, 1)) == 10**9


def test_the_shipped_list_is_whole() -> None:
    listed = prices.shipped()
    assert len(listed) >= 40
    assert len({(provider, model, tariff.valid_from) for provider, model, tariff in listed}) == len(listed)
    shipped = PriceBook.load()
    for provider, model, tariff in listed:
        assert tariff.valid_from is not None
        assert shipped.price(provider, model, Usage(1, 1, 1, 1, 1), NOW) is not None
        if tariff.cache_read is not None:
            assert tariff.cache_read < tariff.input
    assert shipped.price("openai", "gpt-4o-mini", Usage(1_000_000, 0, 0, 1_000_000), NOW) == 750_000_000
    assert shipped.price("openai", "o3", Usage(1_000_000), at(2025, 5, 1)) == 10 * 10**9
    assert shipped.price("openai", "o3", Usage(1_000_000), at(2025, 7, 1)) == 2 * 10**9


def test_dated_names_are_understood() -> None:
    shipped = PriceBook.load()
    usage = Usage(1_000_000)
    assert shipped.price("openai", "gpt-4o-mini-2024-07-18", usage, NOW) == 150_000_000
    assert shipped.price("anthropic", "claude-sonnet-4-20250514", Usage(1_000), NOW) == 3_000_000
    assert shipped.price("mistral", "mistral-large-latest", usage, NOW) == 2 * 10**9
    # One that is listed by its date has a price of its own.
    assert shipped.price("openai", "gpt-4o-2024-05-13", usage, NOW) == 5 * 10**9
    assert shipped.price("openai", "gpt-4o-mini-unknown", usage, NOW) is None


def test_what_is_declared_replaces_the_list_for_that_model() -> None:
    declared = {
        "openai/gpt-4o": Tariff(1, 2),
        "local/tiny/model": [Tariff(0, 0), Tariff(5, 5, valid_from=datetime.date(2030, 1, 1))],
    }
    mine = PriceBook.load(declared, {"azure-west": "openai"})
    usage = Usage(1_000_000)
    assert mine.price("openai", "gpt-4o", usage, at(2020)) == 10**9
    assert mine.price("openai", "gpt-4o-mini", usage, NOW) == 150_000_000
    assert mine.price("local", "tiny/model", usage, NOW) == 0
    assert mine.price("azure-west", "gpt-4o", usage, NOW) == 10**9
    assert mine.price("azure-east", "gpt-4o", usage, NOW) is None


@pytest.mark.parametrize(
    ("name", "tariff"),
    [("gpt-4o", Tariff(1, 1)), ("/m", Tariff(1, 1)), ("p/m", Tariff(1e-10, 1)), ("p/m", Tariff(1, 1, over=5))],
)
def test_a_wrong_price_is_named(name: str, tariff: Tariff) -> None:
    with pytest.raises(Invalid) as caught:
        PriceBook.load({name: tariff})
    assert caught.value.param == f"prices.{name}"


@pytest.mark.parametrize("body", [{"input": -1, "output": 1}, {"input": 1}, {"input": 1, "output": 1, "extra": 1}])
def test_a_wrong_tariff_does_not_come_in(body: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, Tariff)


@pytest.mark.parametrize("said", [None, [], {}, {"ephemeral_1h_input_tokens": "9"}, {"ephemeral_1h_input_tokens": -9}])
def test_odd_words_of_a_provider_do_not_matter(said: object) -> None:
    raw = {"cache_creation": said}
    assert (
        book(input=1, cache_write=2, cache_write_1h=3, output=1).price("p", "m", Usage(0, 0, 10, raw=raw), NOW)
        == 20_000
    )


def test_no_more_hours_are_paid_than_were_written() -> None:
    usage = Usage(0, 0, 10, raw={"cache_creation": {"ephemeral_1h_input_tokens": 10**9}})
    assert book(input=1, cache_write=2, cache_write_1h=3, output=1).price("p", "m", usage, NOW) == 30_000


def test_names_that_are_asked_for_do_not_fill_the_memory() -> None:
    known = book(input=1, output=1)
    for number in range(25_000):
        known.price("p", f"m{number}", Usage(), NOW)
    assert len(known._remembered) <= 10_000
    assert known.price("p", "m", Usage(1_000_000), NOW) == 10**9


def test_a_price_that_changes_on_a_day_is_declared_beside_the_one_of_today() -> None:
    declared = {
        "p/m": {"tariffs": [{"input": 1, "output": 1}, {"input": 10, "output": 10, "valid_from": "2027-11-01"}]},
        "p/n": {"input": 3, "output": 3},
    }
    mine = PriceBook.load(prices.read_tariffs(declared))
    usage = Usage(1_000_000)
    assert mine.price("p", "m", usage, at(2026, 1, 1)) == 10**9
    assert mine.price("p", "m", usage, at(2027, 11, 1)) == 10 * 10**9
    assert mine.price("p", "n", usage, at(2026, 1, 1)) == 3 * 10**9


@pytest.mark.parametrize(
    "body",
    [
        {"tariffs": []},
        {"tariffs": [{"input": 1, "output": 1}, {"input": 2, "output": 2}]},
        {"tariffs": [{"input": 1, "output": 1}], "input": 2},
        {"tariffs": {"input": 1}},
        [],
        "free",
    ],
)
def test_tariffs_that_cannot_be_told_apart_are_refused(body: object) -> None:
    with pytest.raises(Invalid) as refused:
        prices.read_tariffs({"p/m": body})
    assert refused.value.param == "prices.p/m"
    assert "valid_from" in refused.value.hint
