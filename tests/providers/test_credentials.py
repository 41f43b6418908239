"""Keys that rest and rotate, and never show themselves."""

import logging
import pickle
from typing import Any

import msgspec
import pytest

from ostinato import outbound, providers
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import Invalid
from ostinato.providers import ApiKey, ProviderFailure

from .conftest import Make, Running, call_of, collect


def attempts(server: Running, key: str) -> int:
    return server.app.keys.get(f"Bearer {key}", 0)


@pytest.fixture(autouse=True)
def fresh(fake_server: Running) -> None:
    fake_server.app.keys.clear()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refused_key_rests_and_the_next_is_used(make: Make, fake_server: Running, streamed: bool) -> None:
    clock = ManualClock()
    provider = await make("openai", keys=("a-401", "b"), clock=clock, rest=30.0)
    assert provider.credentials == 2
    for _ in range(3):
        assert await (collect(provider, call_of()) if streamed else provider.chat(call_of()))
    assert (attempts(fake_server, "a-401"), attempts(fake_server, "b")) == (1, 3)
    clock.advance(31)
    # The rest is over, but the other key is in use and works.
    await provider.chat(call_of())
    assert attempts(fake_server, "a-401") == 1


async def test_with_no_key_left_nothing_is_sent_until_the_rest_is_over(make: Make, fake_server: Running) -> None:
    clock = ManualClock()
    provider = await make("openai", keys=("a-401", "b-401"), clock=clock, rest=30.0)
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of())
    assert (failed.value.failure, failed.value.upstream_status) == ("credential", 401)
    for _ in range(3):
        with pytest.raises(ProviderFailure) as failed:
            await provider.chat(call_of())
        assert failed.value.failure == "credential"
        assert failed.value.retry_after == pytest.approx(30.0)
    assert (attempts(fake_server, "a-401"), attempts(fake_server, "b-401")) == (1, 1)
    clock.advance(30.1)
    with pytest.raises(ProviderFailure):
        await provider.chat(call_of())
    assert attempts(fake_server, "a-401") + attempts(fake_server, "b-401") > 2


async def test_a_missing_permission_rests_the_key_for_that_model_only(make: Make, fake_server: Running) -> None:
    provider = await make("openai", keys=("a",), clock=ManualClock())
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of("fake-403"))
    assert failed.value.failure == "forbidden"
    before = attempts(fake_server, "a")
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of("fake-403"))
    assert failed.value.failure == "credential"
    assert attempts(fake_server, "a") == before
    assert await provider.chat(call_of("fake"))


async def test_a_limited_key_is_passed_over_while_there_is_another(make: Make, fake_server: Running) -> None:
    clock = ManualClock()
    provider = await make("openai", keys=("a-429", "b"), clock=clock)
    for _ in range(3):
        assert await provider.chat(call_of())
    assert attempts(fake_server, "a-429") == 1
    only = await make("openai", keys=("c-429",), clock=clock)
    for _ in range(2):
        with pytest.raises(ProviderFailure) as failed:
            await only.chat(call_of())
        assert failed.value.failure == "rate"
    assert attempts(fake_server, "c-429") == 2


async def test_if_all_keys_are_limited_the_caller_is_told_so(make: Make) -> None:
    provider = await make("openai", keys=("a-429", "b-429"), clock=ManualClock())
    for _ in range(3):
        with pytest.raises(ProviderFailure) as failed:
            await provider.chat(call_of())
        assert failed.value.failure == "rate"


async def test_secrets_do_not_show(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    secret = "sk-proj-canary-7d1f"
    key = ApiKey(secret)
    settings = providers.Settings(api_keys=(key,), headers={"x-extra": secret})
    caplog.set_level(logging.DEBUG)
    provider = await make("openai-compatible", keys=(f"{secret}-401",))
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of())
    shown = [repr(key), str(key), f"{key}", repr(settings), repr(provider), failed.value.sentence, caplog.text]
    shown += [repr(failed.value), str(failed.value.headers), repr(failed.value.body)]
    assert not [text for text in shown if secret in text]
    for encode in (msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(TypeError):
            encode(settings)
    assert key.reveal() == secret
    assert key == ApiKey(secret) != ApiKey("other")
    assert pickle.loads(pickle.dumps(failed.value.sentence)) == failed.value.sentence


async def test_a_key_that_the_provider_echoes_is_blotted_out(client: outbound.Client) -> None:
    from ostinato.providers import failures

    body = b'{"error": {"message": "bad thing near sk-echo"}}'
    failure = failures.from_response("p", 400, {}, body, now=0, secret="sk-echo")
    assert failure.body is not None
    assert b"sk-echo" not in failure.body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"kind": "openai"}, "api_key"),
        ({"kind": "azure", "api_keys": (ApiKey("k"),)}, "base_url"),
        ({"kind": "openai-compatible"}, "base_url"),
        ({"kind": "nobody"}, "kind"),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, Any], param: str) -> None:
    client = outbound.Client(outbound.Settings(), SystemClock())
    with pytest.raises(Invalid) as invalid:
        providers.build("p", providers.Settings(**fields), client, SystemClock())
    assert invalid.value.param == param
    assert invalid.value.hint


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "http://metadata.google.internal/v1", "file:///etc"])
def test_a_base_url_that_may_not_be_called_is_refused_at_once(url: str) -> None:
    client = outbound.Client(outbound.Settings(), SystemClock())
    settings = providers.Settings(kind="openai-compatible", base_url=url, allow_private=True)
    with pytest.raises(outbound.Refused):
        providers.build("p", settings, client, SystemClock())


async def test_a_name_that_leads_to_a_private_address_needs_a_declaration(
    make: Make, fake_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio
    import socket

    async def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    url = f"http://inside.example:{fake_server.port}/v1"
    provider = await make("openai-compatible", base_url=url)
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of())
    assert "allow_private" in failed.value.hint
    declared = await make("openai-compatible", base_url=url, allow_private=True)
    assert await declared.chat(call_of())
