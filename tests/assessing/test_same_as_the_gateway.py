"""What is expected of recorded traffic is what the running gateway makes of the same requests: hit for hit."""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, MESSAGES, PROVIDERS, World, inside

from ostinato.assessing import Assessment, Rules, assess
from ostinato.cache.policy import compile_policies
from ostinato.checks import Settings as ChecksSettings
from ostinato.core.clock import SystemClock
from ostinato.gateway.inspecting import compile_checkers
from ostinato.intents import compile_intents
from ostinato.routing import compile_routes
from ostinato.traces import PriceBook, read_tariffs

MODELS = {
    "plain": {"targets": ["fake/plain"]},
    "cut": {"targets": ["fake/fake-length"]},
    "refusing": {"targets": ["fake/fake-refusal"]},
    "tooling": {"targets": ["fake/fake-tools=1"]},
    "drawn": {"targets": [{"provider": "fake", "model": "plain"}, "other/plain"], "strategy": "weighted"},
}
PRICES = {"fake/plain": {"input": 1.0, "output": 4.0}}
POLICIES = {"all": {"ttl": 3_600.0, "ttl_jitter": 0.0, "temperature_limit": 1.2}}


def rules(policies: dict[str, Any], checks: dict[str, Any]) -> Rules:
    return Rules(
        policies=compile_policies(policies, checks),
        intents=compile_intents({}, checks),
        checkers=compile_checkers(checks, ChecksSettings()),
        prices=PriceBook.load(read_tariffs(PRICES), {}),
        catalog=compile_routes(MODELS, {"fake": b"", "other": b""}),
    )


def traffic(seed: int, count: int) -> list[tuple[str, dict[str, Any], float]]:
    """Paths, bodies and pauses: repeated questions, users, temperatures, tools, streams, both wires."""
    rng = random.Random(seed)
    found: list[tuple[str, dict[str, Any], float]] = []
    for _ in range(count):
        text = rng.choice([f"question {rng.randrange(3)}", "my number is 4111 1111 1111 1111", "ein Gruß aus Köln"])
        body: dict[str, Any] = {
            "model": rng.choices(list(MODELS), [6, 1, 1, 1, 2])[0],
            "messages": [{"role": "system", "content": "You are a bank."}, {"role": "user", "content": text}],
        }
        path = CHAT
        if rng.random() < 0.5:
            body["user"] = f"user-{rng.randrange(2)}"
        if rng.random() < 0.3:
            body["temperature"] = rng.choice([0, 0.0, 0.7, 1.1, 1.5])
        if rng.random() < 0.1:
            body["n"] = 1
        if rng.random() < 0.2:
            body["metadata_of_ours"] = {"b": 1, "a": rng.randrange(2)}
        if rng.random() < 0.2 and body["model"] in ("plain", "drawn"):
            path = MESSAGES
            user = body.pop("user", None)
            body = {
                "model": body["model"],
                "system": "You are a bank.",
                "max_tokens": 50,
                "messages": body["messages"][1:],
            }
            if user:
                body["metadata"] = {"user_id": user}
        found.append((path, body, rng.choice([1.0, 10.0, 300.0])))
    return found


async def served(world: World, path: Path, told: list[tuple[str, dict[str, Any], float]]) -> int:
    """Ask all of it, write down what a client would have logged, and count the hits."""
    hits = 0
    with path.open("w", encoding="utf-8") as file:
        for where, body, pause in told:
            world.clock.advance(pause)
            got = await world.ask(where, body)
            hits += got.cache == "hit-exact"
            line = {"timestamp": world.clock.now(), "request": body, "response": got.json(), "status": got.status}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return hits


@pytest.mark.parametrize(
    ("policies", "checks"),
    [
        ({}, {}),
        (POLICIES, {}),
        ({"all": {**POLICIES["all"], "scope": "project", "store_refusals": True}}, {}),
        ({"all": {**POLICIES["all"], "checks": ["cards"]}}, {"cards": {"kind": "pii", "action": "no-store"}}),
        ({"all": {**POLICIES["all"], "checks": ["cards"]}}, {"cards": {"kind": "pii", "action": "redact"}}),
        ({"one": {"alias": "plain", "mode": "off"}, "all": POLICIES["all"]}, {}),
    ],
    ids=["defaults", "an-hour", "shared", "no-store", "redacted", "one-off"],
)
async def test_hits_are_those_of_the_gateway(tmp_path: Path, policies: Any, checks: Any) -> None:
    log = tmp_path / "log.jsonl"
    async with inside(base=PROVIDERS) as world:
        for name, body in checks.items():
            await world.declare("rules", name, body)
        for name, body in MODELS.items():
            await world.declare("models", name, body)
        for name, body in policies.items():
            await world.declare("policies", name, body)
        hits = await served(world, log, traffic(5, 250))
    found = await _assessed(log, policies, checks)
    assert found.requests == 250, found.files
    assert hits >= 5
    assert found.rates.declared.hits == hits


async def _assessed(log: Path, policies: Any, checks: Any) -> Assessment:
    return await asyncio.to_thread(assess, [log], rules(policies, checks), SystemClock())
