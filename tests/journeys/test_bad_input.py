"""Bad input gets a clear error in the caller's own shape; nothing is lost, nothing leaks, nothing is a 500."""

import json
import re
import time
from typing import Any

import pytest
from harness import Raw, Running, post, raw

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
EMBEDDINGS, COUNT = "/v1/embeddings", "/v1/messages/count_tokens"
PATHS = [CHAT, MESSAGES, RESPONSES, EMBEDDINGS, COUNT]

TURN = b'"messages":[{"role":"user","content":"hi"}]'


def whole(**fields: Any) -> bytes:
    """A good request, but for ``fields``."""
    good: Any = {"model": "plain", "max_tokens": 5, "messages": [{"role": "user", "content": "bad input"}]}
    return json.dumps({**good, **fields}).encode()


def as_asked_at(path: str, body: bytes) -> bytes:
    """The same request in the words of another path."""
    if path == RESPONSES:
        return body.replace(b'"messages"', b'"input"').replace(b'"max_tokens"', b'"max_output_tokens"')
    if path == EMBEDDINGS:
        return body.replace(b'"messages"', b'"input"').replace(b'"plain"', b'"vectors"')
    return body


def judged(reply: Raw | tuple[int, dict[str, str], bytes], path: str, status: int) -> dict[str, Any]:
    """The error of a reply, in the shape of the path's wire; fails if it is no clear error."""
    found, headers, data = (reply.status, reply.headers, reply.body) if isinstance(reply, Raw) else reply
    assert found == status, data[:300]
    assert headers["content-type"].startswith("application/json")
    told = json.loads(data)
    error = told["error"]
    if path.startswith(MESSAGES):
        assert told["type"] == "error"
        assert set(error) >= {"type", "message"}
    else:
        assert set(error) >= {"message", "type", "param", "code"}
        assert error["code"]
    assert len(error["message"]) > 10
    assert "Traceback" not in data.decode()
    assert not re.search(r"ost_\w{9}", error["message"]), "of a key its prefix may be shown, and no more"
    return error


