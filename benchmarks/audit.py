"""How fast the audit log is written, exported, and verified by somebody who has nothing but the bundle."""

import asyncio
import time
from pathlib import Path

from bench import Bench
from figures import Figure

from ostinato import audit, storage, verify
from ostinato.core.clock import SystemClock

_AT_ONCE = 1_000
LEAVES = 100_000


def deed(number: int) -> audit.Deed:
    return audit.Deed(
        actor=f"key:{number % 100:032x}",
        principal=f"principal:{number % 20:032x}",
        action="prompts:write",
        resource=f"prompt:{number % 7:032x}/support-{number % 1000}",
        org="0" * 32,
        project="1" * 32,
        after={"digest": f"{number:064x}"},
        facts={"version": number},
    )


async def speeds(leaves: int, place: Path) -> dict[str, float]:
    """Leaves per second of each step; the bundle stays in ``place``. A checkpoint for every thousand leaves."""
    directory = storage.DataDirectory(place)
    directory.prepare()
    database = storage.open_database("control", directory.control)
    storage.migrate(database)
    log = audit.Log(database, SystemClock(), secret=b"s" * 32)
    await log.open(directory)
    try:
        began = time.perf_counter()
        for at in range(0, leaves, _AT_ONCE):
            chosen = [deed(number) for number in range(at, min(at + _AT_ONCE, leaves))]
            await database.run(lambda connection, some=chosen: log.append_all(connection, some))
            await log.checkpoint()
        written = time.perf_counter()
        bundle = place / "bundle.jsonl"
        with bundle.open("wb") as file:
            async for chunk in await log.export():
                file.write(chunk)
        exported = time.perf_counter()
    finally:
        database.close()
    report = verify.verify(bundle)
    assert report.valid, report.problems
    assert report.end == leaves + 1
    verified = time.perf_counter()
    return {
        "appended": leaves / (written - began),
        "exported": leaves / (exported - written),
        "verified": leaves / (verified - exported),
    }


def measure(bench: Bench) -> list[Figure]:
    """How long an outsider takes for a million leaves, from the speed over a part of them."""
    tick = bench.ticker("audit", 1)
    tick(f"{LEAVES:,} leaves")
    place = bench.place / "audit"
    place.mkdir()
    found = asyncio.run(speeds(LEAVES, place))
    tick("")
    return [
        Figure(
            id="audit-verify",
            what="1,000,000 leaves of the audit log verified offline",
            value=1e6 / found["verified"],
            unit="s",
            asked=60.0,
            note=f"from {LEAVES:,}, with a checkpoint each thousand; exported at {found['exported']:,.0f}/s, "
            f"appended at {found['appended']:,.0f}/s, a thousand a transaction",
        )
    ]
