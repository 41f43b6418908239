"""What is sent: paths, headers and fields of each kind of provider; and how failures are read."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import providers, wire
from ostinato.core.errors import Invalid
from ostinato.providers import CATALOG, failures, fake_script

from .conftest import Make, Running, call_of, collect, request_of


async def test_openai_gets_a_bearer_and_the_body_as_it_came(make: Make, fake_server: Running) -> None:
    provider = await make("openai", keys=("sk-1",), headers={"OpenAI-Organization": "org-1"})
    request = request_of("hi", seed=7, brand_new_field={"a": [1]}, max_completion_tokens=5)
    call = providers.ChatCall(request, "fake", 5.0, {"anthropic-beta": "x", "authorization": "Bearer stolen"})
    await provider.chat(call)
    app = fake_server.app
    assert app.last_headers["authorization"] == "Bearer sk-1"
    assert app.last_headers["openai-organization"] == "org-1"
    assert "anthropic-beta" not in app.last_headers
    assert app.last_body["brand_new_field"] == {"a": [1]}
    assert app.last_body["seed"] == 7
    assert app.last_body["max_completion_tokens"] == 5
    assert app.last_body["model"] == "fake"


async def test_anthropic_gets_its_key_version_and_the_callers_open_headers(make: Make, fake_server: Running) -> None:
    provider = await make("anthropic", keys=("sk-ant",))
    body = {"model": "x", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "new_field": 1}
    request = wire.codec("anthropic.messages").read_request(body)
    headers = {"anthropic-beta": "tools-2", "anthropic-brand-new": "1", "x-api-key": "stolen"}
    await provider.chat(providers.ChatCall(request, "fake", 5.0, headers))
    app = fake_server.app
    assert app.last_headers["x-api-key"] == "sk-ant"
    assert app.last_headers["anthropic-version"] == "2023-06-01"
    assert app.last_headers["anthropic-beta"] == "tools-2"
    assert app.last_headers["anthropic-brand-new"] == "1"
    assert "authorization" not in app.last_headers
    assert app.last_body["new_field"] == 1
    await provider.count_tokens(providers.ChatCall(request, "fake", 5.0))
    assert set(app.last_body) == {"model", "messages"}


async def test_azure_names_the_deployment_in_the_path(make: Make, fake_server: Running) -> None:
    provider = await make("azure", base_url=f"http://127.0.0.1:{fake_server.port}", keys=("az",))
    reply = await provider.chat(call_of("fake/with space"))
    assert reply.answer.events
    assert fake_server.app.last_headers["api-key"] == "az"
    assert "authorization" not in fake_server.app.last_headers
    assert provider._url_for(provider._chat_url, "a b/c").endswith(
        "/openai/deployments/a%20b%2Fc/chat/completions?api-version=2024-10-21"
    )


async def test_quirks_are_data(make: Make, fake_server: Running) -> None:
    mistral = await make("mistral")
    await collect(mistral, call_of(user="u", max_completion_tokens=5))
    body = fake_server.app.last_body
    assert "stream_options" not in body
    assert "user" not in body
    assert (body["max_tokens"], body.get("max_completion_tokens")) == (5, None)
    openai = await make("openai")
    await collect(openai, call_of(max_tokens=5))
    body = fake_server.app.last_body
    assert body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == 5


def test_every_row_of_the_catalog_is_whole() -> None:
    for name, kind in CATALOG.items():
        assert kind.name == name
        assert kind.wire in wire.CODECS
        assert kind.base_url.startswith("http") or kind.hint
        assert kind.key_format.count("{}") == 1
        assert not kind.base_url.endswith("/")
        assert kind.key_header == kind.key_header.lower()
    assert set(providers.KINDS) == {*CATALOG, "local", "fake"}


async def test_a_server_that_answers_a_stream_in_one_piece(make: Make) -> None:
    """As some do: ``application/json`` where events were asked for."""
    from ostinato.providers.http import HttpStream

    provider = await make("openai")

    class Whole:
        status = 200
        headers = {"content-type": "application/json; charset=utf-8"}

        async def read(self, limit: int) -> bytes:
            return (
                b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
                b'{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}'
            )

    stream = HttpStream(provider, call_of())
    assert await stream._check(Whole(), 0) is None  # type: ignore[arg-type]
    batches = [batch async for batch in stream]
    assert wire.text_of(wire.Answer("openai.chat", tuple(batches[0]))) == "hello"


async def test_an_event_without_end_is_refused(make: Make) -> None:
    provider = await make("openai-compatible", max_frame_bytes=100_000)
    with pytest.raises(providers.ProviderFailure) as failed:
        await collect(provider, call_of("fake-pad=1mb"))
    assert failed.value.failure == "malformed"
    assert await collect(provider, call_of("fake-pad=50kb"))


async def test_a_whole_answer_beyond_the_bound_is_refused(make: Make) -> None:
    provider = await make("openai-compatible", max_response_bytes=100_000)
    with pytest.raises(providers.ProviderFailure) as failed:
        await provider.chat(call_of("fake-pad=1mb"))
    assert failed.value.failure == "malformed"


async def test_streams_keep_their_connection(make: Make, client: object) -> None:
    provider = await make("openai-compatible")
    for _ in range(10):
        await collect(provider, call_of())
    # The last bytes of one answer may still be on the way when the next call begins.
    assert provider._client.opened <= 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": formatdate(1_700_000_060, usegmt=True)}, 60.0),
        ({"retry-after": formatdate(1_600_000_000, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e300"}, 86_400.0),
        ({"retry-after": "-5"}, 0.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert failures.retry_after(headers, 1_700_000_000_000_000) == seconds


@given(st.integers(300, 999), st.binary(max_size=300), st.text(max_size=40))
def test_any_error_answer_gives_a_failure_that_repeats_nothing(status: int, body: bytes, header: str) -> None:
    failure = failures.from_response("p", status, {"retry-after": header, "set-cookie": "secret"}, body, now=0)
    assert failure.upstream_status == status
    assert set(failure.headers) <= {"retry-after"}
    assert (failure.body is not None) == (status in (400, 404, 413, 422))
    assert len(failure.message) < 150


def test_error_bodies_are_bounded() -> None:
    failure = failures.from_response("p", 400, {}, b"x" * 1_000_000, now=0)
    assert failure.body is not None
    assert len(failure.body) == 64 * 1024


def test_an_error_inside_a_200_keeps_its_shape_for_the_caller() -> None:
    error = wire.ErrorInStream("no", "invalid_request_error", 400, {"type": "invalid_request_error", "message": "no"})
    for name, begins in (("openai.chat", b'{"error":{'), ("anthropic.messages", b'{"type":"error","error":{')):
        failure = failures.from_error_in_stream("p", error, {}, name)
        assert failure.body is not None
        assert failure.body.startswith(begins)


@pytest.mark.parametrize("spec", ["nonsense", "words=x", "usage=odd", "speed=fast", "status=abc"])
def test_a_wrong_knob_is_named(spec: str) -> None:
    with pytest.raises(Invalid) as invalid:
        fake_script.read(spec)
    assert spec.partition("=")[0] in invalid.value.message


def test_knobs_of_the_model_go_over_those_of_the_provider() -> None:
    base = fake_script.read("latency=50ms,words=3")
    assert fake_script.for_model("gpt-4o", base) == base
    own = fake_script.for_model("org/fake-gap=10ms,words=5,429,retry-after=2s", base)
    assert (own.latency, own.gap, own.words, own.status, own.retry_after) == (0.05, 0.01, 5, 429, 2.0)


async def test_rate_limits_and_flakiness(make: Make) -> None:
    from ostinato.core.clock import ManualClock

    clock = ManualClock()
    provider = await make("fake", clock=clock)
    outcomes = []
    for _ in range(4):
        try:
            await provider.chat(call_of("fake-limit=2"))
            outcomes.append("ok")
        except providers.ProviderFailure as failure:
            assert failure.retry_after is not None
            outcomes.append(failure.failure)
    assert outcomes == ["ok", "ok", "rate", "rate"]
    clock.advance(1)
    assert await provider.chat(call_of("fake-limit=2"))
    outcomes = []
    for _ in range(6):
        try:
            await provider.chat(call_of("fake-flaky=2"))
            outcomes.append("ok")
        except providers.ProviderFailure as failure:
            outcomes.append(failure.failure)
    assert outcomes == ["server", "server", "ok"] * 2
    assert provider.calls == 11
