"""A process that carries out one optimization run, to be killed at any moment.

``python child_run.py`` reads lines ``prepare DIRECTORY`` and ``run DIRECTORY``, and has each carried out by a process
that it forks: what takes a second to import is there already. It tells ``pid N``, and ``end N CODE`` when that is over.

The first ``run`` in a directory begins the run; each one after it goes on. Every call that reaches the model is a line
of ``asked.log``. At the end the outcome stands in ``outcome.json``.
"""

import asyncio
import contextlib
import faulthandler
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from inside import BASE, SYSTEM, World, configured
from run_kit import Kit, Painter, build, prepare

from ostinato.app import App
from ostinato.core.clock import SystemClock
from ostinato.optimization.run import Margins
from ostinato.providers.model import ChatCall

EXAMPLES = 180


@contextlib.asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Kit]:
    app = App(configured(BASE, str(directory / "data")), SystemClock())
    await app.start()
    try:
        app.providers["fake"] = Painter(app.clock)
        yield build(World(app, ""), [], settings={"calls": 260})
    finally:
        await app.stop()


async def lay_ground(directory: Path) -> None:
    """An installation with a prompt and a dataset."""
    async with opened(directory) as kit:
        await kit.world.app.access.first_start()
        kit.project = await kit.world.first_project()
        await prepare(kit, EXAMPLES)


async def carry_on(directory: Path) -> None:
    """Begin the run or go on with it, to its end."""
    log = os.open(directory / "asked.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with opened(directory) as kit:
        app = kit.world.app

        async def asked(_: ChatCall) -> None:
            os.write(log, b"x\n")
            await asyncio.sleep(0.002)

        kit.painter.hook = asked
        kit.project = await kit.world.first_project()
        found = await kit.runs.list(SYSTEM)
        # What a clock says of latency, and what a prefix cache gives, differs from try to try: it takes no part here.
        wish = kit.wish(margins=Margins(latency=None, cost=None), seed=3)
        run = found[0] if found else await kit.runs.start(SYSTEM, wish, kit.project)
        run = await kit.runs.carrier.carry_on(run.id)
        outcome: dict[str, Any] = {
            "state": run.state,
            "why": run.why,
            "champion": run.champion,
            "digest": run.digest,
            "number": run.number,
            "releases": len(await app.releases.list(SYSTEM)),
            "versions": (await app.prompts.show(SYSTEM, run.project, run.prompt)).latest,
            "looks": len(await kit.data.looks(SYSTEM, "colours", project=run.project)),
        }
        (directory / "outcome.json").write_text(json.dumps(outcome))


def serve() -> None:
    """Fork a process for every line, one after another."""
    import numpy  # noqa: F401
    import scipy.stats  # noqa: F401

    faulthandler.enable()  # a child that a signal ends says where it was
    for line in sys.stdin:
        verb, _, place = line.strip().partition(" ")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                asyncio.run((lay_ground if verb == "prepare" else carry_on)(Path(place)))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print("pid", pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print("end", pid, os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
