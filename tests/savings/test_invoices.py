"""Files of providers, as they export them."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.core.errors import Invalid
from ostinato.savings import InvoiceLine
from ostinato.savings.invoices import SHAPES, read


def test_openai_usage_counts_cached_tokens_as_input_and_is_told_apart():
    text = (
        "start_time_iso,model,input_tokens,input_cached_tokens,output_tokens\n"
        "2026-11-01T00:00:00+00:00,gpt-5-2025-08-07,1000,400,50\n"
        "2026-11-01T00:00:00+00:00,gpt-5-2025-08-07,10,0,5\n"
    )
    assert read(text, "openai-usage") == (
        InvoiceLine(day="2026-11-01", model="gpt-5-2025-08-07", token="cache_read", tokens=400),
        InvoiceLine(day="2026-11-01", model="gpt-5-2025-08-07", token="input", tokens=610),
        InvoiceLine(day="2026-11-01", model="gpt-5-2025-08-07", token="output", tokens=55),
    )


def test_openai_costs_name_the_class_behind_the_model():
    text = (
        "start_time,start_time_iso,amount_value,amount_currency,line_item\n"
        '1793491200,2026-11-01T00:00:00+00:00,1.25,usd,"gpt-5-2025-08-07, input"\n'
        '1793491200,2026-11-01T00:00:00+00:00,0.5,usd,"gpt-5-2025-08-07, cached input"\n'
        "1793491200,2026-11-01T00:00:00+00:00,0.01,usd,web search\n"
    )
    found = {(line.model, line.token): line.nano for line in read(text, "openai-costs")}
    assert found == {
        ("gpt-5-2025-08-07", "input"): 1_250_000_000,
        ("gpt-5-2025-08-07", "cache_read"): 500_000_000,
        ("web search", "total"): 10_000_000,
    }


def test_anthropic_usage_tells_two_lives_of_cache_writes():
    text = (
        "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
        "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n"
        "2026-11-02,claude-sonnet-4-5-20250929,100,20,30,40,50\n"
    )
    found = {line.token: line.tokens for line in read(text, "anthropic-usage")}
    assert found == {"input": 100, "cache_write": 20, "cache_write_1h": 30, "cache_read": 40, "output": 50}


def test_columns_may_have_other_names():
    text = "Tag,Modell,Betrag\n2026-11-02,m,$1.50\n"
    [line] = read(text, "generic", {"day": "Tag", "model": "Modell", "amount": "Betrag"})
    assert (line.token, line.nano) == ("total", 1_500_000_000)


@pytest.mark.parametrize(
    ("text", "columns", "word"),
    [
        ("", {}, "day"),
        ("day,model,cost\n", {}, "no rows"),
        ("day,model,cost\nsoon,m,1\n", {}, "Row 2"),
        ("day,model,cost\n2026-11-02,m,much\n", {}, "amount"),
        ("day,model,input\n2026-11-02,m,1.5\n", {}, "count"),
        ("day,model,input\n2026-11-02,,1\n", {}, "model"),
        ("day,model,input\n2026-11-02,m,1\n", {"output": "made"}, "made"),
        ("day,model,input\n2026-11-02,m,1\n", {"nonsense": "x"}, "nonsense"),
        ("day,model,cost\n2026-11-02,m,NaN\n", {}, "amount"),
        ("day,model,cost\n2026-11-02,m,1e999999999\n", {}, "amount"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, columns: dict[str, str], word: str):
    with pytest.raises(Invalid, match=word):
        read(text, "generic", columns)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=300), shape=st.sampled_from(sorted(SHAPES)))
def test_no_file_breaks_the_reader(text: str, shape: str):
    head = ",".join(SHAPES[shape].day.split("|")[:1] + SHAPES[shape].model.split("|")[:1] + ["tokens", "amount"])
    for body in (text, f"{head}\n{text}", f"{head}\n2026-11-01,{text}"):
        with contextlib.suppress(Invalid):
            read(body, shape)


def test_days_are_those_of_utc_whatever_zone_the_file_is_in():
    head = "day,model,input\n"
    hours = "2026-11-23T15:00:00-08:00,m,1\n2026-11-23T16:00:00-08:00,m,10\n20261124,m,100\n1795478400,m,1000\n"
    found = {line.day: line.tokens for line in read(head + hours, "generic")}
    assert found == {"2026-11-23": 1, "2026-11-24": 1_110}
    # A day of another zone lies in two of UTC's.
    for day in ("2026-11-23T00:00:00-08:00", "2026-11-23T00:00:00+02:00"):
        with pytest.raises(Invalid, match="UTC"):
            read(f"{head}{day},m,1\n", "generic")


def test_other_currencies_are_refused():
    with pytest.raises(Invalid, match="dollars"):
        read("date,model,amount,currency\n2026-11-23,m,1.5,eur\n", "generic")
