"""A process to be killed: asks by the journal, writing down what the provider gave and what was received."""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from calls_kit import bench

from ostinato import calls


async def main(directory: str, count: int) -> None:
    log = os.open(f"{directory}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with bench(Path(directory), settings=calls.Settings(concurrency=8)) as room:
        room.provider.latency = 0.004
        usage = room.provider.told

        def told(call):
            os.write(log, f"paid {call.request.messages[-1].content[0].text}\n".encode())
            return usage(call)

        room.provider.told = told
        budget = calls.Budget(calls.Limits(calls=3 * count), await room.calls.journal("run"))

        async def one(number: int) -> None:
            found = await room.ask(f"q{number}", budget)
            os.write(log, f"{'got' if found.paid else 'found'} q{number}\n".encode())

        await asyncio.gather(*(one(number) for number in range(count)))
    os.write(log, b"end\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
