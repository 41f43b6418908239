"""Joins ``app`` and ``web`` into a process that serves, or several of them."""

import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

from ostinato.app import App
from ostinato.config import Config
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.routing import Route
from ostinato.storage import DataDirectory
from ostinato.web import api, server
from ostinato.web.operations import Operations
from ostinato.web.proxy import DIRECT, Proxy

_log = logging.getLogger("ostinato")

_LOOK_SECONDS = 0.1
"""How often workers are looked after, and signals heeded."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Before a worker that died is started again; doubled each time."""
_STEADY_SECONDS = 60.0
"""A worker that lived so long is well: the pauses begin anew."""
_SOON_SECONDS = 10.0
_MOST_DEATHS = 5
"""So many in a row, each so soon after the start, and the whole server ends."""
_MOST_NAMED = 5
"""Aliases in the line that tells what is served."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(config: Config, workers: int = 1) -> None:
    """Serve until SIGTERM or SIGINT. Raises before listening if the configuration cannot be obeyed."""
    logging.basicConfig(
        level=config.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if workers > 1 and not config.storage.url:
        raise Invalid(
            "Several worker processes need PostgreSQL: one process owns the embedded data directory.",
            hint="Set [storage] url (and [cache] url for a shared cache), or serve with one worker.",
        )
    if not config.storage.url:
        # Looked at before the port: who starts a second server by mistake is told about the first one.
        DataDirectory(config.storage.directory).require_free()
    listener = server.bind(config.server)
    try:
        if workers == 1:
            serve_on(config, listener)
        else:
            _supervise(config, listener, workers)
    finally:
        listener.close()


def serve_on(config: Config, listener: socket.socket) -> None:
    """One process: build the app, serve on ``listener``, stop."""
    import uvloop  # noqa: PLC0415 - not wanted by commands that serve nothing

    uvloop.run(_serve(config, listener))


async def _serve(config: Config, listener: socket.socket) -> None:
    app = App(config)
    await app.start()
    proxy = Proxy(app.gateway, max_body_bytes=config.server.max_body_bytes, slow=config.server.slow_request_seconds)
    control = Operations(app, api.build(app), loopback=server.is_loopback(config.server.host))
    running = server.Server(
        server.Dispatcher(proxy, control),
        config.server,
        app,
        paths=frozenset(DIRECT),
        repeat=app.gateway.repeater.whole,
        answer=proxy.direct,
    )
    host, port = listener.getsockname()[:2]
    print(f"Ostinato listens on http://{host}:{port} (pid {os.getpid()})", file=sys.stderr, flush=True)  # noqa: T201
    print(_served(app.catalog.value.routes()), file=sys.stderr, flush=True)  # noqa: T201
    await running.serve([listener])


def _served(routes: Sequence[Route]) -> str:
    """What clients may ask for: some aliases, each with the target that is asked first."""
    if not routes:
        return "Serves nothing yet: declare a model under [models] or with `ostinato models set`."
    named = sorted({f"{route.alias} ({route.targets[0].name})" for route in routes})
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"Serves: {', '.join(named[:_MOST_NAMED])}{more}"


def _supervise(config: Config, listener: socket.socket, workers: int) -> None:
    """Keep ``workers`` processes serving on one socket; a process that dies is started again.

    Raises ``SystemExit`` with a worker's exit code where it died :data:`_MOST_DEATHS` times in a row right after it
    began: what keeps it from starting will not pass by itself.
    """
    stopping = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    places = [_Place(config, listener) for _ in range(workers)]
    given_up: int | None = None
    while not stopping and given_up is None:
        for place in places:
            place.look(time.monotonic())
            given_up = place.given_up if given_up is None else given_up
        time.sleep(_LOOK_SECONDS)
    for place in places:
        place.end()
    for place in places:
        place.join()
    if given_up is not None:
        _log.error("A worker failed %d times right after its start; giving up.", _MOST_DEATHS)
        # As a shell would say it where a signal ended the worker.
        raise SystemExit(given_up if given_up >= 0 else 128 - given_up)


class _Place:
    """One of the worker processes, or the wait until it is started again."""

    def __init__(self, config: Config, listener: socket.socket) -> None:
        self._arguments = (config, listener)
        # Forked before any thread or event loop exists, so children inherit nothing but the listening socket.
        self._context = multiprocessing.get_context("fork")
        self._child: multiprocessing.process.BaseProcess | None = None
        self._began = 0.0
        self._due = 0.0
        self._pause = _FIRST_PAUSE
        self._deaths = 0
        """In a row, each right after its start."""
        self.given_up: int | None = None
        """The exit code of the last death, once there were too many."""

    def look(self, now: float) -> None:
        """Start the process where it is due, note where it has died. ``now`` in monotonic seconds."""
        child = self._child
        if child is None:
            if now >= self._due and self.given_up is None:
                self._start(now)
            return
        if child.is_alive():
            return
        code = child.exitcode if child.exitcode is not None else 1
        lived = now - self._began
        if lived >= _STEADY_SECONDS:
            self._pause = _FIRST_PAUSE
        self._deaths = self._deaths + 1 if lived < _SOON_SECONDS else 0
        self._child, self._due = None, now + self._pause
        if self._deaths >= _MOST_DEATHS:
            self.given_up = code
            return
        _log.error("Worker %s ended with code %s; starting another in %g s.", child.pid, code, self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _start(self, now: float) -> None:
        child = self._context.Process(target=_worker, args=self._arguments, daemon=False)
        # A signal between the fork and the worker's own handlers would be swallowed by ours: held back until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._child, self._began = child, now

    def end(self) -> None:
        """Tell the process to end in good order."""
        if self._child is not None and self._child.is_alive():
            self._child.terminate()

    def join(self) -> None:
        """Wait for its end."""
        if self._child is not None:
            self._child.join()


def _worker(config: Config, listener: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        serve_on(config, listener)
    except OstinatoError as error:
        _log.error("This worker cannot serve: %s", error.sentence)
        raise SystemExit(1) from None
