"""Other gateways, each in an environment of its own under ``.venvs/``, never in the project's."""

import subprocess
import sys
from pathlib import Path

import msgspec
import servers
from machine import ROOT

ENVIRONMENTS = ROOT / ".venvs"


class Peer(msgspec.Struct, frozen=True):
    """What is installed for one of them."""

    name: str
    packages: tuple[str, ...]
    size: str
    """To say before it is fetched."""


PEERS = {
    "pyreqwest": Peer("pyreqwest", ("pyreqwest==0.15.1", "uvicorn==0.54.*", "uvloop", "httptools"), "10 MB"),
}


def python_of(name: str) -> Path:
    """The Python of a peer's environment, made on first use. Raises ``servers.Missing`` where that fails."""
    peer = PEERS[name]
    place = ENVIRONMENTS / name
    python, stamp = place / "bin" / "python", place / ".packages"
    wanted = "\n".join(peer.packages)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    try:
        _run(sys.executable, "-m", "venv", str(place))
        if _has_uv():
            _run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *peer.packages)
        else:
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        raise servers.Missing(
            f"{name}: could not be installed ({' '.join(said)[:160]}); by hand: "
            f"python -m venv {place.relative_to(ROOT)} && {place.relative_to(ROOT)}/bin/pip install "
            + " ".join(f"'{package}'" for package in peer.packages)
        ) from None
    stamp.write_text(wanted)
    return python


def _has_uv() -> bool:
    return subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
