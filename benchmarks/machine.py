"""On what a figure was measured: processor, system, versions, commit, and how busy the machine was."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("uvicorn", "uvloop", "httptools", "msgspec", "blake3", "sqlalchemy", "granian")


def commit() -> str:
    """Short hash of the commit, with ``+`` where files differ from it."""
    try:
        short = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return short + ("+" if changed else "")


def describe() -> dict[str, Any]:
    """The machine and the moment. ``load`` is the one-minute load average before anything was started."""
    cores = len(os.sched_getaffinity(0))
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": cores,
        "memory_gib": round(int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1024**2, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
        "load": round(os.getloadavg()[0], 2),
        "busy": os.getloadavg()[0] > 0.5 * cores,
        "real_time": os.sched_getscheduler(0) in {os.SCHED_RR, os.SCHED_FIFO},
    }


def sentence(machine: dict[str, Any]) -> str:
    """One line on the machine."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    busy = f" The machine was busy: load {machine['load']} before the start." if machine["busy"] else ""
    if machine["real_time"]:
        busy += " Everything measured ran in the real-time class, all threads alike (`chrt -r 1 make bench`)."
    if machine.get("niceness"):
        busy += f" Everything measured ran at niceness {machine['niceness']}."
    return (
        f"{machine['date']}, commit {machine['commit']}; {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; {versions}.{busy}"
    )


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")
