"""Durable jobs: phases in order, each once; gone on with after a stop, a crash, in another process."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ostinato import storage
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import Conflict, Invalid, NotFound, Unavailable
from ostinato.jobs import Jobs, JobState, Settings
from ostinato.jobs.leases import Leases

QUICK = Settings(polling=0.05, lease=2.0)


class Bench:
    """Jobs of a few sorts, and what they have done."""

    def __init__(self, where: Path | str, executor: str = "one", leases: storage.Database | None = None) -> None:
        self.done: list[tuple[str, str]] = []
        self.held = asyncio.Event()
        self.jobs = Jobs(where, SystemClock(), executor, settings=QUICK, leases=leases)
        self.jobs.register("two", {"first": self.mark("first"), "second": self.mark("second")})
        self.jobs.register("held", {"first": self.mark("first"), "hold": self.hold, "last": self.mark("last")})
        self.jobs.register("bad", {"first": self.mark("first"), "bad": self.bad})

    def mark(self, phase: str) -> Callable[[str], Awaitable[str]]:
        async def work(subject: str) -> str:
            self.done.append((phase, subject))
            return "{}"

        return work

    async def hold(self, subject: str) -> str:
        self.done.append(("hold", subject))
        await self.held.wait()
        return "{}"

    async def bad(self, subject: str) -> str:
        self.done.append(("bad", subject))
        if subject == "secret":
            raise ValueError(subject)
        raise Invalid("It does not work.", code="not_so", hint="Do it otherwise.")


@contextlib.asynccontextmanager
async def bench(where: Path | str, executor: str = "one", **more: storage.Database | None) -> AsyncIterator[Bench]:
    made = Bench(where, executor, **more)
    await made.jobs.start()
    try:
        yield made
    finally:
        await made.jobs.stop()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never comes to be")


async def test_phases_in_order_and_once(tmp_path: Path) -> None:
    async with bench(tmp_path / "jobs.db") as room:
        job = await room.jobs.enqueue("two", "x", key="1")
        assert await room.jobs.wait(job) == JobState(id=job, name="two", subject="x", state="done", attempts=1)
        assert await room.jobs.enqueue("two", "x", key="1") == job
        other = await room.jobs.enqueue("two", "x", key="2")
        await room.jobs.wait(other)
        assert room.done == [("first", "x"), ("second", "x")] * 2
        assert (tmp_path / "jobs.db").stat().st_mode & 0o777 == 0o600


async def test_failures_are_told(tmp_path: Path) -> None:
    async with bench(tmp_path / "jobs.db") as room:
        told = await room.jobs.wait(await room.jobs.enqueue("bad", "x", key="1"))
        assert (told.state, told.error, told.code) == ("failed", "It does not work. Do it otherwise.", "not_so")
        assert told.phase == "bad"
        told = await room.jobs.wait(await room.jobs.enqueue("bad", "secret", key="2"))
        assert "ValueError" in told.error and "secret" not in told.error
        await room.jobs.resume(told.id)
        assert (await room.jobs.wait(told.id)).state == "failed"
        assert room.done.count(("first", "secret")) == 1, "a phase that has ended is not run again"


async def test_cancel(tmp_path: Path) -> None:
    async with bench(tmp_path / "jobs.db") as room:
        job = await room.jobs.enqueue("held", "x", key="1")
        await until(lambda: ("hold", "x") in room.done)
        assert (await room.jobs.state(job)).phase == "hold"
        await room.jobs.cancel(job)
        await until(lambda: not room.jobs.running)
        assert (await room.jobs.state(job)).state == "cancelled"
        room.held.set()
        await room.jobs.resume(job)
        assert (await room.jobs.wait(job)).state == "done"
        assert room.done == [("first", "x"), ("hold", "x"), ("hold", "x"), ("last", "x")]


async def test_a_stop_is_no_failure(tmp_path: Path) -> None:
    async with bench(tmp_path / "jobs.db") as room:
        job = await room.jobs.enqueue("held", "x", key="1")
        await until(lambda: ("hold", "x") in room.done)
    async with bench(tmp_path / "jobs.db") as room:
        room.held.set()
        told = await room.jobs.wait(job)
        assert (told.state, told.attempts) == ("done", 2)
        assert room.done == [("hold", "x"), ("last", "x")]


async def test_nothing_is_opened_before_the_first_job(tmp_path: Path) -> None:
    async with bench(tmp_path / "jobs.db") as room:
        await asyncio.sleep(0.05)
        assert not (tmp_path / "jobs.db").exists()
        with pytest.raises(NotFound):
            await room.jobs.state("two:1")


async def test_two_in_one_process(tmp_path: Path) -> None:
    """The second can start and look at jobs at once, and runs them when the first has ended."""
    async with bench(tmp_path / "two.db") as second:
        async with bench(tmp_path / "one.db") as first:
            await first.jobs.wait(await first.jobs.enqueue("two", "x", key="1"))
            job = await second.jobs.enqueue("two", "y", key="1")
            assert (await second.jobs.state(job)).state == "queued"
        assert (await second.jobs.wait(job)).state == "done"
        assert second.done == [("first", "y"), ("second", "y")]
        assert first.done == [("first", "x"), ("second", "x")]


async def test_bad_input(tmp_path: Path) -> None:
    async with bench(tmp_path / "jobs.db") as room:
        with pytest.raises(Invalid):
            await room.jobs.enqueue("unknown", "x", key="1")
        with pytest.raises(Conflict):
            room.jobs.register("late", {"a": room.mark("a")})
    off = Jobs(tmp_path / "off.db", SystemClock(), "one", settings=Settings(enabled=False))
    off.register("a", {"a": room.mark("a")})
    await off.start()
    with pytest.raises(Unavailable) as told:
        await off.enqueue("a", "x", key="1")
    assert told.value.code == "jobs_off"
    await off.stop()


async def test_a_database_that_is_away(tmp_path: Path) -> None:
    jobs = Jobs(
        "postgresql://nobody@127.0.0.1:1/none", SystemClock(), "one", settings=Settings(opening=0.5, polling=0.05)
    )
    jobs.register("a", {"a": Bench(tmp_path / "x.db").mark("a")})
    await jobs.start()
    with pytest.raises(Unavailable) as told:
        await jobs.enqueue("a", "x", key="1")
    assert told.value.code == "jobs_not_ready"
    await jobs.stop()


async def test_the_dead_are_found_without_comparing_clocks(database_url: str) -> None:
    work = storage.open_database("work", database_url)
    storage.migrate(work)
    try:
        clock = ManualClock()
        one, two = Leases(work, clock, "one", 30), Leases(work, clock, "two", 30)
        assert await one.beat() and await two.beat()
        assert await one.dead() == []
        for _ in range(5):
            clock.advance(10)
            await two.beat()
            assert await one.dead() == []
        clock.advance(29)
        assert await one.dead() == []
        clock.advance(1)
        assert await one.dead() == ["two"]
        await one.bury("two")
        assert await one.dead() == []
        assert not await two.beat(), "it learns that it was held to be dead"
        assert await two.beat()
    finally:
        work.close()


async def test_another_process_goes_on_for_a_dead_one(postgres_url: str, tmp_path: Path) -> None:
    """Scaled out: SIGKILL of the process that works; the other one ends the job, without the phase that had ended."""
    work = storage.open_database("work", postgres_url)
    storage.migrate(work)
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).parent / "child.py"), postgres_url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), 30) == b"holding\n"
        async with bench(postgres_url, "other", leases=work) as room:
            room.held.set()
            assert (await room.jobs.state("held:1")).state == "running"
            child.kill()
            await child.wait()
            told = await asyncio.wait_for(room.jobs.wait("held:1"), 30)
            assert (told.state, told.attempts) == ("done", 2)
            assert room.done == [("hold", "x"), ("last", "x")]
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        work.close()


@pytest.mark.parametrize("rounds", range(4))
async def test_a_cancellation_in_the_moment_that_work_is_ready_is_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    """Else a loop that waits for durable work, and is told to end, goes on, and the process never stops."""
    async with bench(tmp_path / "jobs.db") as one:
        monkeypatch.setattr(one.jobs, "_open", lambda: None)
        waiting = asyncio.create_task(one.jobs.enqueue("two", "s", key="k"))
        await asyncio.sleep(0.01)
        monkeypatch.setattr(one.jobs._engine, "enqueue", lambda *_: None)
        one.jobs._ready.set()
        for _ in range(rounds):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting
