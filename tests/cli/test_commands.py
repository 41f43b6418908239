"""The commands without a server: help within an instant, `init`, and what is said when something is missing."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ostinato.cli import main
from ostinato.cli.main import _COMMANDS


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def commands() -> list[list[str]]:
    found: list[list[str]] = []

    def walk(command: click.Command, path: list[str]) -> None:
        found.append(path)
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                walk(inner, [*path, name])

    for name, (where, _) in _COMMANDS.items():
        module, _, attribute = where.partition(":")
        walk(getattr(importlib.import_module(module), attribute), [name])
    return found


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for path in commands():
        code, out, _ = run(capsys, *path, "--help")
        assert code == 0, path
        assert out.startswith("Usage: ostinato")
        told = out.split("\n\n")[1].strip()
        assert len(told) > 10, path
        if path[-1] in ("list", "show", "create", "stats", "rotate", "revoke", "set"):
            assert "--json" in out or path[0] == "config", path


def test_help_loads_nothing_heavy() -> None:
    """Half of a second goes into imports that help does not need."""
    script = (
        "import sys\nfrom ostinato.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = ('sqlalchemy', 'litestar', 'uvicorn', 'alembic', 'uvloop', 'rich')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    for arguments in (["--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", done.stdout


def test_init_writes_once_and_tells_the_key_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "init", "--json")
    assert code == 0
    key = json.loads(out)["key"]
    assert key.startswith("ost_")
    written = (tmp_path / "ostinato.toml").read_text()
    assert len(written.splitlines()) <= 12
    assert key not in written
    assert oct((tmp_path / ".ostinato").stat().st_mode)[-3:] == "700"
    for path in (tmp_path / ".ostinato").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path
    code, out, err = run(capsys, "init")
    assert code == 1
    assert key not in out + err
    assert "already" in err or "is there" in err or "exists" in err, err
    assert (tmp_path / "ostinato.toml").read_text() == written


def test_init_leaves_a_file_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('[storage]\ndirectory = "here"\n')
    code, _, _ = run(capsys, "init", "--config", "mine.toml")
    assert code == 0
    assert (tmp_path / "mine.toml").read_text() == '[storage]\ndirectory = "here"\n'
    assert (tmp_path / "here" / "control.db").exists()


@pytest.mark.parametrize(
    ("environment", "arguments", "said"),
    [
        ({"OSTINATO_KEY": ""}, ["keys", "list"], "OSTINATO_KEY"),
        ({"OSTINATO_KEY": "ost_x", "OSTINATO_URL": "http://127.0.0.1:9"}, ["keys", "list"], "No answer"),
        ({"OSTINATO_KEY": "ost_x", "OSTINATO_URL": "not a url"}, ["stats"], "not a url"),
        ({"OSTINATO_KEY": "ost_x", "OSTINATO_URL": "file:///etc/passwd"}, ["stats"], "file"),
        ({}, ["serve", "--config", "/no/such.toml"], "/no/such.toml"),
        ({}, ["config", "show", "--config", "/no/such.toml"], "ostinato init"),
        ({}, ["keys"], ""),
        ({}, ["nonsense"], "nonsense"),
        ({}, ["keys", "create"], "NAME"),
        ({}, ["serve", "--port", "many"], "many"),
        ({}, ["serve", "--workers", "0"], "0"),
        ({"OSTINATO_KEY": "ost_x"}, ["models", "set", "a", "{not json"], "JSON"),
        ({"OSTINATO_KEY": "ost_x"}, ["models", "set", "a", "@/no/such.json"], "/no/such.json"),
        ({"OSTINATO_KEY": "ost_x"}, ["keys", "create", "a", "--budget", "lots"], "lots"),
        ({"OSTINATO_KEY": "ost_x"}, ["stats", "--since", "yesterday"], "yesterday"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OSTINATO_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, out, err = run(capsys, *arguments)
    assert code in (1, 2)
    assert said in out + err
    assert "Traceback" not in err
    assert "ost_x" not in err
    assert len(err.splitlines()) <= 40


def test_a_class_that_nothing_is_kept_as_is_told_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    from ostinato.cli import retention
    from ostinato.retention.model import KINDS

    assert KINDS == retention._KINDS
    code, _, err = run(capsys, "retention", "rules", "create", "short", "--keep", "text=30")
    assert code != 0 and all(kind in err for kind in KINDS) and "'text'" in err
