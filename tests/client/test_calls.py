"""Model calls through both clients: what is sent, what comes back in typed form, and what can go wrong on the way."""

import json
from decimal import Decimal
from typing import Any

import pytest
from small_server import Both, Small, reply

from ostinato import wire
from ostinato.core.errors import Denied, Invalid, LimitReached, NotFound, Unavailable, UpstreamFailed
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Identity, Start, Usage

HEADERS = {
    "x-request-id": "req-9",
    "ostinato-cache": "bypass; reason=no-store",
    "age": "12",
    "ostinato-entry": "e1",
    "ostinato-target": "openai/gpt",
    "ostinato-intent": "support",
    "ostinato-prompt": "support/answer; version=3; release=r7; arm=canary",
    "ostinato-cost": "0.000125",
    "ostinato-saved": "0",
}
EVENTS = (
    Start("gpt"),
    BlockStart(0, "text"),
    Delta(0, "Hel"),
    Delta(0, "lo"),
    BlockStop(0),
    BlockStart(1, "tool_use", "call_1", "look"),
    Delta(1, '{"a":'),
    Delta(1, "1}"),
    BlockStop(1),
    Finish("tool_use"),
    Usage(input=7, output=5),
)
IDENTITY = Identity("0" * 32, 1_760_000_000, "prompt:support/answer@production")


def answer_with(server: Small, name: str, headers: dict[str, str] | None = None, cut: int = 0) -> None:
    """Let the server answer in the wire ``name``, streamed if it is asked to, ``cut`` bytes too short."""
    codec = wire.codec(name)

    def chat(handler: Any, body: Any) -> None:
        found = {**HEADERS, **(headers or {})}
        if not body.get("stream"):
            reply(handler, 200, codec.write_answer(Answer("", EVENTS), IDENTITY), found)
            return
        writer = codec.stream_writer(IDENTITY, include_usage=True)
        data = writer.write(list(EVENTS)) + writer.end()
        found["content-type"] = "text/event-stream"
        reply(handler, 200, data[: len(data) - cut], found)

    server.chat = chat


WIRES = [("chat", "openai.chat", "/v1/chat/completions"), ("messages", "anthropic.messages", "/v1/messages")]


@pytest.mark.parametrize(("method", "name", "path"), WIRES)
def test_an_answer_is_typed(both: Both, server: Small, method: str, name: str, path: str):
    answer_with(server, name)
    both.make()
    got = both.run(getattr(both.client, method)(prompt="support/answer", variables={"q": "why"}, max_tokens=9))
    assert got.text == "Hello"
    assert [(call.id, call.name, call.arguments) for call in got.tool_calls] == [("call_1", "look", '{"a":1}')]
    assert got.finish == "tool_use"
    assert (got.usage.input, got.usage.output) == (7, 5)
    assert got.model == "prompt:support/answer@production"
    assert got.body["model"] == got.model
    told = got.provenance
    assert (told.request_id, told.cache, told.reason, told.age, told.hit) == ("req-9", "bypass", "no-store", 12, False)
    assert (told.prompt, told.version, told.release, told.arm) == ("support/answer", 3, "r7", "canary")
    assert (told.target, told.intent, told.entry) == ("openai/gpt", "support", "e1")
    assert (told.cost, told.saved) == (Decimal("0.000125"), Decimal(0))
    asked_path, _, _, body = server.asked[-1]
    assert asked_path == path
    assert body == {
        "model": "prompt:support/answer@production",
        "messages": [],
        "max_tokens": 9,
        "prompt": {"variables": {"q": "why"}},
    }


