"""Several workers on one socket: none is forgotten at the end, and what cannot start is not tried for ever."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Importing takes a second: done once, each case is a fork of this.
BASE = """
import json, logging, os, signal, socket, sys, time, traceback
from ostinato import serving
from ostinato.config import Config
from ostinato.core.errors import Invalid

def case(body, hook, workers, path):
    os.setpgid(0, 0)
    for number, stream in ((1, "out"), (2, "log")):
        os.dup2(os.open(f"{path}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
    serving._FIRST_PAUSE = serving._LONGEST_PAUSE = serving._LOOK_SECONDS = 0.02
    code = compile(body, "body", "exec")
    def serve(config, listener):
        os.write(1, b"begun\\n")
        exec(code)
    serving.serve_on = serve
    exec(hook, globals())
    with socket.socket() as listener:
        serving._supervise(Config(), listener, workers)
    os.write(1, b"ended\\n")

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            case(*json.loads(line))
            code = 0
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stderr.flush()
        os._exit(code)
    end, found = time.monotonic() + 15, (0, 0)
    while found[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)
        found = os.waitpid(child, os.WNOHANG)
    if found[0] == 0:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(found[1]) if found[0] else "null", flush=True)
"""


@pytest.fixture(scope="module")
def base() -> Iterator[Any]:
    with subprocess.Popen([sys.executable, "-c", BASE], stdin=-1, stdout=-1, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def supervise(base: Any, tmp_path: Path) -> Any:
    """Run the supervisor over workers that do ``body``; gives exit code, starts, log, and whether it ended well."""

    def run(body: str, hook: str = "", workers: int = 1) -> tuple[int, int, str, bool]:
        base.stdin.write(json.dumps([body, hook, workers, str(tmp_path / "case")]) + "\n")
        base.stdin.flush()
        code = json.loads(base.stdout.readline())
        said, log = (tmp_path / "case.out").read_text(), (tmp_path / "case.log").read_text()
        assert code is not None, f"it hangs: {said!r} {log!r}"
        return code, said.count("begun"), log, "ended" in said

    return run


STAYS = "time.sleep(60)"

TELL_AFTER_FORK = """
from multiprocessing.context import ForkProcess
start = ForkProcess.start
def start_and_tell(self):
    start(self)
    if serving.told == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    serving.told -= 1
serving.told = {after}
ForkProcess.start = start_and_tell
"""


def test_a_signal_while_the_last_worker_is_started_reaches_it(supervise: Any):
    code, _, log, ended = supervise(STAYS, TELL_AFTER_FORK.format(after=1), workers=2)
    assert (code, ended) == (0, True), log


def test_a_signal_while_the_first_worker_is_started_reaches_all(supervise: Any):
    code, _, log, ended = supervise(STAYS, TELL_AFTER_FORK.format(after=0), workers=2)
    assert (code, ended) == (0, True), log


def test_a_signal_while_a_worker_is_started_again_reaches_it(supervise: Any):
    body = "os._exit(1) if serving.told == 1 else time.sleep(60)"
    code, _, log, ended = supervise(body, TELL_AFTER_FORK.format(after=1))
    assert (code, ended) == (0, True), log


def test_a_worker_heeds_a_signal_that_came_before_its_own_handlers(supervise: Any):
    """The child is told right after the fork, while it still has its parent's handlers."""
    hook = """
parent = os.getpid()
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
"""
    code, starts, log, ended = supervise(STAYS, hook)
    assert "ended with code -15" in log
    assert (code, starts, ended) == (128 + 15, 0, False)


def test_workers_that_cannot_start_end_the_server_with_their_code(supervise: Any):
    code, starts, log, ended = supervise("raise SystemExit(3)")
    assert (code, starts, ended) == (3, 5, False), log
    assert "giving up" in log


def test_why_a_worker_cannot_serve_is_said_without_a_traceback(supervise: Any):
    code, starts, log, _ = supervise("raise Invalid('No such thing.', hint='Take another.')")
    assert (code, starts) == (1, 5)
    assert log.count("No such thing. Take another.") == 5
    assert "Traceback" not in log


def test_the_others_are_ended_when_one_place_is_given_up(supervise: Any):
    """Those that run were started first; the last one's place dies each time."""
    hook = """
made = []
fork = serving._Place._start
def start(self, now):
    serving.dies = self.number == 2
    fork(self, now)
serving._Place._start = start
init = serving._Place.__init__
def begin(self, *arguments):
    init(self, *arguments)
    self.number = len(made)
    made.append(self)
serving._Place.__init__ = begin
"""
    code, starts, log, ended = supervise("os._exit(7) if serving.dies else time.sleep(60)", hook, workers=3)
    assert (code, starts, ended) == (7, 2 + 5, False), log


def test_workers_that_served_a_while_are_started_again_however_often_they_die(supervise: Any):
    hook = """
serving._SOON_SECONDS = 0.0
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
signal.setitimer(signal.ITIMER_REAL, 1.5)
"""
    code, starts, log, ended = supervise("os._exit(9)", hook)
    assert (code, ended) == (0, True), log
    assert starts > 6
    assert "giving up" not in log


def test_pauses_double_up_to_the_longest(supervise: Any):
    hook = "serving._FIRST_PAUSE, serving._LONGEST_PAUSE = 0.01, 0.04"
    _, _, log, _ = supervise("os._exit(1)", hook)
    said = [line.partition("another in ")[2] for line in log.splitlines() if "another in " in line]
    assert said == ["0.01 s.", "0.02 s.", "0.04 s.", "0.04 s."]
