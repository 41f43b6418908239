"""Forgetting somebody with 10,000 rows among 200,000 others' on both engines; and sweeping a fifth of a ledger.

Beside both a writer adds a row every 5 ms: what it waits at most is what erasing and sweeping cost others.

    make bench ARGS='--only retention'
"""

import asyncio
import runpy
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import Bench
from figures import Figure

from ostinato import access, retention, signals, traces
from ostinato.cache import Scope
from ostinato.cache.scope import user_digest
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.datasets import NewExample
from ostinato.storage import Database
from ostinato.traces.tables import ledger_loss

TESTS = Path(__file__).parents[1] / "tests"
SYSTEM = access.SystemActor("bench")
OTHERS, CALLS, HITS, EXAMPLES = 200_000, 6_000, 4_000, 1_000
WITHIN = 60.0
BLOCKED_MS = 50.0
USER = "somebody"


class Beside:
    """A writer of small rows in another thread, and how long it had to wait at most."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = threading.Event()
        self.longest = 0.0
        self.waits: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        row = ledger_loss.insert().values(at=0, writer="bench", kind="bench", rows=0)
        while not self._ended.wait(0.005):
            began = time.perf_counter()
            self._database.transact(lambda connection: connection.execute(row) and None)
            self.waits.append(time.perf_counter() - began)
            self.longest = max(self.longest, self.waits[-1])

    @property
    def p99(self) -> float:
        """What ninety-nine of a hundred rows waited at most."""
        return sorted(self.waits)[int(len(self.waits) * 0.99)] if self.waits else 0.0


async def fill(world: Any, tick: Callable[[str], None]) -> str:
    """Somebody's rows among others', a day apart; gives the project."""
    app = world.app
    project = await world.first_project()
    home = await app.access.show_project(SYSTEM, project)
    key = app.access.authenticate(world.key, world.clock.now()).key_id
    digest = user_digest(Scope(home.org_id, project, USER), app.secret)

    def call(number: int, whose: str, session: str) -> traces.CallRow:
        return traces.CallRow(
            request_id=ids.new(world.clock.now()),
            at=world.clock.now(),
            org=home.org_id,
            project=project,
            key_id=key,
            wire="openai.chat",
            alias="plain",
            target="fake/plain",
            user_digest=whose,
            session=session,
            input_text=f"a question of {number} " * 8,
            output_text="an answer " * 12,
            cost=10,
            fingerprint=f"{number:032x}",
        )

    tick(f"{OTHERS:,} rows of others'")
    for start in range(0, OTHERS, 20_000):
        for number in range(start, start + 20_000):
            app.recorder.call(call(number, f"{number % 5_000:032x}", f"s{number % 9_000}"))
        await asyncio.to_thread(app.recorder.flush)
        world.clock.advance(3_600)
    tick("somebody's")
    mine = [call(number, digest, f"mine-{number % 50}") for number in range(CALLS)]
    for row in mine:
        app.recorder.call(row)
    for number in range(HITS):
        at = world.clock.now()
        app.recorder.hit(
            traces.HitRow(ids.new(at), at, key, mine[number].request_id, 50, 10, 1, 0, False, digest, "mine-1")
        )
    await asyncio.to_thread(app.recorder.flush)
    told = [
        signals.Signal(
            id=ids.new(world.clock.now()),
            request_id=row.request_id,
            at=world.clock.now(),
            org=home.org_id,
            project=project,
            source="feedback",
            name="feedback",
            value=1.0,
            comment="it helped",
            label="good",
        )
        for row in mine
    ]
    for start in range(0, len(told), 2_000):
        app.signals.record(told[start : start + 2_000])
        await asyncio.to_thread(app.signals.flush)
    examples = [
        NewExample(
            inputs={"question": f"a question of mine, number {number}"}, reference="yes", metadata={"subject": USER}
        )
        for number in range(EXAMPLES)
    ]
    await app.datasets.create(SYSTEM, "mine", project=project, examples=examples)
    return project


async def of_engine(engine: str, extra: str, tick: Callable[[str], None]) -> list[Figure]:
    """Both figures on one engine."""
    sys.path.insert(0, str(TESTS))
    inside: Any = runpy.run_path(str(TESTS / "inside.py"))["inside"]
    async with inside(extra, clock=ManualClock()) as world:
        project = await fill(world, tick)
        room = world.app.governing.retention
        await room.stop()
        tick(f"erasing ({engine})")
        begun = await room.erase(SYSTEM, retention.Wish(user=USER, project=project))
        with Beside(world.app.ledger_database) as beside:
            start = time.perf_counter()
            await room.carry_out(begun.erasure.id)
            took = time.perf_counter() - start
        done = await room.erasure(SYSTEM, begun.erasure.id)
        stores = {one.store: one for one in done.stores}
        assert done.state == "done" and stores["ledger"].found == CALLS + HITS, done
        found = ", ".join(f"{one.store} {one.found:,}" for one in done.stores if one.found)
        erasing = Figure(
            id=f"erasure-{engine}",
            what=f"seconds to forget somebody with {CALLS + HITS:,} rows among {OTHERS:,} others' ({engine})",
            value=took,
            asked=WITHIN,
            note=f"found: {found}; a writer beside it waited {beside.longest * 1e3:.0f} ms at most",
        )
        with Beside(world.app.ledger_database) as alone:
            await asyncio.sleep(3.0)
        tick(f"sweeping ({engine})")
        await room.declare(SYSTEM, "old", retention.NewRule(keep=retention.Keep(rows=8 / 24), project=project))
        with Beside(world.app.ledger_database) as beside:
            start = time.perf_counter()
            swept = await room.sweep(SYSTEM)
            took = time.perf_counter() - start
        rows = sum(one.done for one in swept.stores)
        longest = max(one.longest_us for one in swept.stores) / 1e3
        sweeping = Figure(
            id=f"sweep-{engine}",
            what=f"milliseconds that a sweep keeps a writer waiting at most ({engine})",
            value=beside.longest * 1e3,
            asked=BLOCKED_MS,
            note=f"{rows:,} rows in {took:.1f} s; the longest transaction {longest:.1f} ms; with nothing beside it "
            f"the writer waited {alone.longest * 1e3:.0f} ms at most; of a hundred rows ninety-nine waited up to "
            f"{beside.p99 * 1e3:.0f} ms, and {alone.p99 * 1e3:.0f} ms with nothing beside it",
        )
    return [erasing, sweeping]


def measure(bench: Bench) -> list[Figure]:
    """Erasing and sweeping on both engines."""
    tick = bench.ticker("retention", 8)
    found = asyncio.run(of_engine("sqlite", "", tick))
    server: Any = runpy.run_path(str(TESTS / "conftest.py"))["Postgres"]()
    try:
        found += asyncio.run(of_engine("postgresql", f'[storage]\nurl = "{server.new_database()}"\n', tick))
    finally:
        server.remove()
    tick("")
    return found