BODIES: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"model":"plain","messages":[{"ro',
    "an array": b"[]",
    "a text": b'"hello"',
    "null": b"null",
    "not JSON": b"hello",
    "not a number": b'{"model":NaN}',
    "not UTF-8": b'{"model":"plain","max_tokens":5,"messages":[{"role":"user","content":"\xc3\x28"}]}',
    "UTF-16": '{"model":"plain"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + whole(),
    "deep arrays": b'{"model":"plain","x":' + b"[" * 50_000 + b"]" * 50_000 + b"," + TURN + b"}",
    "deep objects": b'{"model":"plain","x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"," + TURN + b"}",
    "half a character": b'{"model":"plain","max_tokens":5,"messages":[{"role":"user","content":"\\ud800"}]}',
    "something behind it": whole() + b" x",
    "two bodies": whole() + whole(),
    "an endless number": b'{"model":"plain","temperature":1e999,' + TURN + b"}",
    "a number of 400 digits": b'{"model":"plain","max_tokens":' + b"9" * 400 + b"," + TURN + b"}",
    "no model": b'{"max_tokens":5,' + TURN + b"}",
    "a model that is a number": whole(model=5),
    "a model that is a list": whole(model=["plain"]),
    "a model without a name": whole(model=""),
    "a model of 100 kB": whole(model="m" * 100_000),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_no_request(gateway: Running, path: str, name: str) -> None:
    before = gateway.upstream.count()
    error = judged(gateway.send("POST", path, as_asked_at(path, BODIES[name])), path, 400)
    assert len(error["message"]) < 1000
    assert gateway.upstream.count() == before


FIELDS: dict[str, dict[str, Any]] = {
    "messages null": {"messages": None},
    "messages a text": {"messages": "hi"},
    "no message": {"messages": []},
    "a message that is a number": {"messages": [1]},
    "an unknown role": {"messages": [{"role": "boss", "content": "x"}]},
    "content a number": {"messages": [{"role": "user", "content": 5}]},
    "content null": {"messages": [{"role": "user", "content": None}]},
    "no content": {"messages": [{"role": "user"}]},
    "a part that is a number": {"messages": [{"role": "user", "content": [1]}]},
    "a part without a type": {"messages": [{"role": "user", "content": [{}]}]},
    "temperature below zero": {"temperature": -1},
    "temperature 99": {"temperature": 99},
    "temperature a text": {"temperature": "hot"},
    "max_tokens below zero": {"max_tokens": -5},
    "max_tokens a text": {"max_tokens": "many"},
    "half a token": {"max_tokens": 1.5},
    "absurdly many tokens": {"max_tokens": 10**30},
    "top_p below zero": {"top_p": -0.1},
    "top_p above one": {"top_p": 9},
    "stream a text": {"stream": "yes"},
    "stream a number": {"stream": 1},
    "tools an object": {"tools": {}},
    "a tool that is a number": {"tools": [1]},
    "an empty tool": {"tools": [{}]},
    "tool_choice a number": {"tool_choice": 5},
    "prompt a number": {"prompt": 5},
}
OF_CHAT: dict[str, dict[str, Any]] = {
    "two answers": {"n": 2},
    "no answer": {"n": 0},
    "fewer answers than none": {"n": -1},
    "n a text": {"n": "two"},
    "max_tokens zero": {"max_tokens": 0},
    "stop a number": {"stop": 5},
    "stops that are numbers": {"stop": [5]},
    "a user that is a list": {"user": ["a"]},
    "response_format a number": {"response_format": 5},
    "a schema that is missing": {"response_format": {"type": "json_schema"}},
    "stream_options a number": {"stream_options": 5},
    "reasoning_effort a number": {"reasoning_effort": 7},
    "metadata a number": {"metadata": 5},
}


@pytest.mark.parametrize(
    ("path", "name"),
    [(path, name) for path in (CHAT, MESSAGES, COUNT) for name in FIELDS] + [(CHAT, name) for name in OF_CHAT],
)
@pytest.mark.parametrize("model", ["plain", "claude"])
def test_fields_of_the_wrong_kind(gateway: Running, path: str, name: str, model: str) -> None:
    fields = {**FIELDS, **OF_CHAT}[name]
    before = gateway.upstream.count()
    error = judged(gateway.send("POST", path, whole(model=model, **fields)), path, 400)
    (field,) = fields
    assert field in error["message"], "it names the field"
    if path == CHAT:
        assert error["param"].split(".")[0] == field
    assert gateway.upstream.count() == before


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (RESPONSES, {"input": 5}),
        (RESPONSES, {"input": [{"type": "telepathy"}]}),
        (RESPONSES, {"max_output_tokens": -1}),
        (RESPONSES, {"previous_response_id": "resp_1"}),
        (RESPONSES, {"background": True}),
        (RESPONSES, {"conversation": "conv_1"}),
        (RESPONSES, {"tools": [{"type": "file_search"}]}),
        (EMBEDDINGS, {"input": 5}),
        (EMBEDDINGS, {"input": []}),
        (EMBEDDINGS, {"input": [""]}),
        (EMBEDDINGS, {"input": [[]]}),
        (EMBEDDINGS, {"input": ["a", 1]}),
        (EMBEDDINGS, {"input": ["x"] * 100_000}),
        (EMBEDDINGS, {"dimensions": -3}),
        (EMBEDDINGS, {"dimensions": "few"}),
        (EMBEDDINGS, {"encoding_format": "gzip"}),
    ],
)
def test_fields_of_other_paths(gateway: Running, path: str, fields: dict[str, Any]) -> None:
    good: Any = {"model": "vectors", "input": "hi"} if path == EMBEDDINGS else {"model": "plain", "input": "hi"}
    judged(gateway.send("POST", path, {**good, **fields}), path, 400)


@pytest.mark.parametrize("path", PATHS)
def test_unknown_models_and_prompts(gateway: Running, path: str) -> None:
    def asking(model: str) -> Any:
        return {"model": model, "input": "hi"} if path == EMBEDDINGS else as_asked_at(path, whole(model=model))

    for model in ("nothing", "plain\x00", "../plain", "PLAIN"):
        error = judged(gateway.send("POST", path, asking(model)), path, 404)
        assert "Available: " in error["message"]
        assert ("vectors" if path == EMBEDDINGS else "claude") in error["message"]
        assert path.startswith(MESSAGES) or error["code"] == "model_not_found"
    if path in (CHAT, MESSAGES, RESPONSES):
        error = judged(gateway.send("POST", path, asking("prompt:greet@production")), path, 404)
        assert "greet" in error["message"]
    # A model that exists, for another purpose.
    error = judged(gateway.send("POST", path, asking("plain" if path == EMBEDDINGS else "vectors")), path, 400)
    assert "/v1/" in error["message"]


