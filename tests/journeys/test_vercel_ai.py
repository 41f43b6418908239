"""The Vercel AI SDK (npm ``ai``), pointed at Ostinato by base URL and key alone. Needs Node and the npm registry.

``vercel/journey.mjs`` makes the calls and prints what it got, one JSON object per check; here that is judged.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Running

HERE = Path(__file__).parent / "vercel"
OBJECT = '{"intent": "card_arrival", "sure": true}'
WAYS = [f"{wire} to {behind}" for wire in ("chat", "responses", "anthropic") for behind in ("openai", "claude")]


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the SDK in the versions of the lock file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node with npm is not installed: the Vercel AI SDK cannot be tried.")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.strip("v").split(".")[0]) < 18:
        pytest.skip(f"Node {version} is older than the 18 that the Vercel AI SDK needs.")
    directory = tmp_path_factory.mktemp("vercel")
    for name in ("package.json", "package-lock.json", ".npmrc", "journey.mjs"):
        shutil.copy(HERE / name, directory)
    try:
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", "--fetch-retries=1"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("The npm registry does not answer: the Vercel AI SDK cannot be installed.")
    if done.returncode:
        told = done.stderr.strip().splitlines() or [""]
        if any(word in done.stderr for word in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ENETUNREACH")):
            pytest.skip(f"The npm registry cannot be reached: {told[-1]}")
        raise AssertionError(done.stderr[-2000:])
    return directory


@pytest.fixture(scope="module")
def told(sdk: Path, gateway: Running) -> dict[str, Any]:
    """What every check printed, by its name."""
    say_object(gateway)
    try:
        done = subprocess.run(
            ["node", "journey.mjs"],
            cwd=sdk,
            env={**gateway.environment, "AI_SDK_LOG_WARNINGS": "false"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        gateway.upstream.say("said")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"check"')]
    return {report.pop("check"): report for report in reports}


def say_object(gateway: Running) -> None:
    """Let both wires' ``said`` answer with an object. Each reads the fields that it knows."""
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18, "input_tokens": 9, "output_tokens": 9}
    body = {
        "id": "x", "object": "chat.completion", "created": 1, "model": "said", "type": "message", "role": "assistant",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": OBJECT}, "finish_reason": "stop"}],
        "content": [{"type": "text", "text": OBJECT}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": usage,
    }  # fmt: skip
    gateway.upstream.say("said", json.dumps(body).encode())


@pytest.mark.parametrize("way", WAYS)
def test_text_is_generated_then_repeated(told: dict[str, Any], way: str) -> None:
    text = told[f"{way}: text"]
    assert text["cache"] == ["miss", "hit-exact"]
    assert text["texts"][0] == text["texts"][1] != ""
    assert text["finish"] == "stop"
    assert text["tokens"][0] == text["tokens"][1] > 0


@pytest.mark.parametrize("way", WAYS)
def test_streams_share_the_entry(told: dict[str, Any], way: str) -> None:
    assert told[f"{way}: stream"] == {"text": told[f"{way}: text"]["texts"][0], "finish": "stop", "cache": "hit-exact"}


@pytest.mark.parametrize("way", WAYS)
def test_tools_are_called(told: dict[str, Any], way: str) -> None:
    tools = told[f"{way}: tools"]
    assert tools["names"] == tools["streamed"] == ["search"]
    assert tools["steps"] == 2
    assert all(tools["calls"])


@pytest.mark.parametrize("way", WAYS)
def test_errors_are_the_sdks_own(told: dict[str, Any], way: str) -> None:
    assert told[f"{way}: error"] == {"name": "AI_APICallError", "status": 400, "retryable": False}
    assert told[f"{way}: rate"] == {"name": "AI_APICallError", "status": 429}
    broken = told[f"{way}: mid-stream"]
    assert broken["errors"] >= 1
    assert broken["partial"]


def test_embeddings_and_objects(told: dict[str, Any]) -> None:
    assert told["embeddings"] == {"sizes": [8, 8], "equal": True}
    for alias in ("openai-said", "claude-said"):
        assert told[f"object from {alias}"]["object"] == json.loads(OBJECT)
