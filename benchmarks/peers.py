"""Other gateways, each in an environment of its own under ``.venvs/``, never in the project's."""

import subprocess
import sys
from pathlib import Path

import msgspec
import servers
from machine import ROOT

ENVIRONMENTS = ROOT / ".venvs"
STAMP = ".packages"
INSTALL_SECONDS = 600
"""A slow package index must not take the run's hour."""


class Peer(msgspec.Struct, frozen=True):
    """What is installed for one of them."""

    name: str
    packages: tuple[str, ...]
    size: str
    """To say before it is fetched."""


PEERS = {
    "pyreqwest": Peer("pyreqwest", ("pyreqwest==0.15.1", "uvicorn==0.54.*", "uvloop", "httptools"), "10 MB"),
    "litellm": Peer("litellm", ("litellm[proxy]==1.106.2",), "580 MB installed"),
    "mlflow": Peer("mlflow", ("mlflow[genai]==3.17.2",), "530 MB installed"),
}


def installed(name: str) -> bool:
    """Whether a peer's environment holds what is wanted."""
    stamp = ENVIRONMENTS / name / STAMP
    return stamp.is_file() and stamp.read_text() == "\n".join(PEERS[name].packages)


def python_of(name: str) -> Path:
    """The Python of a peer's environment, made on first use. Raises ``servers.Missing`` where that fails."""
    peer = PEERS[name]
    place = ENVIRONMENTS / name
    python = place / "bin" / "python"
    if installed(name):
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
    (place / STAMP).write_text("\n".join(peer.packages))
    return python


def _has_uv() -> bool:
    return subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
