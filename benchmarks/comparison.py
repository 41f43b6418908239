"""Other gateways on the same body, the same mock and the same core, in turn with ours."""

import secrets
import time
from contextlib import ExitStack
from pathlib import Path

import peers
import servers
from bench import Bench
from figures import Figure, skipped
from yardstick import Case, ratio

STARTS_WITHIN = 300.0
"""LiteLLM imports for tens of seconds."""
ASKED = {
    "litellm hit": ("hit-litellm", "exact hit, 4 KB: LiteLLM's cached hit takes", 140.0, 250.0),
    "litellm miss": ("miss-litellm", "miss, 4 KB: LiteLLM's takes", 50.0, None),
    "mlflow miss": ("miss-mlflow", "miss, 4 KB: that of MLflow's gateway takes", 5.0, None),
}


def measure(bench: Bench) -> list[Figure]:
    """How many times more CPU they take for a request."""
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        gateway = stack.enter_context(bench.gateway("comparison", yardstick.upstream))
        cases: dict[str, Case] = {}

        def add(name: str, url: str, mode: str, key: str, pid: int) -> None:
            cases[name] = Case(name, url, "4k", mode=mode, key=key, pid=pid, upstream=True)

        add("ostinato hit", gateway.url, "hit", gateway.key, gateway.pid)
        add("ostinato miss", gateway.url, "miss", gateway.key, gateway.pid)
        why: dict[str, str] = {}
        for name, start, modes in (("litellm", litellm, ("hit", "miss")), ("mlflow", mlflow, ("miss",))):
            tick = bench.ticker(f"{name}: install, start", 1)
            tick(peers.PEERS[name].size if not peers.installed(name) else "")
            try:
                peer, url, key = start(bench.place / name, yardstick.upstream)
                stack.enter_context(peer)
                for mode in modes:
                    add(f"{name} {mode}", url, mode, key, peer.pid)
            except (servers.Missing, RuntimeError) as error:
                why[name] = " ".join(str(error).split())[:240]
            tick("")
        # A peer with a long queue works on for callers who have left, and pauses meanwhile.
        yardstick.patience = 1.0
        rounds = min(bench.sizes.rounds, 4)
        tick = bench.ticker("comparison", rounds * len(cases))
        for case in cases.values():
            yardstick.post(case)
        # What a first request sets up in the background is done.
        time.sleep(2)
        yardstick.rounds(cases.values(), rounds, bench.sizes.seconds + 1, tick)
        tick("")
        yardstick.patience = 0.1
    return [_figure(name, cases, why.get(name.split()[0], "")) for name in ASKED]


def _figure(name: str, cases: dict[str, Case], why: str) -> Figure:
    identity, what, asked, goal = ASKED[name]
    if name not in cases:
        return skipped(identity, what, why)
    ours, theirs = cases[f"ostinato {name.split()[1]}"], cases[name]
    peer = peers.PEERS[name.split(maxsplit=1)[0]]
    return Figure(
        id=identity,
        what=what,
        value=ratio(theirs, ours),
        unit="times as much",
        asked=asked,
        goal=goal,
        more=True,
        note=f"{theirs.median('cpu_us') or 0:,.0f} us, ours {ours.median('cpu_us') or 0:.1f} us; {peer.packages[0]}",
        detail={"ours": ours.summary(), "theirs": theirs.summary()},
    )


def litellm(place: Path, upstream: str) -> tuple[servers.Process, str, str]:
    """One worker, a master key, its in-memory cache on, no database: the process, its address and the key."""
    python = peers.python_of("litellm")
    place.mkdir()
    key, port = f"sk-{secrets.token_hex(24)}", servers.free_port()
    url = f"http://127.0.0.1:{port}"
    (place / "config.yaml").write_text(
        f"""model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{upstream}/v1", api_key: sk-upstream}}
litellm_settings:
  cache: true
  cache_params: {{type: local}}
general_settings: {{master_key: "{key}"}}
"""
    )
    command = [str(python.with_name("litellm")), "--config", str(place / "config.yaml"), "--num_workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    # It would fetch its price list from the network.
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "HOME": str(place)}
    ready = f"{url}/health/liveliness"
    log = place / "log"
    process = servers.Process(
        "litellm", command, ready, log, cwd=place, environment=environment, starts_within=STARTS_WITHIN
    )
    return process, url, key


def mlflow(place: Path, upstream: str) -> tuple[servers.Process, str, str]:
    """``mlflow gateway``, one worker; it knows no keys of callers and no cache: the process, its address, any key."""
    python = peers.python_of("mlflow")
    place.mkdir()
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    (place / "config.yaml").write_text(
        f"""endpoints:
  - name: gpt-4o-mini
    endpoint_type: llm/v1/chat
    model:
      provider: openai
      name: gpt-4o-mini
      config: {{openai_api_key: sk-upstream, openai_api_base: "{upstream}/v1"}}
"""
    )
    command = [str(python.with_name("mlflow")), "gateway", "start", "--config-path", str(place / "config.yaml")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # It starts its server by name.
    environment = {"PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(place)}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    process = servers.Process(
        "mlflow",
        command,
        f"{url}/health",
        place / "log",
        cwd=place,
        environment=environment,
        starts_within=STARTS_WITHIN,
    )
    return process, url, "none"
