"""What an exact hit costs, in no-op requests on the same server."""

from contextlib import ExitStack, suppress

import servers
from bench import Bench
from figures import Figure, skipped
from yardstick import Case, Yardstick, difference, ratio

ORDINARY = "cache-control: max-age=86400"
"""A request that names an age goes by the ordinary ASGI path: parsed, fingerprinted, looked up, its age judged."""
MOCK_COMPLETION = b'{"id":"chatcmpl-mock","object":"chat.completion"}'


def measure(bench: Bench) -> list[Figure]:
    """Hits of 4 and 64 KB, short cut and ordinary path, beside the unit and nginx."""
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        gateway = stack.enter_context(bench.gateway("hits", yardstick.upstream))
        probe = Case("probe", gateway.url, "4k", key=gateway.key)
        lines, size = seen(yardstick, probe)
        unit = stack.enter_context(servers.companion("noop", str(lines), str(size), log=bench.place / "noop.log"))
        cases = {
            "unit 4k": Case("unit 4k", unit.url, "4k", pid=unit.pid),
            "hit 4k": Case("hit 4k", gateway.url, "4k", key=gateway.key, pid=gateway.pid, upstream=True),
            "ordinary 4k": Case(
                "ordinary 4k", gateway.url, "4k", key=gateway.key, pid=gateway.pid, headers=ORDINARY, upstream=True
            ),
            "unit 64k": Case("unit 64k", unit.url, "64k", pid=unit.pid),
            "hit 64k": Case("hit 64k", gateway.url, "64k", key=gateway.key, pid=gateway.pid, upstream=True),
            "unit c1": Case("unit c1", unit.url, "4k", pid=unit.pid, connections=1),
            "hit c1": Case("hit c1", gateway.url, "4k", key=gateway.key, pid=gateway.pid, connections=1, upstream=True),
        }
        why = ""
        try:
            process, url = servers.nginx(yardstick.directory, bench.place / "nginx", completion_of(yardstick, probe))
            stack.enter_context(process)
            cases["nginx 4k"] = Case("nginx 4k", url, "4k", pid=process.pid)
        except servers.Missing as missing:
            why = str(missing)
        rounds = bench.sizes.rounds
        tick = bench.ticker("exact hits", rounds * len(cases))
        yardstick.rounds(cases.values(), rounds, bench.sizes.seconds, tick)
        tick("")
    return [*_against_unit(cases, lines), *_latency(cases), _against_nginx(cases, why)]


def seen(yardstick: Yardstick, probe: Case) -> tuple[int, int]:
    """Header lines and body bytes of a hit, as a client gets them: the unit must send as many."""
    for _ in range(3):
        status, headers, content = yardstick.post(probe)
    if status != 200 or headers.get("ostinato-cache") != "hit-exact":
        raise RuntimeError(f"The third equal request is no hit: {status} {headers}")
    return len(headers), len(content)


def completion_of(yardstick: Yardstick, probe: Case) -> bytes:
    """What nginx answers: the very body of the hit, if its configuration can hold it."""
    with suppress(RuntimeError):
        _, _, content = yardstick.post(probe)
        if b"'" not in content and b"$" not in content:
            return content
    return MOCK_COMPLETION


def _against_unit(cases: dict[str, Case], lines: int) -> list[Figure]:
    detail = {name: case.summary() for name, case in cases.items()}
    cost = {name: case.median("cpu_us") or 0 for name, case in cases.items()}
    return [
        Figure(
            id="hit-4k",
            what="exact hit, 4 KB, CPU in no-ops",
            value=ratio(cases["hit 4k"], cases["unit 4k"]),
            asked=1.9,
            goal=1.0,
            note=f"{cost['hit 4k']:.1f} us; the no-op with {lines} headers {cost['unit 4k']:.1f} us",
            detail=detail,
        ),
        Figure(
            id="hit-64k",
            what="exact hit, 64 KB, CPU in no-ops",
            value=ratio(cases["hit 64k"], cases["unit 64k"]),
            asked=2.1,
            note=f"{cost['hit 64k']:.1f} us; the no-op {cost['unit 64k']:.1f} us",
        ),
        Figure(
            id="hit-4k-ordinary",
            what="the same by the ordinary path, 4 KB",
            value=ratio(cases["ordinary 4k"], cases["unit 4k"]),
            note=f"{cost['ordinary 4k']:.1f} us: parsed and fingerprinted, because the request names an age",
        ),
    ]


def _latency(cases: dict[str, Case]) -> list[Figure]:
    p50, above = cases["hit c1"].median("p50"), difference(cases["hit c1"], cases["unit c1"])
    return [
        Figure(
            id="hit-p50",
            what="exact hit, p50 at one connection",
            value=p50 / 1000 if p50 is not None else None,
            unit="ms",
            asked=0.25,
            note=f"{(above or 0) / 1000:+.3f} ms to the no-op",
        )
    ]


def _against_nginx(cases: dict[str, Case], why: str) -> Figure:
    what = "exact hit, 4 KB, to nginx answering from its configuration"
    if why:
        return skipped("hit-nginx", what, why)
    cost = cases["nginx 4k"].median("cpu_us")
    return Figure(
        id="hit-nginx",
        what=what,
        value=ratio(cases["hit 4k"], cases["nginx 4k"]),
        unit="times",
        goal=4.0,
        note=f"nginx {cost:.1f} us" if cost else "",
    )
