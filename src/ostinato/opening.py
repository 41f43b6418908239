"""Before a process serves: its databases, its secret, and the first key of an installation."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path

from ostinato import access, audit, storage
from ostinato.config import Config
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.storage import Database, DataDirectory, Declarations, Notices

_log = logging.getLogger("ostinato")

_SECRET = "installation"  # noqa: S105 - the name of a secret


async def installation_secret(directory: DataDirectory | None, declarations: Declarations) -> bytes:
    """What keys digests of users and inputs: a file when embedded, else shared through ``control``."""
    if directory is not None:
        found = directory.read_key(_SECRET)
        if found is None:
            found = secrets.token_bytes(32)
            directory.write_key(_SECRET, found)
        return found
    if not await declarations.load(_SECRET):
        try:
            await declarations.put(_SECRET, "secret", secrets.token_hex(32), "system", expect=0)
        except OstinatoError:
            _log.info("Another process was first to make the installation's secret; using it.")
    return bytes.fromhex(str((await declarations.load(_SECRET))["secret"]))


@contextlib.contextmanager
def about(param: str) -> Generator[None]:
    """Let an error say which part of the configuration it is about, where it does not know."""
    try:
        yield
    except Invalid as error:
        if not error.param:
            error.param = param
        elif not error.param.startswith(param.partition(".")[0]):
            error.param = f"{param}.{error.param}"
        raise


def plain(function: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        function()

    return call


async def first_start(config: Config, *, recover: bool = False) -> str:
    """Make the first organization, project and administrator key; gives the key's secret, once.

    Raises ``Conflict`` where there is such a key already, unless told to ``recover``, or where a server owns the data
    directory.
    """
    clock = SystemClock()
    directory = DataDirectory(config.storage.directory, clock)
    embedded = not config.storage.url
    if embedded:
        directory.acquire()
    try:
        control = await asyncio.to_thread(open_migrated, "control", config.storage.url or directory.control)
        try:
            vault = await installation_secret(directory if embedded else None, Declarations(control, clock))
            log = audit.Log(control, clock, settings=config.audit, secret=vault)
            door = access.Access(control, Notices(), clock, config.access, log)
            _, _, secret = await door.first_start(recover=recover)
            return secret
        finally:
            control.close()
    finally:
        if embedded:
            directory.release()


def open_migrated(name: str, where: str | Path) -> Database:
    """A database of this version's tables. Blocking."""
    database = storage.open_database(name, where)
    try:
        storage.migrate(database)
    except BaseException:
        database.close()
        raise
    return database
