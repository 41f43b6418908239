"""The locks: every file by hash, no index named, one version of everything, nothing forgotten."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements/*.txt"))
PINNED = re.compile(r"([a-z0-9][a-z0-9.-]*)(?:\[[a-z,-]+\])?==([^ ;\\]+)")


def pins(lock: Path) -> dict[str, set[str]]:
    """Name -> versions; more than one only where markers tell them apart."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if line and line[0] not in " #":
            match = PINNED.match(line)
            assert match, f"{lock.name}: {line} pins nothing"
            found.setdefault(match[1], set()).add(match[2])
    return found


def test_the_locks_are_there():
    assert {lock.stem for lock in LOCKS} == {"demo", "dev", "encoder", "gemma", "server", "smollm2", "uv"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_requirement_has_hashes(lock: Path):
    blocks = re.split(r"\n(?=[a-z0-9])", lock.read_text())
    for block in blocks:
        if PINNED.match(block):
            assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_no_lock_names_a_place(lock: Path):
    text = lock.read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|^-f|@ file|trusted-host|\s/", text, re.MULTILINE)


def test_locks_agree_so_that_they_add_up():
    whole = pins(ROOT / "requirements/dev.txt")
    for lock in LOCKS:
        for name, versions in pins(lock).items():
            assert versions <= whole.get(name, versions), f"{lock.name} and dev.txt differ in {name}"


def test_what_the_project_asks_for_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    locked = {lock.stem: pins(lock) for lock in LOCKS}
    wanted = {
        "server": ["server", "postgres", "valkey", "otel"],
        "demo": ["server", "local", "demo"],
        "gemma": ["local-gemma"],
        "dev": [extra for extra in extras if extra != "local-gemma"],
    }
    for lock, names in wanted.items():
        for requirement in [*project["project"]["dependencies"], *(r for name in names for r in extras[name])]:
            name = re.match(r"[A-Za-z0-9-]+", requirement)[0]
            assert name in locked[lock], f"{lock}.txt lacks {name}: run make lock"
    for requirement in project["dependency-groups"]["dev"]:
        if isinstance(requirement, str):
            assert re.match(r"[A-Za-z0-9-]+", requirement)[0] in locked["dev"], requirement


def test_every_dependency_says_why():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    begin, end = lines.index("dependencies = ["), lines.index("[tool.hatch.version]")
    for number, line in enumerate(lines[begin:end], begin + 1):
        if re.match(r'\s+"[a-z]', line) and not line.strip().startswith('"xllamacpp'):
            section = lines[begin:end]
            if "::" not in line:
                assert "#" in line, f"pyproject.toml, line {number}: {line.strip()} ({len(section)} lines looked at)"


@pytest.mark.parametrize("place", ["src", "tests", "benchmarks", "scripts"])
def test_every_import_is_of_a_declared_dependency(place: str):
    """Also where an import happens in a function: what is not declared is not there on another machine."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    development = [] if place == "src" else [r for r in told["dependency-groups"]["dev"] if isinstance(r, str)]

    def plain(name: str) -> str:
        return name.lower().replace("_", "-")

    declared = {
        plain(re.match(r"[A-Za-z0-9-]+", requirement)[0])
        for requirements in [project["dependencies"], *project["optional-dependencies"].values(), development]
        for requirement in requirements
    }
    if place == "scripts":
        # What builds the packaged encoder has an environment of its own.
        builder = (ROOT / "requirements/encoder.in").read_text()
        declared |= {plain(name) for name in re.findall(r"^[A-Za-z0-9-]+", builder, re.MULTILINE)}
    ours = {"ostinato", "ostinato_encoder"} | {
        path.stem for top in (place, "benchmarks") for path in (ROOT / top).rglob("*.py")
    }
    owners = importlib.metadata.packages_distributions()
    imported: dict[str, str] = {}
    for path in (ROOT / place).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            imported |= {name.split(".")[0]: path.name for name in names}
    outside = {name: where for name, where in imported.items() if name not in sys.stdlib_module_names | ours}
    owned = {name: {plain(owner) for owner in owners.get(name, [name])} for name in outside}
    assert {name: where for name, where in outside.items() if declared.isdisjoint(owned[name])} == {}
