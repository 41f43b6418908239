"""A full in-process tier, in a process of its own: ``fill_memory.py ENTRIES BYTES`` prints one JSON line.

Every answer is different, and so is everything else that differs between real entries. The collector runs as it runs
by itself, then twice over everything; each pause is noted.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path

from ostinato import cache, serving
from ostinato.core import ids
from ostinato.core.clock import SystemClock
from ostinato.wire.model import Usage

LIMIT = 4 * 1024**3
DAY = 86_400_000_000


def resident(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main(wanted: str, size: str) -> None:
    """Fill, read, collect."""
    entries, answer_bytes = int(wanted), int(size)
    assert serving  # the whole server is loaded, as in real life
    clock = SystemClock()
    held = cache.ResponseCache(cache.Settings(memory_bytes=LIMIT), clock, secret=b"s" * 32)
    pauses: list[float] = []
    began = 0.0

    def watch(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - began)

    # As ``App.start`` does when everything is built.
    gc.collect()
    gc.freeze()
    before = resident("VmRSS")
    gc.callbacks.append(watch)
    now = clock.now()
    keys: list[bytes] = []
    for number in range(entries):
        key = os.urandom(32)
        if number % 100 == 0:
            keys.append(key)
        held.put(key, b"scope".ljust(32), meta(number, now), os.urandom(answer_bytes), begun=0)
    found = sum(held.get_now(key, now) is not None for key in keys)
    automatic = len(pauses)
    gc.collect()
    gc.collect()
    gc.callbacks.remove(watch)
    print(
        json.dumps(
            {
                "entries": held.stats()["memory_entries"],
                "found": found,
                "looked_up": len(keys),
                "rss": resident("VmRSS"),
                "peak": resident("VmHWM"),
                "rss_before": before,
                "counted": held.stats()["memory_bytes"],
                "collections": automatic,
                "pause_ms": max(pauses) * 1000,
                "pause_full_ms": max(pauses[automatic:]) * 1000,
            }
        )
    )


def meta(number: int, now: int) -> cache.EntryMeta:
    """As of a plain chat completion; times, digest and origin are each entry's own."""
    return cache.EntryMeta(
        fingerprint_version=1,
        alias="gpt-4o-mini",
        target="mock/gpt-4o-mini",
        release="",
        generation="9" * 32,
        org="acme",
        project="shop",
        user_digest="",
        context="",
        tags=(),
        created=now + number,
        expires=now + DAY + number,
        stale_until=now + DAY + number,
        input_digest=os.urandom(16).hex(),
        usage=Usage(42 + number % 1000, 0, 0, 50, 0, {"prompt_tokens": 42, "completion_tokens": 50}),
        cost=36_300 + number,
        origin=ids.new(now + number),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
