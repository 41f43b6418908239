"""What a miss costs beside a proxy that does nothing but pass on."""

from contextlib import ExitStack

import peers
import servers
from bench import Bench
from figures import Figure, skipped
from yardstick import Case, difference, ratio


def measure(bench: Bench) -> list[Figure]:
    """Misses of 4 KB: CPU against two bare proxies, and what is added to the upstream's own time."""
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        upstream = f"{yardstick.upstream}/v1/chat/completions"
        gateway = stack.enter_context(bench.gateway("misses", yardstick.upstream))
        bare = stack.enter_context(servers.companion("bare", upstream, log=bench.place / "bare.log"))

        def case(name: str, url: str, pid: int = 0, key: str = "sk-test", connections: int = 32) -> Case:
            return Case(name, url, "4k", mode="miss", key=key, pid=pid, connections=connections, upstream=True)

        cases = {
            "bare": case("bare", bare.url, bare.pid),
            "miss": case("miss", gateway.url, gateway.pid, gateway.key),
            "direct c1": case("direct c1", yardstick.upstream, connections=1),
            "bare c1": case("bare c1", bare.url, bare.pid, connections=1),
            "miss c1": case("miss c1", gateway.url, gateway.pid, gateway.key, connections=1),
        }
        why = ""
        try:
            python = str(peers.python_of("pyreqwest"))
            other = servers.companion("reqwest", upstream, log=bench.place / "reqwest.log", python=python)
            stack.enter_context(other)
            cases["reqwest"] = case("reqwest", other.url, other.pid)
        except servers.Missing as missing:
            why = str(missing)
        rounds = bench.sizes.rounds
        tick = bench.ticker("misses", rounds * len(cases))
        yardstick.rounds(cases.values(), rounds, bench.sizes.seconds, tick)
        tick("")
    return _figures(cases, why)


def _figures(cases: dict[str, Case], why: str) -> list[Figure]:
    cost = {name: case.median("cpu_us") or 0 for name, case in cases.items()}
    added = difference(cases["miss c1"], cases["direct c1"])
    to_bare = difference(cases["miss c1"], cases["bare c1"])
    what = "the same to a bare proxy on pyreqwest"
    other = skipped("miss-reqwest", what, why)
    if "reqwest" in cases:
        other = Figure(
            id="miss-reqwest",
            what=what,
            value=ratio(cases["miss"], cases["reqwest"]),
            unit="times",
            note=f"{cost['reqwest']:.0f} us",
        )
    return [
        Figure(
            id="miss-bare",
            what="miss, 4 KB, CPU to a bare proxy on the same client",
            value=ratio(cases["miss"], cases["bare"]),
            unit="times",
            asked=1.5,
            note=f"{cost['miss']:.0f} us; bare {cost['bare']:.0f} us",
            detail={name: case.summary() for name, case in cases.items()},
        ),
        other,
        Figure(
            id="miss-added",
            what="miss, added p50 at one connection, to the upstream itself",
            value=added / 1000 if added is not None else None,
            unit="ms",
            asked=0.8,
            note=f"{(to_bare or 0) / 1000:+.3f} ms to the bare proxy",
        ),
    ]
