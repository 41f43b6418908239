"""Full disks, damaged files, a directory that is taken, servers that are away: said clearly, and nothing is lost."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Running, Upstream, eventually, free_port

from ostinato import cli


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Running]:
    """A server of this module's own, to be mistreated. Every test leaves it running."""
    running = Running(tmp_path_factory.mktemp("place"), upstream)
    yield running
    running.stop(signal.SIGKILL)


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond ``size`` bytes, as on a full disk; -1: as much as it wants."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_stops_writing_and_nothing_else(place: Running) -> None:
    place.chat("places: before")
    keeper = place.new_key("keeper")
    assert place.process is not None
    limit_files(place.process.pid, 0)
    try:
        status, found, _ = place.chat("places: before")
        assert (status, found["ostinato-cache"]) == (200, "hit-exact")
        status, found, _ = place.chat("places: while full")
        assert (status, found["ostinato-cache"]) == (200, "miss")
        status, found, _ = place.chat("places: while full")
        assert (status, found["ostinato-cache"]) == (200, "hit-exact"), "memory has it"
        status, told = place.api("POST", "/keys", {"name": "impossible"})
        assert status == 503, told
        assert told["code"] in ("storage_full", "storage_io", "storage_read_only"), told
        assert told["hint"]
        assert place.api("GET", "/keys")[0] == 200, "reading goes on"
        assert place.send("POST", "/v1/chat/completions", ask("places: with another key"), key=keeper)[0] == 200
        time.sleep(0.5)  # the ledger's writer tries in vain meanwhile
    finally:
        limit_files(place.process.pid, -1)
    assert place.api("POST", "/keys", {"name": "possible"})[0] == 201
    place.chat("places: after")
    # What waited is written late, not lost.
    told = eventually(lambda: (s := place.api("GET", "/stats")[1])["requests"] >= 6 and s)
    assert told["rows_dropped"] == told["rows_lost"] == 0
    assert "Traceback" not in place.log.read_text()


def ask(text: str) -> Any:
    return {"model": "plain", "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("damage", ["overwritten", "a page in the middle", pytest.param("cut", marks=pytest.mark.soak)])
def test_a_damaged_cache_is_set_aside_and_begun_anew(place: Running, damage: str) -> None:
    for number in range(40):
        place.chat(f"places: {damage} {number} " + "long " * 200)
    assert place.stop() == 0
    file = place.data / "cache.db"
    for companion in ("-wal", "-shm"):
        Path(f"{file}{companion}").unlink(missing_ok=True)
    content = bytearray(file.read_bytes())
    assert len(content) > 20_000
    if damage == "overwritten":
        content[:] = b"this is no database. " * (len(content) // 21)
    elif damage == "cut":
        del content[len(content) // 2 :]
    else:
        middle = len(content) // 8192 * 4096
        content[middle : middle + 4096 * 2] = os.urandom(4096 * 2)
    file.write_bytes(content)
    before = set(place.data.iterdir())
    log = len(place.log.read_text())
    place.start()
    for number in range(40):
        status, found, _ = place.chat(f"places: {damage} {number} " + "long " * 200)
        assert status == 200
        assert found["ostinato-cache"] in ("miss", "hit-exact")
    place.chat("places: it is kept again " + damage)
    said = place.log.read_text()[log:]
    if damage == "overwritten":
        aside = {path.name for path in set(place.data.iterdir()) - before if "cache.db" in path.name}
        assert any(name not in ("cache.db", "cache.db-wal", "cache.db-shm") for name in aside), aside
        assert "cache.db" in said
    assert "Traceback" not in said
    if damage != "overwritten":
        return
    assert place.stop() == 0
    place.start()
    assert place.chat("places: it is kept again " + damage)[1]["ostinato-cache"] == "hit-exact"


def test_a_damaged_control_database_keeps_the_server_from_starting(place: Running) -> None:
    assert place.stop() == 0
    file = place.data / "control.db"
    for companion in ("-wal", "-shm"):
        Path(f"{file}{companion}").unlink(missing_ok=True)
    good = file.read_bytes()
    file.write_bytes(b"this is no database. " * 500)
    code, said = refused(place)
    assert code == 1
    assert "control" in said and "damaged" in said
    assert "Traceback" not in said
    assert file.read_bytes() == b"this is no database. " * 500, "left as it was"
    file.write_bytes(good)
    place.start()
    assert place.chat("places: restored")[0] == 200


def refused(place: Running, *options: str) -> tuple[int, str]:
    """Exit code and words of a server that should not start."""
    done = subprocess.run(
        [sys.executable, "-m", "ostinato.cli", "serve", "--config", str(place.config), *options],
        capture_output=True,
        text=True,
        env=place.environment,
        cwd=place.directory,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def refused_here(capsys: pytest.CaptureFixture[str], config: Path) -> tuple[int, str]:
    """The same, in this process."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--config", str(config), "--port", str(free_port())])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_a_second_server_is_told_who_owns_the_directory(place: Running) -> None:
    assert place.process is not None
    code, said = refused(place, "--port", str(free_port()))
    assert code == 1
    assert f"process {place.process.pid}" in said
    assert os.uname().nodename in said
    assert "Traceback" not in said
    code, said = refused(place, "--port", str(place.port))
    assert code == 1
    assert str(place.port) in said or f"process {place.process.pid}" in said
    assert "owned" in (told := place.cli("init", check=False)) or "in use" in told or "already" in told
    assert place.chat("places: undisturbed")[0] == 200


@pytest.mark.parametrize("where", ["/proc/nowhere", "{file}", "{file}/below"])
def test_a_directory_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path, where: str) -> None:
    file = tmp_path / "a-file"
    file.write_text("hello")
    config = tmp_path / "ostinato.toml"
    config.write_text(f'[storage]\ndirectory = "{where.format(file=file)}"\n')
    code, said = refused_here(capsys, config)
    assert code == 1
    assert "directory" in said
    assert "Traceback" not in said


def test_a_read_only_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    (tmp_path / "data").mkdir(mode=0o500)
    config = tmp_path / "ostinato.toml"
    config.write_text(f'[storage]\ndirectory = "{tmp_path / "data"}"\n')
    code, said = refused_here(capsys, config)
    assert code == 1
    assert "writ" in said
    assert "Traceback" not in said


def test_postgresql_that_is_away_at_the_start(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "ostinato.toml"
    config.write_text(
        f'[storage]\ndirectory = "{tmp_path}"\nurl = "postgresql://me:hunter2@127.0.0.1:{free_port()}/x"\n'
    )
    code, said = refused_here(capsys, config)
    assert code == 1
    assert "PostgreSQL" in said
    assert "hunter2" not in said
    assert "Traceback" not in said


def test_valkey_that_is_away_at_the_start(new_gateway: Callable[..., Running], new_valkey: Callable[..., Any]) -> None:
    """It serves from memory, says so, and uses the shared tier as soon as it is there."""
    port = free_port()
    gateway = new_gateway(f'[cache]\nurl = "valkey://127.0.0.1:{port}"\n')
    for expected in ("miss", "hit-exact"):
        status, found, _ = gateway.chat("places: no valkey")
        assert (status, found["ostinato-cache"]) == (200, expected)
    status, _, data = gateway.send("GET", "/readyz")
    assert status == 200
    assert b"shared tier" in data
    assert "Traceback" not in gateway.log.read_text()
