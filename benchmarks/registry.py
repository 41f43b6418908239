"""The registry at size: 10,000 prompts of 20 versions, on SQLite and on PostgreSQL.

``python benchmarks/registry.py [--prompts N] [--versions N] [--engine sqlite|postgresql]`` prints a table: the first
load of the snapshot, a reload after one change, list pages, and resolve + render. Seeded in bulk, past the door, with
contents that the door itself made.
"""

import argparse
import asyncio
import random
import runpy
import statistics
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from ostinato import access, audit, prompts, storage
from ostinato.core import ids
from ostinato.core.clock import SystemClock
from ostinato.prompts import contents, snapshot, tables, writing

TESTS = Path(__file__).parents[1] / "tests"
"""Where there is a PostgreSQL that starts by itself."""

SYSTEM = "You answer questions of customers of a bank, shortly and kindly. Product: {{product}}. Tone: {{tone}}. "
VARIABLES = {"product": "cards", "tone": "plain", "question": "Where is my card?", "name": "Ann", "language": "English"}
PAGES = 200


def draft(number: int) -> prompts.Draft:
    """A chat prompt of five variables and about a kilobyte."""
    system = SYSTEM + f"Rule {number}. " + "Never promise what the terms do not say. " * 12
    user = "{{question}}\n\nThe customer is called {{name}} and writes {{language}}."
    turns = (prompts.Turn("system", system), prompts.Turn("user", user))
    return prompts.Draft(messages=turns, params={"model": "small", "temperature": 0})


def seed(connection: sa.Connection, project: access.Project, count: int, versions: int, now: int) -> None:
    """``count`` prompts, each with ``versions`` versions and a label."""
    made = [writing.build(connection, "", "chat", project.id, draft(number)) for number in range(versions)]
    encoded = [contents.encode(content) for content in made]
    digests = [contents.digest(text) for text in encoded]
    by = "system:bench"
    for start in range(0, count, 500):
        rows = [(ids.new(now), f"team-{n % 20:02}/prompt-{n:05}") for n in range(start, min(start + 500, count))]
        common = {"org_id": project.org_id, "project_id": project.id, "kind": "chat", "description": "", "intent": ""}
        common |= {"latest": versions, "created_at": now, "created_by": by, "version": 1, "revision": 1}
        connection.execute(
            tables.prompt.insert(),
            [{**common, "id": i, "name": name, "tags": [f"t{start % 7}"]} for i, name in rows],
        )
        told = {"message": "", "source": "import", "author": by, "created_by": by, "created_at": now, "findings": []}
        connection.execute(
            tables.prompt_version.insert(),
            [
                {**told, "prompt_id": i, "number": k + 1, "digest": digests[k], "content": encoded[k], "parent": k}
                for i, _ in rows
                for k in range(versions)
            ],
        )
        pointing = {"label": "production", "number": versions, "release": "", "assigned_at": now, "assigned_by": by}
        connection.execute(
            tables.prompt_assignment.insert(), [{**pointing, "prompt_id": i, "version": 1} for i, _ in rows]
        )


async def measure(engine: str, url: str, count: int, versions: int) -> list[tuple[str, str]]:
    """What is measured, and the figures."""
    clock = SystemClock()
    database = storage.open_database("control", url)
    storage.migrate(database)
    notices = storage.Notices(database)
    await notices.start()
    log = audit.Log(database, clock, notices, secret=b"b" * 32)
    door = access.Access(database, notices, clock, log=log)
    _, project, _ = await door.first_start()
    database.transact(lambda c: seed(c, project, count, versions, clock.now()))
    if engine == "postgresql":
        database.transact(lambda c: c.exec_driver_sql("ANALYZE"))
    found: list[tuple[str, str]] = []
    begun, worked = time.perf_counter(), time.thread_time()
    loaded = database.query(lambda c: snapshot.load(c, prompts.PromptSnapshot()))
    took = f"{time.perf_counter() - begun:.2f} s, {time.thread_time() - worked:.2f} s of CPU"
    found.append((f"first load, {len(loaded):,} prompts, {loaded.versions:,} versions", took))
    registry = prompts.Prompts(database, clock, notices, log)
    await registry.start()
    system = access.SystemActor("bench")
    for what, change in (("reload where nothing changed", False), ("add a version, until the snapshot has it", True)):
        times: list[float] = []
        worked = time.process_time()
        for number in range(10):
            begun = time.perf_counter()
            if change:
                await registry.add_version(system, project.id, f"team-01/prompt-{20 * number + 1:05}", draft(versions))
            else:
                await registry.snapshot.reload()
            times.append(time.perf_counter() - begun)
        cpu = (time.process_time() - worked) / 10
        found.append((what, f"p50 {1000 * statistics.median(times):.1f} ms, {1000 * cpu:.1f} ms of CPU"))
    found += await pages(registry, system, project.id, count)
    found += rendering(registry, project.id)
    await registry.stop()
    await notices.close()
    database.close()
    return found


