"""Load at a constant rate: ``steady_load.py URL BODYFILE KEY MODE RATE SECONDS TAG`` prints one JSON line.

Requests are due at fixed times, whatever the server does; latency counts from the time when a request was due, so a
server that stalls cannot hide it. ``MODE`` is ``hit`` (one body) or ``miss`` (a new body each time).
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop

WARM_SECONDS = 1.0


class Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self, idle: list["Connection"], latencies: list[float], bad: list[int]) -> None:
        self.idle, self.latencies, self.bad = idle, latencies, bad
        self.due = 0.0
        self.transport: Any = None
        self.parser: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, request: bytes, due: float) -> None:
        """Send; ``due`` is when it should have been."""
        self.due = due
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.latencies.append(time.perf_counter() - self.due)
        if self.parser.get_status_code() != 200:
            self.bad.append(self.parser.get_status_code())
        self.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.idle:
            self.idle.remove(self)


async def load(url: str, template: bytes, key: str, mode: str, rate: float, seconds: float, tag: str) -> dict[str, Any]:
    """Send at ``rate``; gives percentiles in milliseconds."""
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    idle: list[Connection] = []
    latencies: list[float] = []
    bad: list[int] = []
    opened = 0

    def request(number: int) -> bytes:
        nonce = f"fixednonce{tag}" if mode == "hit" else f"steady-{time.time_ns()}-{number}"
        content = template.replace(b"@@NONCE@@", nonce.encode())
        head = f"POST {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
        return f"{head}authorization: Bearer {key}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content

    began = time.perf_counter()
    sent, warm = 0, int(WARM_SECONDS * rate)
    while sent < warm + seconds * rate:
        due = began + sent / rate
        late = time.perf_counter() - due
        if late < 0:
            await asyncio.sleep(-late)
        if not idle:
            opened += 1
            _, connection = await loop.create_connection(
                lambda: Connection(idle, latencies, bad), place.hostname, place.port
            )
        else:
            connection = idle.pop()
        connection.send(request(sent), due)
        sent += 1
    end = time.perf_counter() + 30
    while len(latencies) < sent and time.perf_counter() < end:  # noqa: ASYNC110 - only at the end
        await asyncio.sleep(0.01)
    # In the order of their ends, which at a steady rate is that of their beginnings, almost.
    counted = sorted(latencies[warm:])

    def percentile(share: float) -> float:
        return round(counted[min(len(counted) - 1, int(len(counted) * share))] * 1000, 3)

    return {
        "sent": sent,
        "answered": len(latencies),
        "bad": len(bad),
        "connections": opened,
        **{f"p{share * 100:g}": percentile(share) for share in (0.5, 0.9, 0.99, 0.999)},
        "max": percentile(1.0),
    }


if __name__ == "__main__":
    address, file, secret, how, per_second, duration, mark = sys.argv[1:]
    content = Path(file).read_bytes()
    print(json.dumps(uvloop.run(load(address, content, secret, how, float(per_second), float(duration), mark))))
