"""Runs one of ``children/`` and reads the JSON line that it ends with."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import servers


def run(
    name: str, *arguments: object, core: int | None = None, line: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The last line of what it prints, decoded; ``line`` sees the others as they come."""
    command = [sys.executable, str(servers.CHILDREN / name), *map(str, arguments)]
    process = subprocess.Popen(servers.pinned(core, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    last = ""
    try:
        assert process.stdout is not None
        for text in process.stdout:
            last = text
            line(text)
        _, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0 or not last.startswith("{"):
        raise RuntimeError(f"{name} failed ({process.returncode}): {errors[-800:]}")
    return json.loads(last)
