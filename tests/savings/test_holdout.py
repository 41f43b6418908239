"""The estimate from the ledger's rows, on both engines: one population on both sides, and whom it leaves out."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ostinato import savings, storage
from ostinato.access.model import Caller
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.savings import estimate, holdout, tables
from ostinato.traces import CallRow, Filter, HitRow, Ledger, Recorder, Settings, Window

MINUTE = 60_000_000
OURS = Filter(org="o")


class Book:
    """Writes rows of the ledger, and what the room remembers beside them."""

    def __init__(self, traces: storage.Database, clock: ManualClock) -> None:
        self.traces = traces
        self.start = clock.now()
        self.clock = clock
        self.recorder = Recorder(traces, clock, Settings())
        self.recorder.draws = self.lottery = savings.Lottery(savings.Settings(holdout_share=0.1), b"s" * 32)
        self.share = 0.1

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

    def obey(self, share: float) -> None:
        """Another share from now on: rows so far were of the one before."""
        assert self.recorder.flush()
        self.lottery.obey(share)
        self.share = share

    def read(self, filters: Filter = OURS, until: float = 1e4, since: float = 0) -> Any:
        assert self.recorder.flush()
        window = Window(self.start + int(since * MINUTE), self.start + int(until * MINUTE))
        self.clock.jump(max(0.0, (window.until - self.clock.now()) / 1e6))
        ledger = Ledger(self.traces, self.clock)
        return asyncio.run(holdout.read(ledger, window, filters, self.share))


@pytest.fixture
def book(traces: storage.Database, clock: ManualClock) -> Iterator[Book]:
    made = Book(traces, clock)
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
    assert found.treated.requests == 3_600
    assert found.treated.sessions == pytest.approx(900, rel=0.3)  # of more than 128, an estimate
    # A call of four is made: three quarters of a thousand a request are saved.
    assert found.saving.low < 3_600 * 750 < found.saving.high
    assert found.saving.high - found.saving.low < 0.2 * found.saving.mean
    assert found.accounted == 2_700_000
    assert found.ratio_low < 1 < found.ratio_high
    assert found.error_reduction.low < 0 < found.error_reduction.high


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
    book.lottery.refuses = lambda project, intent: (project, intent) == ("p", "legal")
    refused = book.call(1, "b", "", intent="legal")
    book.hit(6, "b", refused)
    resting = Caller(key_id="k2", key_prefix="", org="o", project="p", accounts=())
    assert book.lottery.rests(resting, 100, 1, book.start + 2 * MINUTE)
    until = book.lottery._rests["k2"][-1][1]
    for at in (book.start + MINUTE, book.start + 2 * MINUTE, until - 1, until):
        book.hit((at - book.start) / MINUTE, "c", origin, key="k2")
    book.lottery.leave_out(book.hit(4, "d", origin))
    vectors = book.call(0, "", "", wire="openai.embeddings")
    book.hit(4, "", vectors)
    book.obey(0.0)
    book.hit(11, "a", origin)
    found = book.read()
    # The call of "a" and its hit, and two hits of the key that rested between them.
    assert found.treated.requests == 4
    assert found.excluded["the intent takes no part"] == 1
    assert found.excluded["near a limit, or the cache only was asked"] == 3
    assert found.saving is None
    assert "0 sessions" in found.why


def test_a_stale_answer_after_a_failed_call_is_one_request_and_no_error(book: Book):
    origin = book.call(0, "a")
    book.call(5, "a", cost=None, status=502, error="upstream_failed")
    book.lottery.stand_in(book.hit(5, "a", origin))
    found = book.read()
    assert (found.treated.requests, found.treated.error_rate, found.treated.mean_cost) == (2, 0.0, 500)


def test_embeddings_are_on_neither_side(book: Book):
    first = book.call(0, "a", "", wire="openai.embeddings")
    book.hit(1, "a", first)
    book.hit(2, "b", first)
    found = book.read()
    assert (found.held.requests, found.treated.requests, found.accounted, found.excluded) == (0, 0, 0, {})


def test_what_is_remembered_of_absences_is_bounded_and_forgotten(book: Book):
    lottery = book.lottery
    late = ids.new(book.start + 60 * MINUTE)
    for name in (ids.new(book.start), late):
        lottery.leave_out(name)
    lottery.forget(book.start + 65 * MINUTE)
    assert [lottery.was_absent(name, "k", 0) for name in (late, ids.new(book.start))] == [True, False]
    assert set(lottery._out) == {late}


def test_shares_are_strata_so_that_a_growing_hold_out_does_not_mix_times(book: Book):
    """First a tenth is held out while calls cost 1, then a half while they cost 10; the cache does nothing."""
    for number in range(1_000):
        book.call(number / 100, f"a{number}", "held" if number % 10 == 0 else "treated", 1_000)
    book.obey(0.5)
    for number in range(1_000):
        book.call(20 + number / 100, f"b{number}", "held" if number % 2 == 0 else "treated", 10_000)
    found = book.read()
    assert found.saving.mean == pytest.approx(0, abs=1e-3)
    pooled = found.held.mean_cost - found.treated.mean_cost
    assert pooled > 1_000


@pytest.mark.parametrize("session", ["s", ""])
def test_rows_that_waited_while_the_share_changed_are_of_the_share_they_were_drawn_at(book: Book, session: str):
    for share, begin in ((0.1, 0), (0.5, 20), (0.0, 40), (0.3, 60)):
        if begin:
            book.lottery.obey(share, book.start + begin * MINUTE)  # and nothing was written yet
        origin = book.call(begin + 1, session, "" if share == 0.0 else "treated", fingerprint=f"{begin:032x}")
        book.call(begin + 2, "h", "" if share == 0.0 else "held")
        for minute in range(3, 13):
            book.hit(begin + minute, session, origin)
    assert book.recorder.flush()
    query = "SELECT stratum, side, SUM(requests) FROM trial WHERE grain = 3600 GROUP BY stratum, side"
    rows = book.traces.query(lambda connection: connection.exec_driver_sql(query).all())
    strata = {(stratum, side): int(count) for stratum, side, count in rows}
    assert strata == {(share, side): n for share in ("0.1", "0.5", "0.3") for side, n in (("treated", 11), ("held", 1))}


def test_only_so_many_changes_of_the_share_are_remembered():
    lottery = savings.Lottery(savings.Settings(holdout_share=0.1), b"s" * 32)
    for number in range(1, 40):
        lottery.obey(number / 100, number * MINUTE)
    assert len(lottery._shares) == 16
    assert lottery.stratum(39 * MINUTE + 5) == ("0.39", 39 * MINUTE, 1 << 62)
    assert lottery.stratum(30 * MINUTE) == ("0.3", 30 * MINUTE, 31 * MINUTE)
    assert lottery.stratum(5)[0] == "0.24"  # the oldest that is known
    lottery.obey(0.0)
    assert not lottery.holds_any and lottery.stratum(30 * MINUTE)[0] == ""


def test_requests_without_a_session_are_clustered_by_what_they_ask(book: Book):
    for number in range(500):
        alike = f"{number:016x}" * 2
        held = number % 5 == 0
        first = book.call(number / 100, "", "held" if held else "treated", fingerprint=alike)
        if not held:
            book.hit(10 + number / 100, "", first)
    found = book.read()
    assert found.held.sessions == 100
    assert found.treated.sessions == pytest.approx(400, rel=0.3)
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


def test_while_nothing_is_held_out_there_is_nothing_to_tell(book: Book):
    book.obey(0.0)
    book.hit(1, "a", book.call(0, "a", ""))
    found = book.read()
    assert (found.saving, found.treated.requests, found.share) == (None, 0, 0.0)
    assert "Nothing was held out" in found.why


def test_sums_of_two_writers_over_hours_are_those_of_their_sessions(book: Book, traces: storage.Database):
    """The same conversations in two processes and three hours: requests and money to the last unit, sessions once."""
    other = Book(traces, book.clock)
    for number in range(60):
        for hour, one in enumerate((book, other, book)):
            held = number % 3 == 0
            one.call(60 * hour + number / 20, f"s{number}", "held" if held else "treated", 1_000 + number)
    assert other.recorder.flush()
    found = book.read()
    assert (found.held.sessions, found.held.requests) == (20, 60)
    assert (found.treated.sessions, found.treated.requests) == (40, 120)
    assert found.held.mean_cost == pytest.approx(1_000 + sum(range(0, 60, 3)) / 20)
    assert book.read(since=60, until=66).held.requests == 20
    assert other.recorder.stop() == 0


def test_the_spread_over_groups_is_that_over_sessions(book: Book):
    chance = random.Random(2)
    sides: dict[str, list[tuple[int, int]]] = {"held": [], "treated": []}
    for number in range(4_000):
        side = "held" if number % 4 == 0 else "treated"
        costs = [500 + chance.randrange(1_000) for _ in range(1 + number % 3)]
        for cost in costs:
            book.call(number / 10, f"s{number}", side, cost)
        sides[side].append((len(costs), sum(costs)))
    found = book.read()
    held, treated = estimate.ratio(sides["held"]), estimate.ratio(sides["treated"])
    exact = estimate.difference(held, treated, treated)
    assert exact is not None
    n = treated.requests
    assert found.saving.mean == pytest.approx(n * exact.mean)
    assert found.treated.sessions == pytest.approx(3_000, rel=0.3)
    assert found.saving.high - found.saving.low == pytest.approx(n * (exact.high - exact.low), rel=0.35)
