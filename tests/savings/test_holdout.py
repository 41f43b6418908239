"""The estimate from the ledger's rows, on both engines: one population on both sides, and whom it leaves out."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from ostinato import storage
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.savings import holdout, tables
from ostinato.traces import CallRow, Filter, HitRow, Recorder, Settings, Window

MINUTE = 60_000_000
OURS = Filter(org="o")


class Book:
    """Writes rows of the ledger, and what the room remembers beside them."""

    def __init__(self, traces: storage.Database, clock: ManualClock) -> None:
        self.traces = traces
        self.start = clock.now()
        self.recorder = Recorder(traces, clock, Settings())

    def call(self, minute: float, session: str, trial: str = "treated", cost: int | None = 1_000, **fields: Any) -> str:
        at = self.start + int(minute * MINUTE)
        row = CallRow(
            **{
                "request_id": ids.new(at),
                "at": at,
                "org": "o",
                "project": "p",
                "key_id": "k",
                "wire": "openai.chat",
                "session": session,
                "trial": trial,
                "cost": cost,
                "cache": "bypass" if trial == "held" else "miss",
                "reason": "holdout" if trial == "held" else "",
                **fields,
            }
        )
        self.recorder.call(row)
        return row.request_id

    def hit(self, minute: float, session: str, origin: str, key: str = "k", saved: int = 1_000) -> str:
        at = self.start + int(minute * MINUTE)
        row = HitRow(ids.new(at), at, key, origin, 50, saved, 0, 0, False, session=session)
        self.recorder.hit(row)
        return row.request_id

    def rule(self, minute: float, share: float, *refusing: tuple[str, str]) -> None:
        values = {"at": self.start + int(minute * MINUTE), "share": share, "refusing": [list(one) for one in refusing]}
        self.traces.transact(lambda c: c.execute(tables.rule.insert().values(**values)))

    def absent(self, what: str, since: float, until: float) -> None:
        values = {"what": what, "since": self.start + int(since * MINUTE), "until": self.start + int(until * MINUTE)}
        self.traces.transact(lambda c: c.execute(tables.absence.insert().values(**values)))

    def read(self, filters: Filter = OURS, until: float = 1e4) -> Any:
        assert self.recorder.flush()
        window = Window(self.start, self.start + int(until * MINUTE))
        return self.traces.query(lambda c: holdout.read(c, window, filters))


@pytest.fixture
def book(traces: storage.Database, clock: ManualClock) -> Iterator[Book]:
    made = Book(traces, clock)
    made.rule(-1, 0.1)
    yield made
    assert made.recorder.stop() == 0


def test_tables_are_those_of_the_migration(traces: storage.Database, schema_drift: Any):
    assert schema_drift(traces, tables.traces) == []


def test_tables_of_control_are_those_of_the_migration(control: storage.Database, schema_drift: Any):
    assert schema_drift(control, tables.control) == []


def test_the_saving_is_found_and_accounting_agrees(book: Book):
    chance = random.Random(1)
    for number in range(1_000):
        held = number % 10 == 0
        first = book.call(number, f"s{number}", "held" if held else "treated", 900 + chance.randrange(200))
        for _ in range(3):
            if held:
                book.call(number + 0.1, f"s{number}", "held", 900 + chance.randrange(200))
            else:
                book.hit(number + 0.1, f"s{number}", first)
    found = book.read()
    assert (found.held.sessions, found.held.requests) == (100, 400)
    assert (found.treated.sessions, found.treated.requests) == (900, 3_600)
    # A call of four is made: three quarters of a thousand a request are saved.
    assert found.saving.low < 3_600 * 750 < found.saving.high
    assert found.saving.high - found.saving.low < 0.2 * found.saving.mean
    assert found.accounted == 2_700_000
    assert found.ratio_low < 1 < found.ratio_high
    assert found.error_reduction.low <= 0 <= found.error_reduction.high


def test_a_cache_that_costs_more_than_it_saves_is_told_as_a_loss(book: Book):
    for number in range(600):
        book.call(number, f"s{number}", "held" if number % 10 == 0 else "treated", 1_000 if number % 10 == 0 else 1_500)
    found = book.read()
    assert found.saving.high < 0
    assert found.ratio == 0


def test_fewer_errors_are_told(book: Book):
    for number in range(2_000):
        held = number % 10 == 0
        status = 502 if held and number % 30 == 0 else 200
        book.call(number / 10, f"s{number}", "held" if held else "treated", status=status)
    found = book.read()
    assert found.error_reduction.low > 0
    assert found.held.error_rate == pytest.approx(67 / 200)


def test_hits_that_take_no_part_are_left_out_and_counted(book: Book):
    origin = book.call(0, "a")
    book.hit(1, "a", origin)
    refused = book.call(1, "b", "", intent="legal")
    book.rule(5, 0.1, ("p", "legal"))
    book.hit(6, "b", refused)
    book.absent("k2", 2, 3)
    for minute in (1.5, 2.0, 2.5, 3.0):
        book.hit(minute, "c", origin, key="k2")
    only = book.hit(4, "d", origin)
    book.absent(only, 4, 4.1)
    vectors = book.call(0, "", "", wire="openai.embeddings")
    book.hit(4, "", vectors)
    book.rule(10, 0.0)
    book.hit(11, "a", origin)
    found = book.read()
    # The call of "a" and its hit, and two hits of the key that rested between them.
    assert found.treated.requests == 4
    assert found.excluded["the intent takes no part"] == 1
    assert found.excluded["near a limit, or the cache only was asked"] == 3
    assert found.saving is None
    assert "0 sessions" in found.why


def test_shares_are_strata_so_that_a_growing_hold_out_does_not_mix_times(book: Book):
    """First a tenth is held out while calls cost 1, then a half while they cost 10; the cache does nothing."""
    for number in range(1_000):
        book.call(number / 100, f"a{number}", "held" if number % 10 == 0 else "treated", 1_000)
    book.rule(20, 0.5)
    for number in range(1_000):
        book.call(20 + number / 100, f"b{number}", "held" if number % 2 == 0 else "treated", 10_000)
    found = book.read()
    assert found.saving.mean == pytest.approx(0, abs=1e-3)
    pooled = found.held.mean_cost - found.treated.mean_cost
    assert pooled > 1_000


def test_requests_without_a_session_are_clustered_by_what_they_ask(book: Book):
    for number in range(500):
        alike = f"{number:032x}"
        held = number % 5 == 0
        first = book.call(number / 100, "", "held" if held else "treated", fingerprint=alike)
        if not held:
            book.hit(10 + number / 100, "", first)
    found = book.read()
    assert (found.held.sessions, found.treated.sessions) == (100, 400)
    assert found.treated.requests == 800


def test_only_the_chosen_organization_project_and_intent_are_read(book: Book):
    for number, fields in enumerate([{}, {"org": "x"}, {"project": "x"}, {"intent": "x"}]):
        first = book.call(number, "s", **fields)
        book.hit(number + 0.5, "s", first)
    assert book.read().treated.requests == 6
    assert book.read(Filter(org="o", project="p")).treated.requests == 4
    assert book.read(Filter(org="o", intent="x")).treated.requests == 2
    assert book.read(Filter(org="nobody")).treated.requests == 0


def test_calls_without_a_price_are_counted_as_such(book: Book):
    book.call(0, "a", cost=None)
    book.call(0, "b", "held", cost=None)
    found = book.read()
    assert (found.treated.unpriced, found.held.unpriced) == (1, 1)


def test_before_any_rule_there_is_nothing_to_tell(traces: storage.Database, clock: ManualClock):
    found = traces.query(lambda c: holdout.read(c, Window(0, clock.now()), OURS))
    assert found.saving is None
    assert "Nothing was held out" in found.why


def test_of_many_treated_sessions_a_part_is_enough_for_the_spread(book: Book, monkeypatch: pytest.MonkeyPatch):
    chance = random.Random(2)
    for number in range(2_000):
        held = number % 10 == 0
        first = book.call(number, f"s{number}", "held" if held else "treated", 500 + chance.randrange(1_000))
        if not held:
            book.hit(number + 0.1, f"s{number}", first)
    whole = book.read()
    monkeypatch.setattr(holdout, "_KEPT", 180)
    part = book.read()
    assert part.saving.mean == pytest.approx(whole.saving.mean)
    assert (part.accounted, part.treated.requests) == (whole.accounted, whole.treated.requests)
    assert part.treated.sessions == pytest.approx(1_800, rel=0.3)
    assert part.saving.high - part.saving.low == pytest.approx(whole.saving.high - whole.saving.low, rel=0.2)
