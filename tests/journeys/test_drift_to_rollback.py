"""A release becomes worse by ten points in a running gateway: found, told, taken back, looked at again and closed.

The gateway is a process of its own, asked and scored over HTTP. Its wall clock is ours: each answer is a minute and a
half, a thousand answers a day.
"""

import http.client
import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Running, eventually

CLOCK = """
import mmap, os, struct, time
from ostinato.core import clock
_file = open(os.environ["TEST_CLOCK"], "rb")
_page = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
clock.SystemClock.now = lambda self: time.time_ns() // 1000 + struct.unpack("q", _page[:8])[0]
"""
"""Every process of the gateway imports it as ``sitecustomize``: its wall clock is ahead by what stands in a file."""

TOML = """
[monitoring]
every_seconds = 1
[cases]
watch_seconds = 0.2
verify_seconds = 21600
[[cases.automatic]]
kind = "quality"
action = "roll-back"
stakes = "low"
"""
A_DAY = 1_000
BASE = 0.8
MOST = 500
"""Exposed requests until it is taken back: figure G5."""


class Site:
    """A gateway, its clock, and a customer's support bot that asks it and scores its answers."""

    def __init__(self, gateway: Running, clock: Path) -> None:
        self.gateway = gateway
        self.draw = random.Random(3)
        self._clock = clock
        self._ahead = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        self._asked = 0
        self.ann, self.bo = (self._somebody(name, "approver") for name in ("ann", "bo"))
        self.olga = self._somebody("olga", "operator")

    def _somebody(self, name: str, role: str) -> str:
        api = self.gateway.api
        api("POST", "/principals", {"key": name, "name": name.title()})
        api("POST", "/bindings", {"principal": name, "role": role})
        return api("POST", "/keys", {"name": name, "principal": name, "role": role})[1]["secret"]

    def pass_seconds(self, seconds: float) -> None:
        self._ahead += int(seconds * 1_000_000)
        with self._clock.open("r+b") as file:
            file.write(struct.pack("q", self._ahead))

    def post(self, path: str, body: Any) -> tuple[Any, Any]:
        headers = {"authorization": f"Bearer {self.gateway.key}", "content-type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), headers)
        reply = self._connection.getresponse()
        data = reply.read()
        assert reply.status < 300, data
        return reply.headers, json.loads(data)

    def ask(self, prompt: str, right: float) -> str:
        """One question, scored as right with this chance; gives the release that answered."""
        self._asked += 1
        self.pass_seconds(86_400 / A_DAY)
        body = {"model": f"prompt:{prompt}", "messages": [], "prompt": {"variables": {"q": f"case {self._asked}"}}}
        headers, _ = self.post("/v1/chat/completions", body)
        score = float(self.draw.random() < right)
        told = {"request_id": headers["x-request-id"], "name": "right", "value": score}
        self.post("/v1/feedback", told)
        return headers["ostinato-prompt"].partition("release=")[2]

    def released(self, prompt: str, number: int) -> str:
        """Version ``number`` of a prompt, released by two people."""
        api = self.gateway.api
        wish = {"prompt": prompt, "number": number, "reason": "we think it is better"}
        status, release = api("POST", "/releases", wish)
        assert status == 201, release
        word = {"digest": release["digest"], "comment": "read it"}
        for key in (self.ann, self.bo):
            api("POST", f"/releases/{release['id']}/review", {"digest": release["digest"], "passed": True}, key=key)
            api("POST", f"/releases/{release['id']}/approve", word, key=key)  # the second is not needed at low stakes
        status, told = api("POST", f"/releases/{release['id']}/start")
        assert status == 200, told
        return release["id"]

    def dossier(self, intent: str) -> Any:
        """The case of an intent's quality, as soon as there is one."""
        found = self.gateway.api("GET", f"/cases?kind=quality&intent={intent}")[1]["items"]
        return self.gateway.api("GET", f"/cases/{found[0]['id']}")[1] if found else None

    def until_found(self, intent: str, prompt: str) -> tuple[Any, int]:
        """The case, and how many answers were exposed until it was there."""
        for exposed in range(1, MOST + 1):
            self.ask(prompt, BASE - 0.1)
            if exposed % 25 == 0:
                self._looked()
                found = self.dossier(intent)
                if found is not None:
                    return found, exposed
        raise AssertionError(f"not found within {MOST} answers")

    def _looked(self) -> None:
        """Wait until the watch has read all that was scored."""

        def read() -> bool:
            told = self.gateway.api("GET", "/detectors/state?limit=500")[1]["items"]
            return sum(one["samples"] for one in told if one["kind"] == "quality") >= self._asked

        eventually(read)


@pytest.fixture
def site(new_gateway: Callable[..., Running], tmp_path: Path) -> Iterator[Site]:
    clock = tmp_path / "clock"
    clock.write_bytes(struct.pack("q", 0))
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    site = Site(new_gateway(TOML, PYTHONPATH=path, TEST_CLOCK=str(clock)), clock)
    yield site
    assert "Traceback" not in site.gateway.log.read_text()


@pytest.mark.parametrize(("stakes", "automatic"), [("high", False), ("low", True)])
def test_a_release_that_became_worse_is_taken_back(site: Site, stakes: str, automatic: bool) -> None:
    api = site.gateway.api
    home = api("GET", "/projects")[1][0]["id"]
    wish = {"title": "Answers", "owner": "care", "stakes": stakes, "project": home}
    status, told = api("PUT", "/intents/answering", wish)
    if status == 202:
        status, told = api("POST", "/intents/answering/approve", {"digest": told["digest"]}, key=site.ann)
    assert status in (200, 201), told
    draft = {"messages": [{"role": "user", "template": "Answer: {{q}}"}], "params": {"model": "plain"}}
    status, told = api("POST", "/prompts", {"name": "bot", "kind": "chat", "intent": "answering", "version": draft})
    assert status == 201, told
    draft["messages"][0]["template"] = "Answer well: {{q}}"
    assert api("POST", "/prompts/bot/versions", draft)[0] == 201
    first, second = site.released("bot", 1), site.released("bot", 2)
    wish = {"kind": "quality", "intent": "answering", "replaces": "quality", "config": {"baseline": BASE}}
    assert api("PUT", "/detectors/promised", wish)[0] in (200, 201)

    for _ in range(150):
        assert site.ask("bot", BASE) == second
    site._looked()
    assert site.dossier("answering") is None, "nothing has changed"
    found, exposed = site.until_found("answering", "bot")

    case = found["case"]
    assert (case["kind"], case["release"], case["prompt"]) == ("quality", second, "bot"), case
    assert (case["severity"], case["owner"], case["detector"]) == (stakes, "care", "promised:feedback:right")
    assert case["evidence"]["usual"] == BASE and case["evidence"]["now"] < BASE - 0.04, case["evidence"]
    assert case["evidence"]["statistic"] >= case["evidence"]["threshold"] and case["evidence"]["samples"] > 20
    assert "roll-back" in [one["action"] for one in found["playbook"]]

    if not automatic:
        assert case["state"] == "detected", "at high stakes nothing is done without somebody's word"
        proposed = api("POST", f"/cases/{case['id']}/propose", {"action": "roll-back", "reason": "since it is out"})[1]
        word = f"/cases/{case['id']}/approve?version={proposed['version']}"
        assert api("POST", word, {})[1]["type"] == "urn:ostinato:self_approval"
        status, told = api("POST", word, {"reason": "I see it too"}, key=site.olga)
        assert status == 200, told
    done = eventually(lambda: (one := site.dossier("answering"))["case"]["state"] == "executed" and one)
    (action,) = done["actions"]
    assert action["state"] == "done" and action["automatic"] == automatic, action
    assert action["facts"] == {"release": second, "prompt": "bot", "label": "production", "state": "rolled_back"}
    assert api("GET", f"/releases/{second}")[1]["release"]["state"] == "rolled_back"
    assert exposed <= MOST

    for _ in range(250):  # a quarter of a day: the time after which is looked whether it helped
        assert site.ask("bot", BASE) in ("", first), "the version before it answers"
    site._looked()
    ended = eventually(lambda: (one := site.dossier("answering"))["case"]["state"] == "closed" and one)
    assert ended["actions"][0]["helped"] is True
    verbs = [event["verb"] for event in ended["history"]]
    word = "automatic" if automatic else "approve"
    assert verbs == ["open", "propose", word, "execute", "verify", "close"]
    leaves = {one["index"]: one for one in audited(site, f"case:{case['id']}")}
    assert [leaves[event["leaf"]]["action"] for event in ended["history"]] == [f"cases:{verb}" for verb in verbs]
    assert any(one["action"] == "releases:rollback" for one in audited(site, f"release:{second}"))


def audited(site: Site, resource: str) -> list[dict[str, Any]]:
    status, told = site.gateway.api("GET", f"/audit/leaves?resource={resource}&limit=500")
    assert status == 200, told
    return [one["leaf"] for one in told["items"]]
