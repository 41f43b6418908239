"""Checkpoints that were kept elsewhere: in a file, or in the history of a git repository."""

import subprocess
from pathlib import Path

from ostinato.verify.bundle import Trusted
from ostinato.verify.checkpoints import Checkpoint, read_note, read_notes
from ostinato.verify.trees import Broken

CHECKPOINT_FILE = "ostinato-audit-checkpoint"
"""Name of the file of which every commit of an anchor's repository holds one checkpoint."""


def read_anchor(path: Path) -> list[Trusted]:
    """The checkpoints in a file, or in every commit of a git repository. Raises ``Broken``."""
    try:
        found = _from_git(path) if path.is_dir() else list(read_notes(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise Broken(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from None
    except Broken as error:
        raise Broken(f"{path}: {error}") from None
    if not found:
        raise Broken(f"{path} holds no checkpoint")
    return [Trusted(str(path), checkpoint) for checkpoint in found]


def _from_git(path: Path) -> list[Checkpoint]:
    """Also from commits that a later one rewrote, on any branch: an anchor forgets nothing."""
    commits = _git(path, ["log", "--all", "--format=%H", "--", CHECKPOINT_FILE], b"").decode().split()
    asked = "".join(f"{commit}:{CHECKPOINT_FILE}\n" for commit in commits).encode()
    answer = _git(path, ["cat-file", "--batch"], asked)
    found: list[Checkpoint] = []
    while answer:
        head, _, answer = answer.partition(b"\n")
        kind, _, count = head.decode().rpartition(" ")
        if kind.endswith(" blob") and count.isdigit():
            found.append(read_note(answer[: int(count)].decode()))
            answer = answer[int(count) + 1 :]
    return found


def _git(path: Path, command: list[str], told: bytes) -> bytes:
    safe = ["git", "-c", "core.fsmonitor=false", "-C", str(path)]
    try:
        ran = subprocess.run([*safe, *command], input=told, capture_output=True, check=False)  # noqa: S603 - no shell
    except FileNotFoundError:
        raise Broken("git is not installed, and this is a repository") from None
    if ran.returncode:
        raise Broken(ran.stderr.decode(errors="replace").strip().splitlines()[-1][:200])
    return ran.stdout
