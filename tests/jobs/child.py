"""A process to be killed while it works on a job."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from test_jobs import bench, until

from ostinato import storage


async def main(url: str) -> None:
    async with bench(url, "child", leases=storage.open_database("work", url)) as room:
        await room.jobs.enqueue("held", "x", key="1")
        await until(lambda: ("hold", "x") in room.done)
        print("holding", flush=True)
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
