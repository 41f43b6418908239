"""The registry of prompts: what a prompt adds to a hit; 10,000 prompts of 20 versions on SQLite and on PostgreSQL.

Seeded in bulk, past the door, with contents that the door itself made.
"""

import asyncio
import random
import runpy
import statistics
import time
from pathlib import Path

import sqlalchemy as sa
from bench import Bench
from figures import Figure

from ostinato import access, audit, prompts, storage
from ostinato.core import ids
from ostinato.core.clock import SystemClock
from ostinato.prompts import contents, snapshot, tables, writing

TESTS = Path(__file__).parents[1] / "tests"
"""Where there is a PostgreSQL that starts by itself."""

SYSTEM = "You answer questions of customers of a bank, shortly and kindly. Product: {{product}}. Tone: {{tone}}. "
VARIABLES = {"product": "cards", "tone": "plain", "question": "Where is my card?", "name": "Ann", "language": "English"}
PAGES = 200
PROMPTS, VERSIONS = 10_000, 20


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


async def kept_in(engine: str, url: str, count: int, versions: int) -> list[Figure]:
    """The registry on one engine: the first load, a change until it is seen, list pages, a rendering."""
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
    begun, worked = time.perf_counter(), time.thread_time()
    loaded = database.query(lambda c: snapshot.load(c, prompts.PromptSnapshot()))
    took, spent = time.perf_counter() - begun, time.thread_time() - worked
    registry = prompts.Prompts(database, clock, notices, log)
    await registry.start()
    system = access.SystemActor("bench")
    try:
        seen: list[float] = []
        for number in range(min(10, count // 20)):
            begun = time.perf_counter()
            await registry.add_version(system, project.id, f"team-01/prompt-{20 * number + 1:05}", draft(versions))
            seen.append(time.perf_counter() - begun)
        p50, p95 = await pages(registry, system, project.id, count)
        rendered = rendering(registry, project.id)
    finally:
        await registry.stop()
        await notices.close()
        database.close()
    return [
        Figure(
            id=f"registry-load-{engine}",
            what=f"{engine}: snapshot of {len(loaded):,} prompts with {loaded.versions:,} versions, first load",
            value=took,
            unit="s",
            asked=2.0,
            note=f"{spent:.2f} s of CPU; a new version is seen after {1000 * statistics.median(seen):.0f} ms",
        ),
        Figure(
            id=f"registry-pages-{engine}",
            what=f"{engine}: list pages of 100, also by tag and by prefix, the worst p95",
            value=p95,
            unit="ms",
            asked=50.0,
            note=f"p50 {p50:.1f} ms",
        ),
        Figure(
            id=f"registry-render-{engine}",
            what=f"{engine}: resolve and render two messages with five variables",
            value=rendered,
            unit="us",
            note="CPU, the best of five rounds",
        ),
    ]


async def pages(registry: prompts.Prompts, actor: access.Actor, project: str, count: int) -> tuple[float, float]:
    """Milliseconds of a page from anywhere in the list: p50 and p95 of the slowest kind."""
    found: list[tuple[float, float]] = []
    for filters in (prompts.Filters(), prompts.Filters(tag="t3"), prompts.Filters(prefix="team-07/")):
        times: list[float] = []
        for _ in range(PAGES):
            after = f"team-{random.randrange(20):02}/prompt-{random.randrange(count):05}"
            begun = time.perf_counter()
            await registry.list(actor, project, filters=filters, after=after)
            times.append(1000 * (time.perf_counter() - begun))
        times.sort()
        found.append((times[PAGES // 2], times[int(0.95 * PAGES)]))
    return max(found, key=lambda one: one[1])


def rendering(registry: prompts.Prompts, project: str) -> float:
    """Microseconds of CPU for resolving and rendering one prompt, the best of five rounds."""
    resolve, reference = registry.snapshot.value.resolve, "team-05/prompt-00005"
    rounds, best = 10_000, 1.0
    for _ in range(5):
        begun = time.process_time()
        for _ in range(rounds):
            resolve(project, reference, b"session").compiled.render(VARIABLES)
        best = min(best, (time.process_time() - begun) / rounds)
    return best * 1e6


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


def measure(bench: Bench) -> list[Figure]:
    """What naming a prompt adds to a hit, and the registry at size on both engines."""
    tick = bench.ticker("registry", 3)
    tick("hits")
    raw, ordinary = asyncio.run(added_to_a_hit())
    found = [
        Figure(
            id="prompt-hit",
            what="naming a prompt adds to an exact hit on the ordinary path",
            value=ordinary,
            unit="us",
            asked=15.0,
            note=f"CPU; {raw:.1f} us to a hit by raw body",
        )
    ]
    tick("sqlite")
    place = bench.place / "registry.db"
    found += asyncio.run(kept_in("sqlite", f"sqlite:///{place}", PROMPTS, VERSIONS))
    tick("postgresql")
    server = runpy.run_path(str(TESTS / "conftest.py"))["Postgres"]()
    try:
        found += asyncio.run(kept_in("postgresql", server.new_database(), PROMPTS, VERSIONS))
    finally:
        server.remove()
    tick("")
    return found
