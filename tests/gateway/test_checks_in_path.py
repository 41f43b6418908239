"""Checks on the way in and on the way out: what is blocked, redacted or not kept, in every wire, streamed and not."""

import json
from typing import Any

import pytest
from inside import CHAT, MESSAGES, RESPONSES, World, inside, question

WAYS = [
    (CHAT, {}),
    (CHAT, {"stream": True}),
    (MESSAGES, {"max_tokens": 9}),
    (MESSAGES, {"max_tokens": 9, "stream": True}),
    (RESPONSES, {}),
    (RESPONSES, {"stream": True}),
]
CARD = "4111 1111 1111 1111"
KEY = "sk-proj-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh"
MAIL = "jane.doe@example.com"


def rules(action: str, applies: str = "both", kind: str = "pii", terms: str = "") -> str:
    listed = f"terms = [{terms}]\n" if terms else ""
    return f"""
[models.checked]
targets = ["fake/plain"]
[policies.p]
alias = "checked"
checks = ["rule"]
[checks.rules.rule]
kind = "{kind}"
action = "{action}"
applies = "{applies}"
{listed}"""


def asked(path: str, text: str, fields: Any) -> Any:
    return (
        {"model": "checked", "input": text, **fields}
        if path == RESPONSES
        else question(text, model="checked", **fields)
    )


@pytest.mark.parametrize(("path", "fields"), WAYS)
@pytest.mark.parametrize(
    ("kind", "text"), [("pii", f"my card is {CARD}"), ("secrets", f"use {KEY}"), ("pii", f"ask {MAIL}")]
)
async def test_blocked_on_the_way_in(path: str, fields: Any, kind: str, text: str) -> None:
    async with inside(rules("block", kind=kind)) as world:
        got = await world.ask(path, asked(path, text, fields))
        assert got.status == 400
        told = got.body.decode()
        assert CARD not in told and KEY not in told and MAIL not in told
        assert "rule" in told
        assert world.fake.calls == 0
        assert (await world.ask(path, asked(path, "harmless", fields))).status == 200


