"""The data directory: one owner, told by whom; modes; keys; places that cannot be written."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.core.errors import Conflict, Unavailable
from ostinato.storage import DataDirectory

HOLD = """
import sys, time
from ostinato.storage.places import DataDirectory
DataDirectory(sys.argv[1]).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that owns the directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    yield process
    process.kill()
    process.wait()


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_owner_is_refused_and_told_by_whom_until_the_first_is_killed(tmp_path, holder):
    second = DataDirectory(tmp_path)
    with pytest.raises(Conflict) as caught:
        second.acquire()
    assert caught.value.code == "data_directory_in_use"
    assert str(holder.pid) in caught.value.message
    assert os.uname().nodename in caught.value.message
    assert caught.value.hint
    with pytest.raises(Conflict, match=str(holder.pid)):
        second.require_free()
    owner = second.owner()
    assert owner is not None
    assert owner.pid == holder.pid
    assert owner.started > 1_700_000_000_000_000
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert second.owner() is None
    second.acquire()
    assert second.owner().pid == os.getpid()
    second.release()


def test_two_in_one_process_exclude_each_other(tmp_path, clock):
    first, second = DataDirectory(tmp_path, clock), DataDirectory(tmp_path, clock)
    first.acquire()
    first.acquire()
    with pytest.raises(Conflict):
        second.acquire()
    assert second.owner().started == clock.now()
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert second.owner() is None


def test_rubbish_in_the_lock_file_is_no_obstacle(tmp_path):
    directory = DataDirectory(tmp_path)
    directory.lock.write_bytes(b"\xff not json")
    directory.acquire()
    assert directory.owner().pid == os.getpid()
    directory.lock.write_bytes(b"\xff not json")
    with pytest.raises(Conflict, match="another process"):
        DataDirectory(tmp_path).acquire()
    directory.release()


def test_only_the_owner_may_look(tmp_path):
    directory = DataDirectory(tmp_path / "a" / "b")
    directory.acquire()
    assert mode(directory.path) == 0o700
    assert mode(directory.keys) == 0o700
    assert mode(directory.lock) == 0o600
    directory.write_key("audit", b"secret")
    assert mode(directory.keys / "audit") == 0o600
    directory.release()


def test_keys_are_written_once(data_directory):
    assert data_directory.read_key("audit") is None
    data_directory.write_key("audit", b"secret")
    assert data_directory.read_key("audit") == b"secret"
    with pytest.raises(Conflict):
        data_directory.write_key("audit", b"other")
    assert data_directory.read_key("audit") == b"secret"


@pytest.mark.parametrize("place", ["/proc/ostinato", "/dev/null/ostinato"])
def test_a_place_that_cannot_be_written_is_told(place):
    """Not even root can make directories there."""
    with pytest.raises(Unavailable) as caught:
        DataDirectory(place).acquire()
    assert caught.value.code == "storage_read_only"
    assert place in caught.value.message
    assert caught.value.hint


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "data").write_text("I am a file")
    with pytest.raises(Unavailable):
        DataDirectory(tmp_path / "data").acquire()


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    """The system's answer to a write on a full disk (/dev/full gives it), where the lock is written."""
    real = os.pwrite

    def full(descriptor, data, offset):
        with Path("/dev/full").open("wb", buffering=0) as device:
            return real(device.fileno(), data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    directory = DataDirectory(tmp_path)
    with pytest.raises(Unavailable) as caught:
        directory.acquire()
    assert caught.value.code == "storage_full"
    monkeypatch.undo()
    directory.acquire()
    directory.release()


def test_the_files_have_their_names(tmp_path):
    directory = DataDirectory(tmp_path)
    names = [path.name for path in (directory.control, directory.traces, directory.cache, directory.jobs)]
    assert names == ["control.db", "traces.db", "cache.db", "jobs.db"]


def test_nothing_happens_before_it_is_asked(tmp_path):
    DataDirectory(tmp_path / "later")
    assert not (tmp_path / "later").exists()
