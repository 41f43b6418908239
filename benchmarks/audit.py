"""How fast the audit log is written, exported and verified: ``python benchmarks/audit.py [LEAVES]``."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from ostinato import audit, storage, verify
from ostinato.core.clock import SystemClock

_AT_ONCE = 1_000


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


async def measure(leaves: int, place: Path) -> dict[str, float]:
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
        "appended (1,000 a transaction)": leaves / (written - began),
        "exported": leaves / (exported - written),
        "verified": leaves / (verified - exported),
    }


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as temporary:
        for name, speed in asyncio.run(measure(wanted, Path(temporary))).items():
            print(f"{name:32} {speed:12,.0f} leaves/s")