@pytest.mark.parametrize(("path", "fields"), WAYS)
async def test_redacted_on_the_way_in(path: str, fields: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(rules("redact", applies="input")) as world:
        seen = watch(world, monkeypatch)
        got = await world.ask(path, asked(path, f"my card is {CARD}, write to {MAIL}", fields))
        assert (got.status, got.cache) == (200, "miss")
        assert CARD not in seen[0] and MAIL not in seen[0]
        assert "[CARD]" in seen[0] or "CARD" in seen[0]
        # Another card is the same question now.
        other = await world.ask(path, asked(path, f"my card is 5555 5555 5555 4444, write to {MAIL}", fields))
        assert other.cache == "hit-exact"


@pytest.mark.parametrize(("path", "fields"), WAYS)
async def test_not_kept_for_what_came_in(path: str, fields: Any) -> None:
    async with inside(rules("no-store", applies="input")) as world:
        for _ in range(2):
            got = await world.ask(path, asked(path, f"my card is {CARD}", fields))
            assert (got.status, got.cache, got.reason) == (200, "bypass", "checks")
        assert [(await world.ask(path, asked(path, "no card", fields))).cache for _ in range(2)] == [
            "miss",
            "hit-exact",
        ]


def watch(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the provider is sent, from now on."""
    seen: list[str] = []
    for name in ("chat", "chat_stream"):
        real = getattr(world.fake, name)

        def call(call: Any, real: Any = real) -> Any:
            seen.append(repr(call.request))
            return real(call)

        monkeypatch.setattr(world.fake, name, call)
    return seen


async def saying(world: World, path: str, fields: Any, word: str) -> tuple[Any, str]:
    """A question to which the model answers with ``word`` in its text, and that answer, by an alias without checks."""
    for number in range(500):
        body = asked(path, f"say it {number}", fields)
        text = (await world.ask(path, {**body, "model": "plain"})).text
        if f" {word} " in text[12:]:
            return body, text
    raise AssertionError(f"it never says {word}")


@pytest.mark.parametrize(("path", "fields"), WAYS)
async def test_blocked_on_the_way_out(path: str, fields: Any) -> None:
    async with inside(rules("block", applies="output", kind="banned", terms='"statement"')) as world:
        body, _ = await saying(world, path, fields, "statement")
        for _ in range(2):
            got = await world.ask(path, body)
            assert "statement" not in got.body.decode().replace("statement.", ""), "nothing of it has left"
            if fields.get("stream") and got.status == 200:
                last = [part for part in got.body.decode().split("\n\n") if part][-1]
                assert "error" in last
                assert "[DONE]" not in got.body.decode() and "message_stop" not in got.body.decode()
            else:
                assert got.status == 400
            assert got.cache != "hit-exact"
        assert (await world.ask(path, body, {"cache-control": "only-if-cached"})).status == 504


@pytest.mark.parametrize(("path", "fields"), WAYS)
async def test_redacted_on_the_way_out(path: str, fields: Any) -> None:
    async with inside(rules("redact", applies="output", kind="banned", terms='"statement"')) as world:
        body, whole = await saying(world, path, fields, "statement")
        first = await world.ask(path, body)
        assert (first.status, first.cache) == (200, "miss")
        assert "statement" not in first.text
        assert first.text == whole.replace("statement", "[BANNED]")
        again = await world.ask(path, body)
        assert (again.cache, again.text) == ("hit-exact", first.text), "what is kept is redacted"
        other = {**body, "stream": not fields.get("stream", False)}
        assert (await world.ask(path, other)).text == first.text


@pytest.mark.parametrize(("path", "fields"), WAYS)
async def test_not_kept_for_what_came_out(path: str, fields: Any) -> None:
    async with inside(rules("no-store", applies="output", kind="banned", terms='"statement"')) as world:
        body, whole = await saying(world, path, fields, "statement")
        for _ in range(2):
            got = await world.ask(path, body)
            assert (got.status, got.text) == (200, whole)
            assert got.cache != "hit-exact"
        assert (await world.ask(path, body, {"cache-control": "only-if-cached"})).status == 504


async def test_a_tightened_rule_hides_old_answers_at_once() -> None:
    async with inside('[models.checked]\ntargets = ["fake/plain"]\n') as world:
        body, _ = await saying(world, CHAT, {}, "statement")
        await world.ask(CHAT, body)
        assert (await world.ask(CHAT, body)).cache == "hit-exact"
        await world.declare("rules", "strict", {"kind": "banned", "action": "redact", "terms": ["statement"]})
        await world.declare("policies", "p", {"alias": "checked", "checks": ["strict"]})
        got = await world.ask(CHAT, body)
        assert got.cache == "miss"
        assert "statement" not in got.text
        await world.declare("rules", "strict", {"kind": "banned", "action": "redact", "terms": ["statement", "card"]})
        assert (await world.ask(CHAT, body)).cache == "miss", "another content of the same rule is another policy"
        await world.declare("policies", "p", None)
        assert (await world.ask(CHAT, body)).cache == "hit-exact", "and the answers of before are there again"


async def test_nothing_of_a_secret_is_written_down(caplog: pytest.LogCaptureFixture) -> None:
    """S9: canaries in prompts, headers and keys are neither in the log nor in the ledger's files nor in errors."""
    async with inside(rules("block")) as world:
        await world.ask(CHAT, asked(CHAT, f"card {CARD} and {MAIL}", {}))
        await world.chat(f"card {CARD} and {MAIL}", {"ostinato-user": MAIL})
        await world.chat("x", {"ostinato-user": MAIL}, model="nothing")
        await world.chat("x", key="ost_" + "Z" * 58)
        await world.rows(3)
        project = await world.first_project()
        assert project
        for name in ("traces.db", "traces.db-wal"):
            path = world.app.directory.path / name
            data = path.read_bytes() if path.exists() else b""
            for canary in (CARD, MAIL, world.key, "Z" * 58):
                assert canary.encode() not in data, f"{canary[:4]} in {name}"
        rows = await world.rows(3)
        assert MAIL not in json.dumps([repr(row) for row in rows])
    told = caplog.text
    for canary in (CARD, MAIL, "Z" * 58):
        assert canary not in told
