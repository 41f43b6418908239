"""The house: doors that say what they are for, floors that hold, nothing that happens at import."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "src/ostinato"
ROOMS = sorted(path.parent for path in HOUSE.glob("*/__init__.py"))
WORDS_OF_WORK = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_door_says_what_its_room_is_for(room: Path):
    tree = ast.parse((room / "__init__.py").read_text())
    docstring = ast.get_docstring(tree)
    assert docstring, f"{room.name} has no docstring"
    assert len(docstring.splitlines()) <= 14 and len(docstring) >= 60, docstring
    if all(isinstance(node, ast.Expr) for node in tree.body):
        return  # a room whose modules are its doors says so in words
    names = [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    ]
    assert "__all__" in names, f"{room.name} does not say what others may use"


def test_every_module_says_what_it_is():
    silent = [
        str(path.relative_to(HOUSE))
        for path in HOUSE.rglob("*.py")
        if path.read_text().strip() and path.name != "env.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_module_is_a_product_of_its_own():
    long = {str(path.relative_to(HOUSE)): len(path.read_text().splitlines()) for path in HOUSE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 500} == {}


def test_nothing_is_left_to_do():
    found = [
        f"{path.relative_to(HOUSE)}:{number}: {line.strip()}"
        for path in HOUSE.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WORDS_OF_WORK.search(line) or re.search(r"#\s*(type|pyright): ignore(?!\[)", line)
    ]
    assert found == []


def test_the_import_contract_holds():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]


PROBE = """
import json, os, sys, threading
before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
print(json.dumps({"modules": sorted(sys.modules), "threads": threading.active_count(), "opened": len(after - before)}))
"""


def probe(*names: str) -> dict:
    ran = subprocess.run([sys.executable, "-c", PROBE, *names], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def test_a_client_needs_core_and_wire_only():
    loaded = {name.split(".")[0] for name in probe("ostinato.core", "ostinato.wire")["modules"]}
    assert loaded.isdisjoint({"sqlalchemy", "litestar", "uvicorn", "httptools", "click", "rich", "openai", "anyio"})


@pytest.mark.parametrize("room", [room.name for room in ROOMS])
def test_importing_a_room_starts_nothing(room: str):
    seen = probe(f"ostinato.{room}")
    assert seen["threads"] == 1
    assert seen["opened"] == 0


def test_the_command_line_answers_before_it_loads_the_server():
    seen = probe("ostinato.cli")
    assert {name.split(".")[0] for name in seen["modules"]}.isdisjoint({"sqlalchemy", "litestar", "uvicorn", "rich"})