def test_paths_and_methods_that_there_are_not(gateway: Running) -> None:
    for path in ("/v1/nothing", "/v1/messages/nothing", "/v1/chat/%00completions", "/v1/../../etc/passwd", "/v1"):
        judged(raw(gateway.port, post(gateway.key, path, whole())), path, 404)
    for path, method in ((CHAT, "GET"), (MESSAGES, "DELETE"), (CHAT, "HEAD"), ("/v1/models", "POST")):
        reply = raw(gateway.port, post(gateway.key, path, b"", b"connection: close", method=method))
        assert reply.status == 405
        if method != "HEAD":
            judged(reply, path, 405)


def test_sizes(gateway: Running) -> None:
    limit = 10 * 1024 * 1024
    large = b'{"model":"plain","messages":"' + b"x" * limit + b'"}'
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20))
    for path in (CHAT, MESSAGES, EMBEDDINGS):
        error = judged(raw(gateway.port, post(gateway.key, path, large)), path, 413)
        assert str(limit) in error["message"]
        head = post(gateway.key, path, b"", b"transfer-encoding: chunked").replace(b"content-length: 0\r\n", b"")
        judged(raw(gateway.port, head, *[chunk] * 11, b"0\r\n\r\n"), path, 413)
    declared = post(gateway.key, CHAT, b"", b"expect: 100-continue").replace(b"length: 0", b"length: 99999999999")
    judged(raw(gateway.port, declared), CHAT, 413)
    status, headers, _ = gateway.send("POST", CHAT, whole(messages=[{"role": "user", "content": "y" * 2_000_000}]))
    assert (status, headers["ostinato-cache"]) == (200, "miss")


def test_endless_headers_are_cut_off(gateway: Running) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\n".encode()
    for piece in (b"x-many: " + b"v" * 1000 + b"\r\n", b"x" * 1000):
        reply = raw(gateway.port, head, *[piece * 100] * 20)
        assert reply.status == 431
        assert reply.json()["error"]["code"] == "head_too_large"


MALFORMED = {
    "NUL in a value": post("k", CHAT, b"{}", b"ostinato-user: a\x00b"),
    "CR in a value": post("k", CHAT, b"{}", b"ostinato-user: a\rset-cookie: x"),
    "a folded value": post("k", CHAT, b"{}", b"ostinato-user: a\r\n set-cookie: x"),
    "a name with a space": post("k", CHAT, b"{}", b"bad name: x"),
    "no name": post("k", CHAT, b"{}", b": x"),
    "no colon": post("k", CHAT, b"{}", b"nonsense"),
    "two lengths": post("k", CHAT, b"{}", b"content-length: 5"),
    "length and chunks": post("k", CHAT, b"{}", b"transfer-encoding: chunked"),
    "length below zero": post("k", CHAT, b"").replace(b"length: 0", b"length: -5"),
    "an unknown method": post("k", CHAT, b"{}", method="BREW"),
    "a path of other bytes": post("k", CHAT, b"{}").replace(b"completions", b"\xff\xfe"),
    "a broken chunk": post("k", CHAT, b"").replace(b"content-length: 0", b"transfer-encoding: chunked") + b"zz\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_http(gateway: Running, name: str) -> None:
    reply = raw(gateway.port, MALFORMED[name])
    assert reply.status == 400
    told = reply.json()
    assert told["type"] == "error"
    assert told["error"]["code"] == "invalid_http"
    assert reply.headers["connection"] == "close"
    assert "set-cookie" not in reply.headers


def test_a_compressed_body_is_refused(gateway: Running) -> None:
    judged(raw(gateway.port, post(gateway.key, CHAT, whole(), b"content-encoding: gzip")), CHAT, 415)


@pytest.mark.parametrize(
    "value",
    [b"a b", b"a" * 129, b"\xe9", b"<script>", b'"', b"a\\r\\nset-cookie: x", b"%0d%0aset-cookie:x", b"{}", b""],
)
def test_odd_request_ids_are_replaced(gateway: Running, value: bytes) -> None:
    for path in (CHAT, MESSAGES):
        for _ in range(2):  # a miss, then a hit
            reply = raw(gateway.port, post(gateway.key, path, whole(), b"x-request-id: " + value))
            assert reply.status == 200
            assert len(reply.headers["x-request-id"]) == 32
            assert "set-cookie" not in reply.headers
            assert not value or value not in b"\r\n".join(reply.lines)
    good = raw(gateway.port, post(gateway.key, CHAT, whole(), b"x-request-id: my-trace_1.2:3"))
    assert good.headers["x-request-id"] == "my-trace_1.2:3"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"ostinato-user: \xff\xfe", 400),
        (b"ostinato-user: " + b"u" * 600, 400),
        (b"ostinato-session: " + b"u" * 600, 400),
        (b"ostinato-context: \xc3\x28", 400),
        (b"ostinato-tags: " + b",".join(b"t%d" % number for number in range(40)), 400),
        (b"ostinato-intent: buy", 404),
    ],
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, EMBEDDINGS])
def test_odd_controls(gateway: Running, path: str, header: bytes, status: int) -> None:
    body = as_asked_at(path, whole(input="hi") if path == EMBEDDINGS else whole())
    if path == EMBEDDINGS:
        body = json.dumps({"model": "vectors", "input": "hi"}).encode()
    error = judged(raw(gateway.port, post(gateway.key, path, body, header)), path, status)
    assert header.split(b":")[0].decode() in error["message"] or status == 404


