"""A remote embedder: what is sent, what is tried again, and what is believed."""

import asyncio
import json

import pytest

from ostinato import embeddings, outbound
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import Invalid, UpstreamFailed
from ostinato.core.secret import ApiKey
from ostinato.embeddings import Remote, Settings


def remote(server, client: outbound.Client, clock=None, **more) -> Remote:
    settings = Settings(kind="remote", base_url=server.base_url, model="small", **more)
    return Remote(settings, client, clock or SystemClock())


async def in_time(clock: ManualClock, task: asyncio.Task):
    """Let the clock run until ``task`` is done."""
    while not task.done():
        await asyncio.sleep(0.001)
        clock.advance(0.1)
    return await task


async def test_what_is_sent(server, client) -> None:
    embedder = remote(server, client, api_key=ApiKey("sk-1"), dimensions=8, batch=2)
    await embedder.embed(["a", "", "c"])
    assert [body["input"] for body in server.requests] == [["a", " "], ["c"]]
    assert {body["model"] for body in server.requests} == {"small"}
    assert {body["dimensions"] for body in server.requests} == {8}
    assert all("authorization: Bearer sk-1" in head for head in server.heads)
    assert server.heads[0].startswith("POST /v1/embeddings ")


def test_its_id_is_that_of_what_answers(server, client) -> None:
    one = remote(server, client)
    assert one.id == remote(server, client, batch=3, api_key=ApiKey("k")).id
    assert one.id != remote(server, client, dimensions=4).id


async def test_a_passing_failure_is_tried_again(server, client) -> None:
    clock = ManualClock()
    server.spoil = lambda body, number: {1: 503, 2: 429}.get(number)
    vectors = await in_time(clock, asyncio.create_task(remote(server, client, clock).embed(["a"])))
    assert len(vectors) == 1
    assert len(server.requests) == 3


async def test_three_tries_and_no_more(server, client) -> None:
    clock = ManualClock()
    server.spoil = lambda body, number: 500
    with pytest.raises(UpstreamFailed, match="status 500"):
        await in_time(clock, asyncio.create_task(remote(server, client, clock).embed(["a"])))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_refusal_is_told_at_once_and_without_what_was_sent(server, client, status: int) -> None:
    server.spoil = lambda body, number: (status, b'{"error": {"message": "secret sk-1 in text"}}')
    with pytest.raises(UpstreamFailed) as caught:
        await remote(server, client, api_key=ApiKey("sk-1")).embed(["my text"])
    assert len(server.requests) == 1
    assert str(status) in caught.value.message
    assert "sk-1" not in caught.value.sentence
    assert "my text" not in caught.value.sentence


def data(*vectors: object) -> bytes:
    return json.dumps({"data": [{"index": n, "embedding": one} for n, one in enumerate(vectors)]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"data": []}',
        b'{"error": {"message": "no"}}',
        data([1.0, 0.0]),
        data([1.0, 0.0], [1.0, 0.0], [1.0, 0.0]),
        data([1.0, 0.0], [1.0]),
        data([1.0, 0.0], [0.0, 0.0]),
        data([1.0, 0.0], "AAA"),
        b'{"data": [{"embedding": [1.0]}, {"embedding": [1e999]}]}',
        data([1.0, 0.0], "AACAfwAAgD8="),
    ],
    ids=["empty", "html", "object", "none", "error", "few", "many", "ragged", "zero", "base64", "huge", "infinite"],
)
async def test_nonsense_is_not_believed(server, client, body: bytes) -> None:
    server.spoil = lambda asked, number: (200, body)
    with pytest.raises(UpstreamFailed) as caught:
        await remote(server, client).embed(["a", "b"])
    assert caught.value.code in ("embeddings_failed", "outbound_bad_response")


async def test_large_numbers_have_a_length(server, client) -> None:
    server.spoil = lambda asked, number: (200, data([3e38, 3e38]))
    (row,) = await remote(server, client).embed(["a"])
    assert row.tolist() == pytest.approx([0.5**0.5, 0.5**0.5])


async def test_a_number_of_dimensions_that_was_not_asked_for(server, client) -> None:
    with pytest.raises(UpstreamFailed, match="8 numbers, not 16"):
        await remote(server, client, dimensions=16).embed(["a"])


async def test_metadata_services_and_unsaid_private_addresses_are_not_called(client) -> None:
    for url, private in (("http://169.254.169.254/v1", True), ("http://127.0.0.1:1/v1", False)):
        settings = Settings(kind="remote", base_url=url, model="m", allow_private=private)
        with pytest.raises(outbound.Refused):
            embeddings.build(settings, client, SystemClock())


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (Settings(kind="remote", model="m"), "base_url"),
        (Settings(kind="remote", base_url="https://example.com"), "model"),
        (Settings(threads=0), "threads"),
        (Settings(queue=0), "queue"),
        (Settings(batch=0), "batch"),
        (Settings(timeout=0), "timeout"),
    ],
)
def test_settings_that_cannot_be(settings: Settings, field: str, client) -> None:
    with pytest.raises(Invalid) as caught:
        embeddings.build(settings, client, SystemClock())
    assert caught.value.param == f"embeddings.{field}"
