"""F4 and the end of a server: who hangs up leaves nothing behind; who is being answered when it stops is answered."""

import http.client
import json
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from harness import Running, eventually, post, raw

BOTH = pytest.mark.parametrize("behind", ["openai", "claude"])


def streaming(gateway: Running, text: str, model: str, path: str = "/v1/chat/completions") -> Any:
    """An open stream, past its first line."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    body = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": text}], "stream": True}
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    reply = connection.getresponse()
    assert reply.status == 200
    reply.readline()
    return connection, reply


@BOTH
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_who_hangs_up_in_mid_stream_cancels_the_call_and_nothing_is_kept(
    gateway: Running, behind: str, path: str
) -> None:
    before = gateway.upstream.disconnects
    text = f"leaving: {behind} {path}"
    connection, reply = streaming(gateway, text, f"{behind}-slow", path)
    request_id = reply.getheader("x-request-id")
    reply.close()
    connection.close()
    eventually(lambda: gateway.upstream.disconnects == before + 1)
    row = gateway.row(request_id)
    assert row["error"] == "caller_left"
    assert not row["stored"]
    assert row["cost"] > 0, "what was streamed so far has to be paid"
    body = {"model": f"{behind}-slow", "max_tokens": 99, "messages": [{"role": "user", "content": text}]}
    status, _, _ = gateway.send("POST", path, body, {"cache-control": "only-if-cached"})
    assert status == 504


@BOTH
def test_who_hangs_up_before_the_first_byte_cancels_the_call_too(gateway: Running, behind: str) -> None:
    before = gateway.upstream.disconnects
    body = {"model": f"{behind}-slow", "messages": [{"role": "user", "content": "leaving: early"}], "max_tokens": 9}
    calls = gateway.upstream.count()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {gateway.key}"})
    eventually(lambda: gateway.upstream.count() > calls and flights(gateway) > 0)
    connection.close()
    eventually(lambda: gateway.upstream.disconnects == before + 1)
    eventually(lambda: flights(gateway) == 0)


def flights(gateway: Running) -> int:
    _, _, page = gateway.send("GET", "/metrics")
    found = [line for line in page.decode().splitlines() if "flights_open" in line and not line.startswith("#")]
    return int(float(found[0].split()[-1]))


def test_concurrency_is_given_back(gateway: Running) -> None:
    """Many leave at many moments; afterwards nothing is in flight anywhere."""
    for number in range(20):
        connection, reply = streaming(gateway, f"leaving: {number}", "openai-slow")
        for _ in range(number % 5):
            reply.readline()
        reply.close()
        connection.close()
    eventually(lambda: flights(gateway) == 0)
    _, told = gateway.api("GET", "/targets")
    assert all(state["in_flight"] == state["waiting"] == 0 for state in told["states"])


def test_a_server_that_is_stopped_finishes_what_it_has_begun(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway()
    connection, reply = streaming(gateway, "draining: a stream", "openai-slow")
    plain: list[Any] = []
    body = {"model": "openai-slow", "messages": [{"role": "user", "content": "draining: plain"}]}
    waiting = threading.Thread(target=lambda: plain.append(gateway.send("POST", "/v1/chat/completions", body)))
    waiting.start()
    idle = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    eventually(lambda: flights(gateway) == 2)
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    rest = reply.read()
    assert rest.rstrip().endswith(b"data: [DONE]"), "the stream goes on to its end"
    waiting.join(20)
    assert plain[0][0] == 200
    assert gateway.process.wait(20) == 0
    with pytest.raises(OSError):
        raw(gateway.port, post(gateway.key, "/v1/models", b"", method="GET"))
    assert "Traceback" not in gateway.log.read_text()
    # Both answers were kept on the way out, and both rows written.
    gateway.start()
    for text in ("draining: a stream", "draining: plain"):
        fields = {"max_tokens": 99} if "stream" in text else {}
        assert gateway.chat(text, "openai-slow", **fields)[1]["ostinato-cache"] == "hit-exact", text
    told = json.loads(gateway.cli("stats", "--json"))
    assert told["requests"] == 4
    assert told["rows_lost"] == told["rows_dropped"] == 0
    connection.close()


def test_what_does_not_end_in_time_is_cut_off_as_such(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway(server="drain_seconds = 1")
    _, reply = streaming(gateway, "draining: never ends", "openai-hangs")
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    try:
        rest = reply.read()
    except http.client.IncompleteRead as cut:
        rest = cut.partial
    assert b"[DONE]" not in rest, "cut off, and not ended as if it were whole"
    assert gateway.process.wait(20) == 0
