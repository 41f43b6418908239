"""The packaged encoder: how long a text takes on one core, how close it is to the original, how much it weighs."""

import asyncio
import json
import time
from pathlib import Path

from bench import Bench
from figures import Figure, skipped

from ostinato import embeddings
from ostinato.core.clock import SystemClock

BUILT = Path(__file__).resolve().parent.parent / "packages/encoder/dist/built.json"
SHORT = (
    "how do I reset my password",
    "enable 2FA",
    "what is the exchange rate for euros",
    "my card was declined",
    "where is my refund?",
    "top up by cheque",
    "I lost my phone, what should I do about the app",
    "cancel a transfer",
)
ROUNDS = 40


async def speeds() -> dict[str, float]:
    """Milliseconds of one short text by itself, texts a second in lists, microseconds of one that was seen before."""
    encoder = embeddings.Packaged()
    cached = embeddings.Cached(encoder, 64 * 1024 * 1024)
    began = time.perf_counter()
    await encoder.embed(["warm"])
    loaded = time.perf_counter() - began
    alone: list[float] = []
    # The processor's time beside the clock's: the machine may have other work.
    spent = time.process_time()
    for number in range(ROUNDS):
        for text in SHORT:
            began = time.perf_counter()
            await encoder.embed([f"{text} {number}"])
            alone.append(time.perf_counter() - began)
    spent = (time.process_time() - spent) / len(alone)
    listed = [f"{text} {number}" for number in range(ROUNDS) for text in SHORT]
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        await encoder.embed(listed)
        best = min(best, time.process_time() - began)
    await cached.embed(listed)
    began = time.perf_counter()
    for text in listed:
        await cached.embed([text])
    again = (time.perf_counter() - began) / len(listed)
    long = "The treaty was signed in 1648 and ended thirty years of war. " * 20
    began = time.perf_counter()
    await encoder.embed([f"{number} {long}" for number in range(20)])
    longest = (time.perf_counter() - began) / 20
    await cached.close()
    alone.sort()
    return {
        "load_ms": loaded * 1e3,
        "short_ms": spent * 1e3,
        "short_p50_ms": alone[len(alone) // 2] * 1e3,
        "short_p95_ms": alone[int(len(alone) * 0.95)] * 1e3,
        "listed_per_s": len(listed) / best,
        "seen_us": again * 1e6,
        "longest_ms": longest * 1e3,
    }


def measure(bench: Bench) -> list[Figure]:
    """Speed, agreement and size of the packaged encoder."""
    tick = bench.ticker("encoder", 1)
    tick("the packaged encoder")
    missing = embeddings.build(embeddings.Settings(), None, SystemClock()) is None  # type: ignore[arg-type] - not called
    if missing:
        return [skipped("encoder", "the packaged encoder", "not installed: make encoder")]
    found = asyncio.run(speeds())
    tick("")
    rows = [
        Figure(
            id="encoder-short",
            what="a short query as a vector, by the packaged encoder: time of one core",
            value=found["short_ms"],
            unit="ms",
            asked=3.2,
            note=f"by the clock {found['short_p50_ms']:.2f} ms, 95 % within {found['short_p95_ms']:.2f} ms; "
            f"256 word pieces take {found['longest_ms']:.1f} ms; loading it {found['load_ms']:.0f} ms",
            detail=found,
        ),
        Figure(
            id="encoder-listed",
            what="short texts in a list, each by itself: a second of one core",
            value=found["listed_per_s"],
            unit="/s",
            asked=367.0,
            more=True,
            note=f"a text seen before takes {found['seen_us']:.0f} us",
        ),
    ]
    if BUILT.exists():
        built = json.loads(BUILT.read_text())
        rows.append(
            Figure(
                id="encoder-agreement",
                what="cosine between its vectors and the original's, the least of the samples",
                value=built["cosine_min"],
                asked=0.99,
                more=True,
                note=f"{built['texts']} texts, {built['cosine_mean']:.4f} on average; "
                f"the wheel has {built['bytes'] / 1e6:.1f} MB",
                detail=built,
            )
        )
    return rows