async def pages(registry: prompts.Prompts, actor: access.Actor, project: str, count: int) -> list[tuple[str, str]]:
    """Pages of 100 from anywhere in the list."""
    found = []
    kinds = {
        "list page of 100": prompts.Filters(),
        "list page of 100, by tag": prompts.Filters(tag="t3"),
        "list page of 100, by prefix": prompts.Filters(prefix="team-07/"),
    }
    for what, filters in kinds.items():
        times = []
        for _ in range(PAGES):
            after = f"team-{random.randrange(20):02}/prompt-{random.randrange(count):05}"
            begun = time.perf_counter()
            await registry.list(actor, project, filters=filters, after=after)
            times.append(time.perf_counter() - begun)
        times.sort()
        found.append((what, f"p50 {1000 * times[PAGES // 2]:.1f} ms, p95 {1000 * times[int(0.95 * PAGES)]:.1f} ms"))
    return found


def rendering(registry: prompts.Prompts, project: str) -> list[tuple[str, str]]:
    """Resolve and render one prompt of two messages and five variables; CPU time, the best of five rounds."""
    resolve, reference = registry.snapshot.value.resolve, "team-05/prompt-00005"
    rounds, best = 10_000, 1.0
    for _ in range(5):
        begun = time.process_time()
        for _ in range(rounds):
            resolve(project, reference, b"session").compiled.render(VARIABLES)
        best = min(best, (time.process_time() - begun) / rounds)
    return [("resolve + render, two messages, five variables", f"{best * 1e6:.2f} us of CPU")]


async def added_to_a_hit(rounds: int = 7, count: int = 2_000) -> tuple[float, float]:
    """Microseconds of CPU that naming a prompt adds to a hit: by raw body, and where that look-up is left out."""
    kit = runpy.run_path(str(TESTS / "inside.py"))
    chat, system = kit["CHAT"], kit["SYSTEM"]
    turns = (prompts.Turn("system", SYSTEM + "{{name}}, {{language}}."), prompts.Turn("user", "{{question}}"))
    async with kit["inside"](clock=SystemClock()) as world:
        key = await world.new_key(permissions=frozenset({"chat:call", "prompts:call"}))
        draft = prompts.Draft(messages=turns, params={"model": "plain"})
        await world.app.prompts.create(system, await world.first_project(), "hit", draft=draft)
        told = [{"role": turn.role, "content": filled(turn.template)} for turn in turns]
        bodies = {
            "prompt": {"model": "prompt:hit@1", "prompt": {"variables": VARIABLES}},
            "messages": {"model": "plain", "messages": told},
        }
        best: dict[tuple[str, bool], float] = {}
        for name, raw in [(name, raw) for _ in range(rounds) for name in bodies for raw in (True, False)]:
            await world.ask(chat, bodies[name], key=key, raw=raw)
            begun = time.process_time()
            for _ in range(count):
                got = await world.ask(chat, bodies[name], key=key, raw=raw)
            spent = (time.process_time() - begun) / count * 1e6
            assert got.cache == "hit-exact", got.headers
            best[name, raw] = min(spent, best.get((name, raw), spent))
    return tuple(best["prompt", raw] - best["messages", raw] for raw in (True, False))  # pyright: ignore[reportReturnType] - two


def filled(template: str) -> str:
    """A plain template with the variables in it."""
    for name, value in VARIABLES.items():
        template = template.replace("{{" + name + "}}", value)
    return template


def main() -> None:
    """Print a table for each engine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], action="append")
    wanted = parser.parse_args()
    raw, ordinary = asyncio.run(added_to_a_hit())
    print(f"\nnaming a prompt adds to a hit: {raw:.1f} us of CPU by raw body, {ordinary:.1f} us by fingerprint")
    for engine in wanted.engine or ["sqlite", "postgresql"]:
        print(f"\n{engine}")
        with tempfile.TemporaryDirectory() as directory:
            if engine == "sqlite":
                url = f"sqlite:///{directory}/control.db"
                rows = asyncio.run(measure(engine, url, wanted.prompts, wanted.versions))
            else:
                server = runpy.run_path(str(TESTS / "conftest.py"))["Postgres"]()
                try:
                    rows = asyncio.run(measure(engine, server.new_database(), wanted.prompts, wanted.versions))
                finally:
                    server.remove()
        for what, figure in rows:
            print(f"  {what:<52} {figure}")


if __name__ == "__main__":
    main()
