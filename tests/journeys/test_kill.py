"""D1: ``kill -9`` under load, again and again: no acknowledged change is lost, and it starts again."""

import json
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from harness import Running


class Load:
    """Callers who ask, and an administrator who makes keys, until they are stopped; what was acknowledged is noted."""

    def __init__(self, gateway: Running, seed: int) -> None:
        self.gateway = gateway
        self.rng = random.Random(seed)
        self.keys: list[str] = []
        self.revoked: list[str] = []
        self.answered: list[str] = []
        self.going = True
        self.threads = [threading.Thread(target=work) for work in (self.administer, self.ask, self.ask)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.going = False
        for thread in self.threads:
            thread.join(30)

    def administer(self) -> None:
        number = 0
        while self.going:
            number += 1
            try:
                status, made = self.gateway.api("POST", "/keys", {"name": f"made {number}"})
                if status == 201:
                    self.keys.append(made["secret"])
                if len(self.keys) > 3 and number % 3 == 0:
                    victim = self.keys.pop(0)  # whether it lives is not known until the answer is there
                    status, _ = self.gateway.api("DELETE", f"/keys/{victim[:12]}")
                    if status == 200:
                        self.revoked.append(victim)
            except OSError:
                time.sleep(0.02)

    def ask(self) -> None:
        while self.going:
            text = f"killed: {self.rng.randrange(40)}"
            try:
                if self.gateway.chat(text)[0] == 200:
                    self.answered.append(text)
            except (OSError, json.JSONDecodeError):
                time.sleep(0.02)


def killed(gateway: Running, times: int, seed: int) -> None:
    rng = random.Random(seed)
    kept: list[str] = []
    gone: list[str] = []
    before = None
    for turn in range(times):
        load = Load(gateway, seed + turn)
        load.start()
        time.sleep(0.4 + rng.random() * 0.8)
        gateway.stop(signal.SIGKILL)
        load.stop()
        assert load.answered and load.keys, "it was under load"
        begun = time.monotonic()
        gateway.start()
        assert time.monotonic() - begun < 30
        kept += load.keys
        gone += load.revoked
        body: Any = {"model": "plain", "messages": [{"role": "user", "content": "killed: still mine?"}]}
        for secret in kept:
            assert gateway.send("POST", "/v1/chat/completions", body, key=secret)[0] == 200, (
                "an acknowledged key is lost"
            )
        for secret in gone:
            assert gateway.send("POST", "/v1/chat/completions", body, key=secret)[0] == 401, "a revoked key lives again"
        told = json.loads(gateway.cli("stats", "--json"))
        assert told["rows_dropped"] == 0
        assert before is None or told["requests"] >= before
        before = told["requests"]
    assert "Traceback" not in gateway.log.read_text()


def test_kill_minus_nine_loses_nothing_that_was_acknowledged(new_gateway: Callable[..., Running]) -> None:
    killed(new_gateway(), 2, seed=11)


@pytest.mark.soak
def test_kill_minus_nine_a_hundred_times(new_gateway: Callable[..., Running]) -> None:
    killed(new_gateway(), 100, seed=12)
