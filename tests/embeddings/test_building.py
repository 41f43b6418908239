"""The data package: what is installed is what the repository says, and building it anew gives the same bytes."""

import hashlib
import importlib.util
import subprocess
from importlib import metadata
from pathlib import Path

import ostinato_encoder
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages/encoder"
BUILDER = ROOT / ".venvs/encoder/bin/python"


def in_the_repository():
    spec = importlib.util.spec_from_file_location("of_the_repository", PACKAGE / "src/ostinato_encoder/__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_installed_is_what_the_repository_says() -> None:
    ours = in_the_repository()
    assert ostinato_encoder.SHA256 == ours.SHA256, "run `make encoder`"
    assert ostinato_encoder.__version__ == ours.__version__ == metadata.version("ostinato-encoder")
    for name, expected in ours.SHA256.items():
        with (ostinato_encoder.folder() / name).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == expected


def test_its_licence_and_where_it_comes_from_are_in_the_wheel() -> None:
    told = metadata.distribution("ostinato-encoder")
    names = {Path(file).name for file in told.files or ()}
    assert {"LICENSE", "NOTICE", "model.onnx", "tokenizer.json"} <= names
    assert told.metadata["License-Expression"] == "Apache-2.0"
    notice = next(file for file in told.files or () if Path(file).name == "NOTICE")
    assert "sentence-transformers" in notice.read_text()
    assert told.requires is None


def test_no_weights_are_kept_in_git() -> None:
    kept = subprocess.run(["git", "ls-files", "packages"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert not [name for name in kept.split() if (ROOT / name).exists() and (ROOT / name).stat().st_size > 100_000]


@pytest.mark.soak
@pytest.mark.skipif(not BUILDER.exists(), reason="make encoder makes the environment that builds it")
def test_the_same_bytes_come_out_again() -> None:
    # The script itself ends with an error where the sums differ, or the vectors are too far from the original's.
    command = [str(BUILDER), "scripts/encoder.py"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    wheel = next((PACKAGE / "dist").glob("*.whl")).read_bytes()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert next((PACKAGE / "dist").glob("*.whl")).read_bytes() == wheel
    assert "cosine 0.99" in first.stdout
