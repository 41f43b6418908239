"""A million entries: the memory they take, the collector's pauses, and the first hit after a restart."""

import json
import os
import time
import urllib.request

import child
import servers
from bench import Bench
from figures import Figure

ENTRY_BYTES = 1024


def measure(bench: Bench) -> list[Figure]:
    """In memory, then on disk."""
    return [*in_memory(bench), *restart(bench)]


def in_memory(bench: Bench) -> list[Figure]:
    """Resident memory of a process that holds them, and the longest pause."""
    entries = bench.sizes.entries
    tick = bench.ticker("entries in memory", 1)
    tick(f"{entries:,} of {ENTRY_BYTES} bytes")
    found = child.run("fill_memory.py", entries, ENTRY_BYTES, core=0)
    tick("")
    if found["entries"] != entries or found["found"] != found["looked_up"]:
        raise RuntimeError(f"Entries are missing: {found}")
    return [
        Figure(
            id="memory",
            what=f"{entries:,} entries of 1 KB, resident memory of the process",
            value=found["rss"] / 1024**3,
            unit="GiB",
            asked=2.0,
            note=f"peak {found['peak'] / 1024**3:.2f} GiB; the tier counts {found['counted'] / 1024**3:.2f} GiB",
            detail=found,
        ),
        Figure(
            id="gc-pause",
            what="the longest garbage-collection pause meanwhile",
            value=found["pause_ms"],
            unit="ms",
            asked=20,
            note=f"{found['collections']} collections of its own; two forced over everything "
            f"took {found['pause_full_ms']:.1f} ms",
        ),
    ]


def restart(bench: Bench) -> list[Figure]:
    """From starting the process to its first hit, with that many in ``cache.db``: page cache cold, then warm."""
    entries = bench.sizes.entries
    step = 2_000
    tick = bench.ticker("entries in cache.db", entries // step + 3)
    # No upstream: what is answered can only come from the file.
    with _fake_upstream(bench) as upstream:
        gateway = bench.gateway("restart", upstream.url)
        with gateway:
            ask(gateway)
            tick("")
        found = child.run(
            "fill_store.py",
            gateway.data / "cache.db",
            entries,
            line=lambda text: tick(text.strip()) if text[0] == "d" else None,
        )
    times: dict[str, float] = {}
    for kind in ("cold", "warm"):
        if kind == "cold":
            forget(gateway.data)
        began = time.perf_counter()
        gateway.launch()
        gateway.wait()
        serving = time.perf_counter() - began
        result = ask(gateway)
        times[kind] = time.perf_counter() - began
        times[f"{kind}_listening"] = serving
        gateway.stop()
        if result != "hit-exact":
            raise RuntimeError(f"The first request after the restart is no hit but {result!r}")
    tick("")
    return [
        Figure(
            id="restart",
            what=f"restart with {found['entries']:,} entries in cache.db, process start to first hit",
            value=times["cold"],
            unit="s",
            asked=5.0,
            note=f"file of {found['file_mb']:,.0f} MB out of the page cache; in it {times['warm']:.2f} s; "
            f"{found['blob_bytes']} bytes an entry, filled at {found['entries'] / found['seconds']:,.0f}/s",
            detail={**found, **times},
        )
    ]


def ask(gateway: servers.Gateway) -> str:
    """One request, always the same; its cache result."""
    text = "What is my order status? " * 8
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {gateway.key}"}
    request = urllib.request.Request(f"{gateway.url}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        reply.read()
        return reply.headers["ostinato-cache"]


def forget(directory: os.PathLike[str]) -> None:
    """Push the files of a directory out of the page cache."""
    for entry in os.scandir(directory):
        if entry.is_file():
            file = os.open(entry.path, os.O_RDONLY)
            try:
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def _fake_upstream(bench: Bench) -> servers.Companion:
    return servers.companion("answer", log=bench.place / "answer.log", core=1)
