"""The packaged encoder: what it knows, what it bounds, and what it says where a part is missing."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import ostinato_encoder
import pytest

from ostinato import embeddings, outbound
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Unavailable
from ostinato.embeddings import EmbedderMissing, Packaged, Settings, packaged


@pytest.fixture
async def encoder() -> AsyncIterator[Packaged]:
    encoder = Packaged()
    yield encoder
    await encoder.close()


async def test_it_knows_what_means_the_same(encoder: Packaged) -> None:
    vectors = await encoder.embed(
        ["I forgot my password", "How can I reset my password?", "What does a flight to Madrid cost?"]
    )
    cosines = embeddings.similarity(vectors, vectors)
    # The original, in float32, says 0.77 and 0.06.
    assert cosines[0, 1] > 0.7
    assert cosines[0, 2] < 0.15


async def test_the_vector_is_the_originals(encoder: Packaged) -> None:
    # The first numbers of all-MiniLM-L6-v2 in float64, as scripts/encoder.py computes it.
    known = [0.044, 0.059, 0.048, 0.078, 0.027, -0.038, -0.003, -0.06]
    (vector,) = await encoder.embed(["The quick brown fox jumps over the lazy dog."])
    assert np.allclose(vector[: len(known)], known, atol=0.01)


async def test_a_long_text_is_cut_and_counted(encoder: Packaged) -> None:
    assert encoder.cut == 0
    start = "one two three " * 100
    a, b, c = await encoder.embed([start, start + " and quite another end", "short"])
    assert np.array_equal(a, b)
    assert encoder.cut == 2
    assert not np.array_equal(a, c)
    await encoder.embed([" " * 50_000 + "out of sight"])
    assert encoder.cut == 3


async def test_the_loop_goes_on_meanwhile(encoder: Packaged) -> None:
    await encoder.embed(["warm"])
    turns = 0
    task = asyncio.create_task(encoder.embed([f"some text number {number}" for number in range(100)]))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100


async def test_a_short_call_does_not_wait_for_the_end_of_a_long_one(encoder: Packaged) -> None:
    done: list[str] = []

    async def ask(name: str, texts: list[str]) -> None:
        await encoder.embed(texts)
        done.append(name)

    await asyncio.gather(ask("long", [f"text {number}" for number in range(200)]), ask("short", ["text"]))
    assert done == ["short", "long"]


async def test_too_many_callers_are_sent_away() -> None:
    encoder = Packaged(queue=3)
    outcomes = await asyncio.gather(*(encoder.embed([f"a {n}"]) for n in range(5)), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, Unavailable)]
    assert len(refused) == 2
    assert refused[0].code == "embeddings_busy"
    assert len(await encoder.embed(["again"])) == 1
    await encoder.close()


async def test_calls_under_way_fail_when_it_is_closed(encoder: Packaged) -> None:
    task = asyncio.create_task(encoder.embed([f"text {number}" for number in range(400)]))
    await asyncio.sleep(0.02)
    await encoder.close()
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await task


def test_nothing_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from ostinato import embeddings\n"
        "encoder = embeddings.Packaged()\n"
        "print(encoder.id, encoder.dimensions, [m for m in ('numpy', 'onnxruntime', 'tokenizers') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.split()[1:] == ["384", "[]"]


@pytest.mark.parametrize("gone", ["onnxruntime", "tokenizers", "numpy", "ostinato_encoder"])
async def test_what_is_missing_is_named(gone: str, monkeypatch: pytest.MonkeyPatch, client: outbound.Client) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None if name == gone else real(name))
    with pytest.raises(EmbedderMissing) as caught:
        embeddings.build(Settings(kind="packaged"), client, SystemClock())
    assert gone.replace("_", "-") in caught.value.message
    assert "make encoder" in caught.value.hint
    assert embeddings.build(Settings(kind="auto"), client, SystemClock()) is None


async def test_a_damaged_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes((ostinato_encoder.folder() / name).read_bytes())
    with (tmp_path / "model.onnx").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\x00\x01\x02\x03")
    monkeypatch.setattr(ostinato_encoder, "folder", lambda: tmp_path)
    encoder = Packaged()
    with pytest.raises(EmbedderMissing, match=r"model\.onnx is damaged"):
        await encoder.embed(["hello"])
    await encoder.close()


def test_off_is_off(client: outbound.Client) -> None:
    assert embeddings.build(Settings(kind="off"), client, SystemClock()) is None
