"""Traffic for triage's tests, on a fake model that costs something."""

from typing import Any

from inside import CHAT, SYSTEM, World

PRICED = """
[prices."fake/plain"]
input = 2000.0
output = 8000.0
[triage]
audit_share = 0.0
[policies.nothing]
mode = "off"
"""
BASE = """
[access]
requests_per_minute = 1000000000
[providers.fake]
kind = "fake"
[providers.other]
kind = "fake"
[models.plain]
targets = ["fake/plain"]
"""


def asked(system: str, question: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return {"model": "plain", "messages": messages, **fields}


async def repeat(world: World, system: str, times: int = 80, different: int = 8, **headers: str) -> None:
    for number in range(times):
        await world.ask(CHAT, asked(system, f"question {number % different}"), headers or None)
    world.app.recorder.flush()


async def look(world: World) -> Any:
    triage = world.app.governing.triaging.triage
    return await triage.now(SYSTEM, await world.first_project())
