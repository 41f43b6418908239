"""What holds for every embedder: the packaged one, a remote one, and each behind the cache."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from ostinato import embeddings, outbound
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Unavailable
from ostinato.embeddings import Embedder, Settings

TEXTS = [
    "how do I reset my password",
    "Wie setze ich mein Passwort zurück?",
    "",
    " ",
    "\x00\x07",
    "\ud800 half of a pair",
    "🙂" * 40,
    "[SEP] [CLS] [MASK] [PAD]",
    "word " * 3_000,
    "x" * 100_000,
    "SELECT 1; -- {{name}}",
]


@pytest.fixture(params=["packaged", "remote", "packaged, cached", "remote, cached"])
async def embedder(request: pytest.FixtureRequest, server, client: outbound.Client) -> AsyncIterator[Embedder]:
    kind, _, cached = request.param.partition(", ")
    settings = Settings(
        kind=kind,
        base_url=server.base_url if kind == "remote" else "",
        model="m" if kind == "remote" else "",
        batch=4,
        cache_bytes=1_000_000 if cached else 0,
    )
    made = embeddings.build(settings, client, SystemClock())
    assert made is not None
    yield made
    await made.close()


async def test_rows_have_length_one_and_the_dimensions_told(embedder: Embedder) -> None:
    vectors = await embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


async def test_equal_texts_give_equal_vectors_whatever_stands_beside_them(embedder: Embedder) -> None:
    together = await embedder.embed(TEXTS)
    for place in (0, 4, 8, 10):
        alone = await embedder.embed([TEXTS[place]])
        assert np.array_equal(together[place], alone[0])
    assert np.array_equal((await embedder.embed(TEXTS[::-1]))[::-1], together)


async def test_different_texts_give_different_vectors(embedder: Embedder) -> None:
    a, b = await embedder.embed(["enable 2FA", "what a lovely day"])
    assert float(a @ b) < 0.999


async def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape[0] == 0


async def test_many_at_once_get_their_own(embedder: Embedder) -> None:
    wanted = [[f"text {caller} {number}" for number in range(caller % 7)] for caller in range(30)]
    together = await asyncio.gather(*(embedder.embed(texts) for texts in wanted))
    for texts, vectors in zip(wanted, together, strict=True):
        assert len(vectors) == len(texts)
        if texts:
            assert np.array_equal(vectors, await embedder.embed(texts))


async def test_what_a_caller_does_to_its_vectors_is_its_own_matter(embedder: Embedder) -> None:
    first = await embedder.embed(["hello"])
    before = first.copy()
    first[:] = 0
    assert np.array_equal(await embedder.embed(["hello"]), before)


async def test_a_caller_that_leaves_harms_nobody(embedder: Embedder) -> None:
    leaving = asyncio.create_task(embedder.embed([f"long list {number}" for number in range(200)]))
    await asyncio.sleep(0)
    staying = asyncio.create_task(embedder.embed(["hello"]))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await staying).shape[0] == 1


async def test_its_id_names_it_and_holds_a_checksum(embedder: Embedder) -> None:
    name, _, checksum = embedder.id.rpartition("@")
    assert name
    assert len(checksum) == 8
    int(checksum, 16)


async def test_closed_it_says_so(embedder: Embedder) -> None:
    await embedder.close()
    with pytest.raises(Unavailable) as caught:
        await embedder.embed(["something new"])
    assert caught.value.code == "embeddings_unavailable"
