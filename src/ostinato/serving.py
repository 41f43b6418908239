"""Joins ``app`` and ``web`` into a process that serves, or several of them."""

import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import sys
import time
from types import FrameType

from ostinato.app import App
from ostinato.config import Config
from ostinato.core.errors import Invalid
from ostinato.web import api, server
from ostinato.web.operations import Operations
from ostinato.web.proxy import DIRECT, Proxy

_log = logging.getLogger("ostinato")

_RESTART_SECONDS = 1.0


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
    await running.serve([listener])


def _supervise(config: Config, listener: socket.socket, workers: int) -> None:
    """Keep ``workers`` processes serving on one socket; a process that dies is started again."""
    # Forked before any thread or event loop exists, so children inherit nothing but the listening socket.
    context = multiprocessing.get_context("fork")
    stopping = False
    children: list[multiprocessing.process.BaseProcess] = []

    def start() -> multiprocessing.process.BaseProcess:
        child = context.Process(target=_worker, args=(config, listener), daemon=False)
        child.start()
        return child

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            if child.pid is not None and child.is_alive():
                os.kill(child.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children = [start() for _ in range(workers)]
    while not stopping:
        time.sleep(_RESTART_SECONDS)
        for index, child in enumerate(children):
            if not stopping and not child.is_alive():
                _log.error("Worker %s ended with code %s; starting another.", child.pid, child.exitcode)
                children[index] = start()
    for child in children:
        child.join()


def _worker(config: Config, listener: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve_on(config, listener)
