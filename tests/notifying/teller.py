"""A process to be killed: it tells and delivers, and says of each message when it is written down."""

import asyncio
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from notifying_kit import house

from ostinato.core.clock import SystemClock


async def main(control: str, work: str, org: str, project: str) -> None:
    async with house(control, work, SystemClock(), seed=False) as home:
        room = await home.process(alone=False)
        for number in itertools.count():
            await room.tell(org, project, "cases:open", f"case:{number}")
            print(f"case:{number}", flush=True)
            await asyncio.sleep(0)


asyncio.run(main(*sys.argv[1:]))
