"""Our own calls: paid for once, kept, joined, waited for, heard out; each try in the ledger."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))

from calls_kit import asked, bench

from ostinato import calls, storage
from ostinato.calls import Budget, Exhausted, Limits, ModelAway, Spent
from ostinato.calls import tables as call_tables
from ostinato.core.clock import ManualClock
from ostinato.core.errors import NotFound, UpstreamFailed
from ostinato.jobs import tables as job_tables
from ostinato.providers.model import ProviderFailure


def down(failure: str = "server", **more: object) -> ProviderFailure:
    return ProviderFailure("away", failure=failure, **more)  # pyright: ignore


async def until(condition: Callable[[], bool], clock: ManualClock | None = None, step: float = 1.0) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.001)
        if clock is not None:
            clock.advance(step)
    raise AssertionError("it never comes to be")


async def test_paid_for_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        budget = Budget(Limits(calls=3))
        first = await room.ask("a", budget)
        again = await room.ask("a", budget)
        assert (first.paid, again.paid) == (True, False)
        assert (first.text, first.usage, first.cost, first.answer) == (
            again.text,
            again.usage,
            again.cost,
            again.answer,
        )
        assert first.text == "re: a" and first.finish == "stop" and first.target == "fake/m"
        assert budget.spent.calls == 1
        await room.ask("a", budget, replicate=1)
        await room.ask("a", budget, namespace="other")
        assert len(room.provider.asked) == 3
        with pytest.raises(Exhausted):
            await room.ask("b", budget)
        assert (await room.ask("a", budget)).paid is False, "what is in the journal costs nothing"


async def test_a_new_process_finds_it(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        first = await room.ask("a")
    async with bench(tmp_path) as room:
        again = await room.ask("a")
        assert not again.paid and again.answer == first.answer and not room.provider.asked
        assert (await room.calls.journal("run")).calls == 1
        assert await room.calls.journal("nothing") == Spent()


async def test_equal_calls_join(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        room.provider.latency = 0.01
        budgets = [Budget(Limits(calls=1)) for _ in range(10)]
        told = await asyncio.gather(*(room.ask("a", budget) for budget in budgets))
        assert len(room.provider.asked) == 1
        assert [one.paid for one in told] == [True] + [False] * 9
        assert sum(budget.spent.calls for budget in budgets) == 1


async def test_anothers_empty_purse_is_not_mine(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        poor, rich = Budget(Limits(calls=0)), Budget(Limits(calls=1))
        told = await asyncio.gather(room.ask("a", poor), room.ask("a", rich), return_exceptions=True)
        assert isinstance(told[0], Exhausted)
        assert isinstance(told[1], calls.Called) and told[1].paid


async def test_whoever_leaves_the_answer_is_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock) as room:
        room.provider.latency = 10.0
        budget = Budget(Limits(calls=5))
        task = asyncio.create_task(room.ask("a", budget))
        await until(lambda: room.provider.open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        clock.advance(10.0)
        await until(lambda: room.calls.open == 0)
        assert budget.spent.calls == 1 and budget.reserved == Spent()
        assert not (await room.ask("a", budget)).paid


async def test_whoever_leaves_before_it_is_sent_has_spent_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock, settings=calls.Settings(concurrency=1)) as room:
        room.provider.latency = 10.0
        budget = Budget(Limits(calls=5))
        first = asyncio.create_task(room.ask("a", budget))
        await until(lambda: room.provider.open == 1)
        second = asyncio.create_task(room.ask("b", budget))
        await until(lambda: room.calls.open == 2)
        second.cancel()
        await until(lambda: room.calls.open == 1)
        clock.advance(10.0)
        await first
        assert room.provider.asked == ["a"] and budget.spent.calls == 1


async def test_in_the_order_of_asking(tmp_path: Path) -> None:
    """Equal beginnings of prompts follow one another: a provider's prefix cache lives on that."""
    async with bench(tmp_path, settings=calls.Settings(concurrency=2)) as room:
        room.provider.latency = 0.0005
        texts = [f"{n}" for n in range(60)]
        await asyncio.gather(*(room.ask(text) for text in texts))
        assert room.provider.most_open == 2
        places = [room.provider.asked.index(text) for text in texts]
        assert all(abs(place - number) <= 1 for number, place in enumerate(places))


async def test_rows_that_come_together_are_committed_together(tmp_path: Path) -> None:
    async with bench(tmp_path, settings=calls.Settings(concurrency=64)) as room:
        await asyncio.gather(*(room.ask(f"{n}") for n in range(200)))
        journal = room.calls._journal
        assert journal.rows == 200
        assert journal.commits < 100