def test_what_is_sent(both: Both, server: Small):
    answer_with(server, "openai.chat")
    both.make()
    both.chat(
        prompt="a",
        version=3,
        messages=[{"role": "user", "content": "hi"}],
        temperature=0.0,
        params={"stop": ["x"]},
        user="u1",
        session="s1",
        tags=["a", "b"],
        intent="support",
        context="docs-7",
        cache_control="no-cache",
        request_id="mine",
    )
    _, _, headers, body = server.asked[-1]
    assert body == {
        "model": "prompt:a@3",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.0,
        "stop": ["x"],
        "prompt": {"variables": {}},
    }
    sent = {name: headers[name] for name in headers if name.startswith("ostinato-")}
    assert sent == {
        "ostinato-user": "u1",
        "ostinato-session": "s1",
        "ostinato-tags": "a,b",
        "ostinato-intent": "support",
        "ostinato-context": "docs-7",
    }
    assert (headers["cache-control"], headers["x-request-id"]) == ("no-cache", "mine")
    both.chat(model="small", messages=[])
    assert server.asked[-1][3] == {"model": "small", "messages": []}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "model": "b"}, "prompt"),
        ({"model": "b", "variables": {}}, "variables"),
        ({"model": "b", "label": "x"}, "label"),
        ({"prompt": "a", "label": "x", "version": 2}, "version"),
        ({"model": "b", "params": {"stream": True}}, "params.stream"),
        ({"model": "b", "params": {"temperature": 1}}, "params.temperature"),
        ({"model": "b", "user": "Zoë"}, "user"),
        ({"model": "b", "session": "a\r\nx-evil: 1"}, "session"),
        ({"model": "b", "params": {"x": object()}}, None),
    ],
)
def test_what_cannot_be_sent(both: Both, server: Small, asked: dict[str, Any], param: str | None):
    both.make()
    with pytest.raises(Invalid) as caught:
        both.chat(**asked)
    assert caught.value.param == param
    assert server.asked == []


def test_an_argument_that_does_not_exist_is_refused(both: Both):
    with pytest.raises(TypeError, match="temprature"):
        both.make().chat(model="b", temprature=1)


@pytest.mark.parametrize(("method", "name", "path"), WIRES)
def test_a_stream_gives_text_and_then_the_whole(both: Both, server: Small, method: str, name: str, path: str):
    answer_with(server, name)
    both.make()
    stream = both.run(getattr(both.client, method)(prompt="a", stream=True, max_tokens=9))
    assert stream.provenance.request_id == "req-9"
    assert "".join(both.pieces(stream)) == "Hello"
    whole = both.run(stream.reply())
    assert (whole.text, whole.finish, whole.usage.output) == ("Hello", "tool_use", 5)
    assert whole.tool_calls[0].arguments == '{"a":1}'
    assert server.asked[-1][3]["stream"] is True
    assert ("stream_options" in server.asked[-1][3]) == (name == "openai.chat")


def test_a_stream_can_be_asked_for_the_whole_at_once(both: Both, server: Small):
    answer_with(server, "openai.chat")
    assert both.run(both.make().chat(prompt="a", stream=True).reply()).text == "Hello"


def test_a_stream_that_is_left_tells_what_had_come(both: Both, server: Small):
    answer_with(server, "openai.chat")
    stream = both.make().chat(prompt="a", stream=True)
    both.run(stream.close())
    assert both.run(stream.reply()).finish is None
    assert both.pieces(stream) == []


def test_a_stream_that_ends_too_soon_is_an_error(both: Both, server: Small):
    answer_with(server, "anthropic.messages", cut=200)
    stream = both.make().messages(prompt="a", stream=True, max_tokens=9)
    with pytest.raises(UpstreamFailed) as caught:
        both.pieces(stream)
    assert caught.value.code == "stream_broken"
    assert both.run(stream.reply()).text == "Hello"


