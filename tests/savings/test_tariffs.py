"""R1: the ledger beside replayed invoices over five tariff shapes, by a calculator that shares no code with ours.

The calculator works on what the provider's own JSON says, in the provider's own words and in decimals of dollars; our
side goes the whole way: codec, price book, recorder, ledger, reconciliation.
"""

import datetime
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from ostinato import storage, wire
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.savings import InvoiceLine, reconcile
from ostinato.savings.model import Invoice
from ostinato.traces import CallRow, PriceBook, Recorder, Settings
from ostinato.traces.prices import Tariff
from ostinato.wire import usage as usages
from ostinato.wire.model import Answer, Finish, Start, Usage

MILLION = Decimal(1_000_000)


class Shape:
    """A tariff, how its provider tells usage, and what the provider bills for it."""

    def __init__(
        self,
        tariff: Tariff,
        make: Callable[[random.Random], dict[str, Any]],
        read: Callable[[dict[str, Any]], Usage],
        bill: Callable[[dict[str, Any]], Decimal],
    ) -> None:
        self.tariff = tariff
        self.make = make
        self.read = read
        self.bill = bill


def openai(random: random.Random) -> dict[str, Any]:
    prompt, completion = random.randint(1, 9000), random.randint(1, 2000)
    cached = random.choice([0, 0, prompt // 2, prompt])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def anthropic(random: random.Random) -> dict[str, Any]:
    return {
        "input_tokens": random.randint(0, 3000),
        "cache_read_input_tokens": random.choice([0, 1024, random.randint(0, 50_000)]),
        "cache_creation_input_tokens": 0,
        "output_tokens": random.randint(1, 2000),
    }


def written(random: random.Random) -> dict[str, Any]:
    short, long = random.choice([(0, 0), (2000, 0), (0, 3000), (1111, 2222)])
    return {
        **anthropic(random),
        "cache_creation_input_tokens": short + long,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
    }


def thinking(random: random.Random) -> dict[str, Any]:
    told, hidden = random.randint(1, 800), random.randint(0, 6000)
    made: dict[str, Any] = {
        "input_tokens": random.randint(1, 5000),
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": told + hidden,
        "output_tokens_details": {"reasoning_tokens": hidden},
    }
    return {**made, "total_tokens": made["input_tokens"] + made["output_tokens"]}


def batched(random: random.Random) -> dict[str, Any]:
    return {**written(random), "service_tier": random.choice(["batch", "batch", "standard"])}


def _dollars(counts: dict[str, int], rates: dict[str, str], factor: str = "1") -> Decimal:
    return (
        sum((Decimal(counts[name]) * Decimal(rate) for name, rate in rates.items()), Decimal(0))
        / MILLION
        * Decimal(factor)
    )


def bill_inclusive(told: dict[str, Any]) -> Decimal:
    cached = told["prompt_tokens_details"]["cached_tokens"]
    counts = {"fresh": told["prompt_tokens"] - cached, "cached": cached, "out": told["completion_tokens"]}
    return _dollars(counts, {"fresh": "1.25", "cached": "0.125", "out": "10"})


def bill_exclusive(told: dict[str, Any]) -> Decimal:
    return _dollars(told, {"input_tokens": "3", "cache_read_input_tokens": "0.3", "output_tokens": "15"})


def bill_written(told: dict[str, Any], factor: str = "1") -> Decimal:
    flat = {**told, **told["cache_creation"]}
    rates = {"input_tokens": "3", "cache_read_input_tokens": "0.3", "output_tokens": "15"}
    rates |= {"ephemeral_5m_input_tokens": "3.75", "ephemeral_1h_input_tokens": "6"}
    return _dollars(flat, rates, factor)


def bill_thinking(told: dict[str, Any]) -> Decimal:
    return _dollars(told, {"input_tokens": "1.1", "output_tokens": "4.4"})


def bill_batched(told: dict[str, Any]) -> Decimal:
    return bill_written(told, "0.5" if told["service_tier"] == "batch" else "1")


CLAUDE = Tariff(input=3, cache_read=0.3, cache_write=3.75, cache_write_1h=6, output=15)
SHAPES = {
    "inclusive": Shape(Tariff(input=1.25, cache_read=0.125, output=10), openai, usages.read_openai, bill_inclusive),
    "exclusive": Shape(CLAUDE, anthropic, usages.read_anthropic, bill_exclusive),
    "two cache-write lives": Shape(CLAUDE, written, usages.read_anthropic, bill_written),
    "reasoning": Shape(Tariff(input=1.1, cache_read=0.55, output=4.4), thinking, usages.read_responses, bill_thinking),
    "batch": Shape(
        Tariff(
            **{f: getattr(CLAUDE, f) for f in ("input", "cache_read", "cache_write", "cache_write_1h", "output")},
            tiers={"batch": 0.5},
        ),
        batched,
        usages.read_anthropic,
        bill_batched,
    ),
}
DAY = 86_400_000_000


def invoice(clock: ManualClock) -> Invoice:
    start = clock.now() - clock.now() % DAY
    return Invoice(
        id="i",
        org="o",
        provider="p",
        shape="generic",
        digest="",
        since=start,
        until=start + 3 * DAY,
        at=0,
        by="",
        lines=1,
    )


def keep(
    traces: storage.Database,
    clock: ManualClock,
    book: PriceBook,
    told: list[tuple[int, Usage]],
    model: str = "m-2026-01-01",
) -> None:
    recorder = Recorder(traces, clock, Settings())
    recorder.start()
    for at, usage in told:
        cost = book.price("p", model, usage, at)
        recorder.call(
            CallRow(
                request_id=ids.new(at),
                at=at,
                org="o",
                project="q",
                key_id="k",
                provider="p",
                model=model,
                target=f"p/{model}",
                usage=usage,
                cost=cost,
                counterfactual=cost,
            )
        )
    assert recorder.stop() == 0


@pytest.mark.parametrize("name", SHAPES)
def test_the_ledger_is_within_half_a_per_cent_of_the_invoice(
    name: str, traces: storage.Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    shape, chance = SHAPES[name], random.Random(name)
    book = PriceBook([("p", "m", shape.tariff)])
    kept = invoice(clock)
    told: list[tuple[int, Usage]] = []
    billed: dict[str, Decimal] = {}
    for number in range(1_000):
        at = kept.since + number * (2 * DAY // 1_000)
        words = shape.make(chance)
        told.append((at, shape.read(words)))
        day = datetime.datetime.fromtimestamp(at / 1e6, datetime.UTC).strftime("%Y-%m-%d")
        billed[day] = billed.get(day, Decimal(0)) + shape.bill(words)
    keep(traces, clock, book, told)
    lines = [InvoiceLine(day=day, model="m", token="total", nano=round(sum_ * 10**9)) for day, sum_ in billed.items()]
    books = traces.query(lambda c: reconcile.read(c, book, "o", "", "p", kept.since, kept.until))
    found = reconcile.compare(kept, lines, books)
    assert found.within is True
    # Half a nano-dollar of rounding a call, and nothing else.
    assert abs(found.ledger_nano - (found.invoice_nano or 0)) <= 500
    assert found.repriced_nano == found.ledger_nano
    assert (found.gaps, found.unpriced, found.outside) == ((), 0, 0)


def test_what_is_missing_on_which_side_is_said(traces: storage.Database, clock: ManualClock):
    kept = invoice(clock)
    book = PriceBook([("p", "m", Tariff(input=1, output=2))])
    keep(traces, clock, book, [(kept.since, Usage(100, output=10)), (kept.since + DAY, Usage(50, output=5))])
    first, second, third = (
        datetime.datetime.fromtimestamp((kept.since + day * DAY) / 1e6, datetime.UTC).strftime("%Y-%m-%d")
        for day in range(3)
    )
    lines = [
        InvoiceLine(day=first, model="m", token="input", tokens=100),
        InvoiceLine(day=first, model="m", token="output", tokens=20),
        InvoiceLine(day=third, model="m", token="input", tokens=7),
    ]
    books = traces.query(lambda c: reconcile.read(c, book, "o", "", "p", kept.since, kept.until))
    found = reconcile.compare(kept, lines, books)
    assert found.within is False
    assert {(gap.day, gap.token, gap.missing) for gap in found.gaps} == {
        (first, "output", ""),
        (second, "input", "invoice"),
        (second, "output", "invoice"),
        (third, "input", "ledger"),
    }
    assert found.invoice_nano is None and found.difference is None


def test_a_price_changed_backwards_changes_the_recomputed_sum_and_no_row(traces: storage.Database, clock: ManualClock):
    kept = invoice(clock)
    old = PriceBook([("p", "m", Tariff(input=1, output=1))])
    keep(traces, clock, old, [(kept.since, Usage(1_000_000))])
    today = datetime.datetime.fromtimestamp(kept.since / 1e6, datetime.UTC).date()
    new = PriceBook([("p", "m", Tariff(input=1, output=1)), ("p", "m", Tariff(input=2, output=1, valid_from=today))])
    lines = [InvoiceLine(day=str(today), model="m", token="total", nano=2_000_000_000)]
    books = traces.query(lambda c: reconcile.read(c, new, "o", "", "p", kept.since, kept.until))
    found = reconcile.compare(kept, lines, books)
    assert (found.ledger_nano, found.repriced_nano) == (1_000_000_000, 2_000_000_000)
    assert found.within is False
    assert found.repriced_difference == 0.0


def test_a_service_tier_that_is_told_beside_the_answer_is_priced():
    book = PriceBook([("p", "m", Tariff(input=2, output=2, tiers={"flex": 0.5, "priority": 2}))])
    for tier, expected in (("flex", 1), ("priority", 4), ("default", 2), ("unheard-of", 2)):
        answer = Answer(
            wire="openai.chat",
            events=(
                Start(model="m", extra={"top": {"service_tier": tier}}),
                Finish(reason="stop", raw="stop"),
                Usage(1_000_000, raw={"prompt_tokens": 1_000_000}),
            ),
        )
        usage = wire.summary(answer).usage
        assert usage is not None
        assert book.price("p", "m", usage, 1) == expected * 10**9


def test_a_project_sees_its_own_calls_and_how_many_others_there_are(traces: storage.Database, clock: ManualClock):
    kept = invoice(clock)
    book = PriceBook([("p", "m", Tariff(input=1, output=1))])
    keep(traces, clock, book, [(kept.since, Usage(10))])
    books = traces.query(lambda c: reconcile.read(c, book, "o", "other", "p", kept.since, kept.until))
    assert (books.nano, books.outside) == ({}, 1)
    books = traces.query(lambda c: reconcile.read(c, book, "elsewhere", "", "p", kept.since, kept.until))
    assert (books.nano, books.outside) == ({}, 0)
