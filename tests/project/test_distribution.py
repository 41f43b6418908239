"""What is given to others: a wheel without surprises, the same bytes each time."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(target: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1760000000"},
    )
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def test_it_holds_the_package_its_data_and_its_licences(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        notice = archive.read("ostinato/demo/data/NOTICE").decode()
        licences = [name for name in names if "dist-info/licenses/" in name]
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert "ostinato/py.typed" in names and "ostinato/demo/data/questions.csv" in names
    assert any(name.startswith("ostinato/storage/migrations/") and name.endswith(".py") for name in names)
    assert {Path(name).name for name in licences} >= {"LICENSE", "NOTICE"}
    assert "BANKING77" in notice and "CC BY 4.0" in notice and "Changes:" in notice
    assert "License-Expression: Apache-2.0" in metadata


def test_nothing_in_it_runs_by_itself_or_was_left_behind(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    bad = (".pth", ".pyc", ".db", ".gguf", ".so", ".env", ".log")
    assert [name for name in names if name.endswith(bad)] == []
    assert {name.split("/")[0] for name in names} == {
        "ostinato",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }


def test_it_is_reproducible(wheel: Path, tmp_path: Path):
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_a_client_installs_three_packages(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    base = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert sorted(line.split()[1].split(">")[0] for line in base) == ["blake3", "httpx", "msgspec"]


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