def test_an_error_in_mid_stream_is_raised(both: Both, server: Small):
    def chat(handler: Any, body: Any) -> None:
        writer = wire.codec("openai.chat").stream_writer(IDENTITY, include_usage=False)
        data = writer.write(list(EVENTS[:4])) + writer.fail(UpstreamFailed("The model went away."))
        reply(handler, 200, data, {**HEADERS, "content-type": "text/event-stream"})

    server.chat = chat
    stream = both.make().chat(prompt="a", stream=True)
    with pytest.raises((UpstreamFailed, Unavailable)) as caught:
        both.pieces(stream)
    assert "went away" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (413, Invalid),
        (422, Invalid),
        (429, LimitReached),
        (502, UpstreamFailed),
        (503, Unavailable),
        (529, UpstreamFailed),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_the_kinds_that_the_server_raises(
    both: Both, server: Small, status: int, kind: type[Exception], stream: bool
):
    openai = {"error": {"message": "No.", "type": "t", "code": "c", "param": "messages.0"}}
    server.chat = lambda handler, body: reply(
        handler, status, json.dumps(openai).encode(), {"retry-after": "3", "x-request-id": "req-2"}
    )
    with pytest.raises(kind) as caught:
        both.make().chat(model="a", stream=stream)
    error: Any = caught.value
    assert (error.message, error.code) == ("No.", "c")
    assert any("req-2" in note for note in error.__notes__)
    if kind is not Denied:
        assert (error.param, error.retry_after) == ("messages.0", 3)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_held_is_told_with_its_id(both: Both, server: Small, stream: bool):
    body = json.dumps({"object": "held", "id": "h-1", "status": "pending", "poll": "/v1/held/h-1"}).encode()
    server.chat = lambda handler, _: reply(handler, 202, body, {"ostinato-held": "h-1", "retry-after": "5"})
    with pytest.raises(Unavailable) as caught:
        both.make().chat(model="a", stream=stream)
    assert (caught.value.code, caught.value.retry_after) == ("answer_held", 5)
    assert "h-1" in caught.value.message and "/v1/held/h-1" in caught.value.hint


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": "plain"}', b"\xff", b"[" * 5000])
def test_refusals_that_cannot_be_read_are_refusals_all_the_same(both: Both, server: Small, body: bytes):
    server.chat = lambda handler, _: reply(handler, 418, body)
    with pytest.raises(Invalid, match="418"):
        both.make().chat(model="a")


def test_anthropics_shape_is_read(both: Both, server: Small):
    told = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}
    server.chat = lambda handler, _: reply(handler, 529, json.dumps(told).encode())
    with pytest.raises(UpstreamFailed, match="Busy") as caught:
        both.make().messages(model="a", max_tokens=1)
    assert caught.value.code == "overloaded_error"


def test_a_server_that_is_away_is_named(both: Both, server: Small):
    server.stop()
    with pytest.raises(Unavailable, match=str(server.port)):
        both.make().chat(model="a")


def test_a_slow_answer_ends_in_time(both: Both, server: Small):
    import time

    server.chat = lambda handler, _: time.sleep(1)
    with pytest.raises(Unavailable):
        both.make(timeout=0.05).chat(model="a")


def test_what_is_no_answer_is_said_to_be_none(both: Both, server: Small):
    server.chat = lambda handler, _: reply(handler, 200, b"<html>")
    with pytest.raises(Unavailable) as caught:
        both.make().chat(model="a")
    assert caught.value.code == "unreadable_answer"


def test_the_key_goes_nowhere_else(both: Both, server: Small):
    """A redirect to another host is not followed: the key would go along."""
    server.chat = lambda handler, _: reply(handler, 307, b"", {"location": "http://127.0.0.1:9/steal"})
    with pytest.raises(Unavailable):
        both.make().chat(model="a")


@pytest.mark.parametrize(
    ("told", "param", "hint"),
    [
        ({"request_id": "r1"}, "value", 'outcome="resolved"'),
        ({"value": True}, "about", "request_id="),
        ({"about": "r1", "request_id": "r1", "value": True}, "request_id", "comes first"),
        ({"request_id": "r1", "session": "s1", "value": True}, "about", "session="),
    ],
)
def test_feedback_that_lacks_something_says_what(both: Both, told: dict[str, Any], param: str, hint: str):
    both.make()
    with pytest.raises(Invalid) as error:
        both.run(both.client.feedback(**told))
    assert error.value.param == param and hint in error.value.hint


def test_feedback_may_name_its_request_by_keyword(both: Both, server: Small):
    """What the server then says is tested in ``tests/journeys/test_client.py``."""
    server.chat = lambda handler, body: reply(handler, 200, b'{"signals": ["s1"]}')
    both.make()
    assert both.run(both.client.feedback(request_id="r1", value=True)) == ("s1",)
    path, _, _, body = server.asked[-1]
    assert (path, body["client_request_id"], body["value"]) == ("/v1/feedback", "r1", True)
