"""The child process that computes: ``python -m ostinato.providers.local_child``. Not for people.

Reads one line of JSON from its standard input, loads the model, writes one line of JSON with its address, and serves
until its standard input ends: so it never outlives its parent, however that dies.
"""

import importlib
import json
import os
import sys
import threading
from typing import Any

_NICE = 5


def main() -> None:
    """Serve one model."""
    config: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    # Cache hits must not wait for a core that computes a miss.
    os.nice(_NICE)
    address = _serve(config)
    sys.stdout.write(json.dumps({"address": address}) + "\n")
    sys.stdout.flush()
    threading.Event().wait()


def _serve(config: dict[str, Any]) -> str:
    xllamacpp: Any = importlib.import_module("xllamacpp")  # only the child pays for it; it has no types
    params: Any = xllamacpp.CommonParams()
    params.model.path = config["path"]
    params.model_alias = {config["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]
    params.n_parallel = config["parallel"]
    params.n_ctx = config["context"] * config["parallel"]
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = config["threads"]
    params.n_threads_http = config["parallel"] + 2
    params.cache_prompt = True
    params.cache_ram_mib = config["cache_mib"]
    params.swa_full = config["full_attention_cache"]
    if config["template"]:
        params.chat_template = config["template"]
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = -1
    # Kept for as long as the process lives: the server stops when this object goes.
    global _server  # noqa: PLW0603 - a process with one purpose
    _server = xllamacpp.Server(params)
    return str(_server.listening_address)


_server: Any = None


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