def test_odd_directives_and_traces_are_ignored(gateway: Running) -> None:
    for header in (
        b'cache-control: max-age=-1, no-cache="x, , ;;; only-if-cached',
        b"cache-control: max-age=99999999999999999999999",
        b"cache-control: \xff",
        b"traceparent: 00-zz-1-01",
        b"accept: " + b"x" * 20_000,
    ):
        reply = raw(gateway.port, post(gateway.key, CHAT, whole(), header))
        assert reply.status == 200
        assert "traceparent" not in reply.headers


KEYS = {
    "none": b"",
    "another scheme": b"authorization: Basic dXNlcjpwYXNz",
    "of somebody else": b"authorization: Bearer sk-proj-1234567890",
    "no key": b"authorization: Bearer",
    "SQL": b"authorization: Bearer ost_'; DROP TABLE keys;--",
    "not ASCII": b"authorization: Bearer ost_\xc3\xa9\xff",
    "of 50 kB": b"authorization: Bearer ost_" + b"a" * 50_000,
    "in the other header": b"x-api-key: ost_nothing",
    "well-formed and unknown": b"authorization: Bearer ost_" + b"A" * 58,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", KEYS)
def test_keys_that_are_none(gateway: Running, path: str, name: str) -> None:
    reply = raw(gateway.port, post("", path, as_asked_at(path, whole()), auth=KEYS[name]))
    error = judged(reply, path, 401)
    assert error["type"] == "authentication_error" if path.startswith(MESSAGES) else error["code"]
    assert reply.headers["www-authenticate"].startswith("Bearer")
    secret = KEYS[name].rpartition(b" ")[2]
    assert len(secret) < 12 or secret not in reply.body


def test_keys_that_were_good_once(gateway: Running) -> None:
    """Expired, revoked, rotated, of another project: each is told why, and none is answered from cache."""
    now = time.time()
    short = gateway.new_key("short", expires_at=int((now + 1.5) * 1e6))
    leaver = gateway.new_key("leaver 2")
    old = gateway.new_key("old")
    assert gateway.api("POST", "/projects", {"key": "walled", "name": "Walled"})[0] == 201
    foreign = gateway.new_key("foreign", project="walled")
    limited = gateway.new_key("limited", allowed_models=["claude"])
    ask = {"model": "plain", "messages": [{"role": "user", "content": "bad input: was it cached?"}]}
    for _ in range(2):
        for key in (short, leaver, old):
            assert gateway.send("POST", CHAT, ask, key=key)[0] == 200
    assert gateway.send("POST", CHAT, ask, key=foreign)[1]["ostinato-cache"] == "miss"
    assert gateway.api("DELETE", f"/keys/{leaver[:12]}")[0] == 200
    status, rotated = gateway.api("POST", f"/keys/{old[:12]}/rotate", {"grace_seconds": 0})
    assert status == 201, rotated
    time.sleep(max(0.0, now + 1.6 - time.time()))
    for key, word in ((short, "expired"), (leaver, "revoked"), (old, "replaced")):
        for path in (CHAT, MESSAGES):
            error = judged(gateway.send("POST", path, {**ask, "max_tokens": 5}, key=key), path, 401)
            assert word in error["message"], error
            assert key not in error["message"]
    error = judged(gateway.send("POST", CHAT, ask, key=limited), CHAT, 403)
    assert "claude" in error["message"] and "openai-" not in error["message"], "it is told of its own models only"
    # And the control plane knows no more than the caller's own.
    status, told = gateway.api("GET", "/keys", key=foreign)
    assert status == 403, told


def test_what_callers_name_leaves_no_trace_upstream(gateway: Running) -> None:
    gateway.send(
        "POST",
        CHAT,
        whole(messages=[{"role": "user", "content": "bad input: leaks"}]),
        {
            "ostinato-user": "ann",
            "ostinato-session": "s1",
            "ostinato-tags": "a,b",
            "ostinato-context": "de",
            "cookie": "session=1",
            "x-api-key": gateway.key,
            "x-forwarded-for": "10.0.0.1",
        },
    )
    told = gateway.upstream.last_headers
    assert not [name for name in told if name.startswith("ostinato")]
    assert "cookie" not in told and "x-forwarded-for" not in told
    assert gateway.key not in json.dumps(told)


@pytest.mark.parametrize("behind", ["openai", "claude"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
def test_providers_that_answer_nonsense(gateway: Running, behind: str, path: str, stream: bool) -> None:
    """HTML, half a JSON, nothing, another shape, a broken connection, a refused key: 502, and nothing of it is kept."""
    for mood in ("html", "empty", "garbage", "gone", "401", "403") + (() if stream else ("half", "cut", "broken")):
        ask = whole(model=f"{behind}-{mood}", stream=stream)
        for _ in range(2):
            status, headers, data = gateway.send("POST", path, ask)
            # An overload that is told inside a 200 may be told as what it is.
            error = judged((status, headers, data), path, status if mood == "broken" and status in (503, 529) else 502)
            assert headers["x-should-retry"] == "false"
            assert "<!doctype" not in error["message"]
            assert "fake was told" not in error["message"], "what a provider says of our credentials is ours"


@pytest.mark.parametrize("behind", ["openai", "claude"])
@pytest.mark.parametrize("mood", ["cut", "broken", "half", "reset"])
def test_streams_that_break_end_in_an_error_event(gateway: Running, behind: str, mood: str) -> None:
    for path in (CHAT, MESSAGES, RESPONSES):
        body = as_asked_at(path, whole(model=f"{behind}-{mood}", stream=True))
        for _ in range(2):
            status, headers, data = gateway.send("POST", path, body)
            assert (status, headers["ostinato-cache"]) == (200, "miss")
            events = [part for part in data.decode().split("\n\n") if part]
            assert "error" in events[-1], events[-1]
            assert "[DONE]" not in data.decode()
            assert "message_stop" not in data.decode()
            assert "response.completed" not in data.decode()


def test_the_callers_own_mistakes_are_told_in_the_providers_words(gateway: Running) -> None:
    for behind, path in (("openai", CHAT), ("claude", MESSAGES)):
        for status in (400, 404, 422):
            found, _, data = gateway.send("POST", path, whole(model=f"{behind}-{status}"))
            assert found == status
            assert f"The fake was told to fail with {status}." in json.loads(data)["error"]["message"]


def test_after_all_that_it_still_answers(gateway: Running) -> None:
    status, _, _ = gateway.chat("bad input: and now a good question")
    assert status == 200
    told = json.loads(gateway.cli("stats", "--json"))
    assert told["rows_dropped"] == told["rows_lost"] == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert gateway.key not in log
    assert "DROP TABLE" not in log