async def test_a_model_that_goes_away_for_ten_minutes(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock) as room:
        away_until = clock.monotonic() + 600
        room.provider.fail = lambda _n: down() if clock.monotonic() < away_until else None
        budget = Budget(Limits(calls=20))
        task = asyncio.gather(*(room.ask(f"{n}", budget) for n in range(20)))
        await until(task.done, clock, 1.0)
        assert all(one.paid for one in task.result())
        assert budget.spent == room.provider.billed
        assert len(room.provider.asked) < 150, "asked again gently"


async def test_a_model_that_stays_away(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock, settings=calls.Settings(patience=60)) as room:
        room.provider.fail = lambda _n: down("network")
        budget = Budget(Limits(calls=5))
        task = asyncio.create_task(room.ask("a", budget))
        await until(task.done, clock, 1.0)
        with pytest.raises(ModelAway, match="has not answered"):
            task.result()
        assert budget.spent == Spent() and budget.reserved == Spent()
        room.provider.fail = lambda _n: None
        again = asyncio.create_task(room.ask("a", budget))
        await until(again.done, clock, 10.0)
        assert again.result().paid


async def test_refusals_are_told_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        room.provider.fail = lambda _n: down("request", upstream_status=400)
        with pytest.raises(ProviderFailure):
            await room.ask("a")
        assert len(room.provider.asked) == 1
        with pytest.raises(NotFound):
            await room.ask("a", alias="nobody")
        assert await room.calls.journal("run") == Spent()


async def test_what_was_not_heard_counts_in_full(tmp_path: Path) -> None:
    async with bench(tmp_path, settings=calls.Settings(backoff=0.001)) as room:
        room.provider.fail = lambda n: down("timeout") if n == 1 else None
        budget = Budget(Limits(calls=5))
        told = await room.ask("a", budget)
        most = calls.estimate(asked("a").request, 50)
        assert budget.spent.calls == 2
        assert budget.spent.tokens == told.usage.total + most
        assert await room.calls.journal("run") == budget.spent


async def test_a_row_for_every_try(tmp_path: Path) -> None:
    async with bench(tmp_path, settings=calls.Settings(backoff=0.001)) as room:
        room.provider.fail = lambda n: down() if n == 1 else None
        told = await room.ask("a", prompt="support", prompt_version=3, intent="help")
        failed, row = room.rows
        assert (failed.status, failed.error, failed.cost) == (502, "upstream_server", None)
        assert (row.status, row.cost, row.cache, row.reason) == (200, told.cost, "bypass", "loop")
        assert row.tags == "loop:search,run:run" and row.key_id == ""
        assert (row.org, row.project, row.prompt, row.prompt_version, row.intent) == ("o", "p", "support", 3, "help")
        await room.ask("a")
        assert len(room.rows) == 2, "what is in the journal is no call"


async def test_too_large_an_answer_is_paid_and_not_kept(tmp_path: Path) -> None:
    async with bench(tmp_path, settings=calls.Settings(largest_answer=10)) as room:
        budget = Budget(Limits(calls=1))
        with pytest.raises(UpstreamFailed) as told:
            await room.ask("a", budget)
        assert told.value.code == "answer_too_large"
        assert budget.spent.calls == 1 == (await room.calls.journal("run")).calls


async def test_erasure_keeps_the_costs(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        await room.ask("a", example="e1")
        await room.ask("b", example="e2")
        spent = await room.calls.journal("run")
        assert await room.calls.erase(example="e1") == 1
        assert await room.calls.journal("run") == spent
        assert not (await room.ask("b", example="e2")).paid
        assert (await room.ask("a", example="e1")).paid, "asked again, it is paid again"
        assert await room.calls.erase(namespace="run") == 2


async def test_a_prompt_without_a_bound_gets_one(tmp_path: Path) -> None:
    async with bench(tmp_path, settings=calls.Settings(answer_tokens=7)) as room:
        seen: list[int | None] = []
        usage = room.provider.told

        def told(call):
            seen.append(call.request.max_tokens)
            return usage(call)

        room.provider.told = told
        await room.ask("a", max_tokens=None)
        assert seen == [7]


async def test_stop_hears_out_what_was_sent(tmp_path: Path) -> None:
    async with bench(tmp_path, settings=calls.Settings(concurrency=1)) as room:
        room.provider.latency = 0.05
        tasks = [asyncio.create_task(room.ask(text)) for text in ("a", "b")]
        await until(lambda: room.provider.open == 1)
        await room.calls.stop()
        assert (await tasks[0]).paid
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        assert room.provider.asked == ["a"]


def test_tables_are_what_the_revisions_made(
    database_url: str, schema_drift: Callable[[storage.Database, sa.MetaData], list]
) -> None:
    database = storage.open_database("work", database_url)
    try:
        storage.migrate(database)
        assert schema_drift(database, call_tables.metadata) == []
        assert schema_drift(database, job_tables.metadata) == []
        storage.downgrade(database, "base")
    finally:
        database.close()
