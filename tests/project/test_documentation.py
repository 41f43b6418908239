"""The documentation is tested: samples run, references match the code, links lead somewhere.

A page's fenced blocks run in order, against a running gateway whose models are fakes:

- ``toml`` is read as a configuration; every name in it must exist;
- ``python`` is executed, the page's blocks in one namespace;
- ``console``: lines that begin with ``$`` are run by a shell; the lines after one are what it must print;
- ``text output`` after a block is what that block must print.

In what must be printed ``...`` stands for anything. ``no-run`` after the language leaves a block out. The address
``http://127.0.0.1:8000`` and the key ``ost_...`` stand for those of the test's gateway.
"""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from ostinato.cache.policy import compile_policies
from ostinato.config import parse
from ostinato.config.reading import Source
from ostinato.demo.child import MODELS, Child
from ostinato.gateway.inspecting import compile_checkers
from ostinato.routing import compile_routes

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"])
BLOCK = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS, KEY = "http://127.0.0.1:8000", "ost_..."


class Block(NamedTuple):
    language: str
    marks: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m[1] or "", m[2].strip(), m[3], text.count("\n", 0, m.start()) + 1) for m in BLOCK.finditer(text)]


def runs(page: Path) -> bool:
    return any(block.language in ("python", "console") and "no-run" not in block.marks for block in blocks(page))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def matches(expected: str, printed: str) -> bool:
    """Whether ``printed`` is ``expected``, where ``...`` stands for anything, and spaces may differ in number."""
    parts = [re.escape(" ".join(part.split())) for part in expected.strip().split("...")]
    return re.fullmatch(".*?".join(parts).replace(r"\ ", r"\s*"), " ".join(printed.split()), re.DOTALL) is not None


class Gateway(Child):
    """The gateway that the samples talk to: every alias of the documentation, answered by fakes."""

    def configuration(self) -> str:
        aliases = ("gpt-4o-mini", "claude", "support")
        return super().configuration() + "".join(
            f'[models."{alias}"]\ntargets = ["local/fake-words=6"]\n' for alias in aliases if alias != "support"
        )


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for each page: a reader begins with nothing declared."""
    with Gateway(MODELS["fake"], tmp_path_factory.mktemp("docs") / "gateway") as running:
        running.wait()
        yield running


def test_there_are_pages():
    assert len(PAGES) > 15


@pytest.mark.parametrize("page", [p for p in PAGES if runs(p)], ids=name_of)
def test_samples_do_what_they_say(page: Path, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for name, value in {
        "OSTINATO_URL": gateway.url,
        "OSTINATO_KEY": gateway.key,
        "PATH": path,
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)

    def here(text: str) -> str:
        return text.replace(ADDRESS, gateway.url).replace(KEY, gateway.key)

    namespace: dict[str, object] = {}
    printed = ""
    for block in blocks(page):
        where = f"{name_of(page)}, line {block.line}"
        text = block.text
        if "no-run" in block.marks:
            continue
        if block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(here(text), where, "exec"), namespace)
            printed = out.getvalue()
        elif block.language == "console":
            for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                ran = subprocess.run(here(command), shell=True, capture_output=True, text=True, timeout=60, check=False)
                printed = ran.stdout + ran.stderr
                assert ran.returncode == 0, f"{where}: {command}\n{printed}"
                assert not expected.strip() or matches(expected, printed), f"{where}: {command} printed:\n{printed}"
        elif block.language == "text" and block.marks == "output":
            assert matches(text, printed), f"{where}: printed was:\n{printed}"


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language == "toml" for b in blocks(p))], ids=name_of)
def test_every_configuration_in_it_is_one(page: Path):
    whole = [block for block in blocks(page) if block.language == "toml"]
    for block in whole:
        tables = tomllib.loads(block.text)
        environment = dict.fromkeys(re.findall(r'env = "(\w+)"', block.text), "secret")
        config = parse(tables, Source(f"{name_of(page)}, line {block.line}", block.text), environment)
        known = config.providers or {"openai": None, "anthropic": None, "local": None, "azure": None}
        compile_routes(config.models, dict.fromkeys(known, b""))
        compile_checkers(config.rules, config.checks)
        # A fragment may name rules that the page declares elsewhere.
        named = {n for body in config.policies.values() for n in body.get("checks", ())}
        others = {name: {"kind": "pii", "action": "redact"} for name in named}
        compile_policies(config.policies, {**others, **config.rules})


def test_the_examples_are_configurations():
    for example in ROOT.glob("examples/*.toml"):
        tables = tomllib.loads(example.read_text())
        config = parse(tables, Source(example.name, example.read_text()), {})
        compile_routes(config.models, dict.fromkeys(config.providers, b""))


def load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["configuration.md", "cli.md", "api.md", "metrics.md", "errors.md"])
def test_the_reference_is_what_the_code_says(name: str, reference: dict[str, str]):
    written = (ROOT / "docs/reference" / name).read_text().partition("\n\n")[2]
    assert written == reference[name], f"docs/reference/{name} is out of date: run make docs"


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return load(ROOT / "scripts/reference.py").pages()


def test_every_header_of_ours_has_its_line():
    page = (ROOT / "docs/reference/headers.md").read_text()
    told = set(re.findall(r"`(ostinato-[a-z]+|x-should-retry)", page))
    code = "\n".join(
        path.read_text() for room in ("gateway", "web") for path in (ROOT / "src/ostinato" / room).rglob("*.py")
    )
    used = set(re.findall(r'b"(ostinato-[a-z]+|x-should-retry)"', code))
    assert used == told


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name_of(page)}: {target}"


def test_every_page_is_reached_from_the_map():
    map_ = (ROOT / "docs/README.md").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        assert name == "README.md" or f"({name})" in map_, f"docs/README.md does not name {name}"


def test_a_claim_names_a_test_that_there_is():
    for page in ROOT.glob("docs/why/*.md"):
        named = re.findall(r"`(tests/[\w/.]+)::(\w+)`", page.read_text())
        assert named, f"{name_of(page)} names no test"
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{name_of(page)}: {file}::{test}"


def test_make_targets_in_the_docs_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z]+)", page.read_text()):
            assert target in targets, f"{name_of(page)}: make {target}"


def test_a_sample_that_prints_something_else_fails():
    assert matches("hit-exact ... 3", "hit-exact  12\n 3\n")
    assert not matches("hit-exact", "miss")
    assert not matches("a ... b", "a c")


def test_the_written_configuration_is_the_documented_one():
    from ostinato.cli.process import TEMPLATE

    documented = next(b for b in blocks(ROOT / "docs/tutorial.md") if b.language == "toml")
    assert tomllib.loads(documented.text) == tomllib.loads(TEMPLATE)
