"""Withdrawals between processes.

Where processes share a store, whoever withdraws writes the selector into it first, then says "something changed".
Every other process reads the new selectors, when told and each half second anyway, and does the same withdrawal itself:
in its memory, its queue, and once more in the store, where an answer of its own may have landed in between. Without a
shared store the selector travels in the notice.
"""

import asyncio
import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from ostinato.cache.model import Selector
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.storage import Notices
from ostinato.storage.records import Query, Record, RecordStore

_log = logging.getLogger(__name__)

TOPIC = "cache"

_SCOPE = b"ostinato withdrawals"
"""No scope of an entry: those are digests of 32 bytes."""
_KEPT_SECONDS = 600
_MOST = 1000

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Selector).decode

Withdraw: TypeAlias = Callable[[Selector], Awaitable[object]]
Forget: TypeAlias = Callable[[], Awaitable[None]]


class _Listener(ABC):
    """Hears notices, and does what they ask for in tasks of its own."""

    def __init__(self, notices: Notices | None) -> None:
        self._notices = notices
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to hear. Withdrawals of the past concern nobody whose memory is empty."""
        if self._notices is not None:
            self._unsubscribe = self._notices.subscribe(TOPIC, self._heard)

    def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for task in self._tasks:
            task.cancel()

    @abstractmethod
    def _heard(self, detail: str) -> None: ...

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Heeding(_Listener):
    """Between processes that share a store."""

    def __init__(
        self, store: RecordStore, clock: Clock, withdraw: Withdraw, forget: Forget, notices: Notices | None
    ) -> None:
        super().__init__(notices)
        self._store = store
        self._clock = clock
        self._withdraw = withdraw
        self._forget = forget
        self._seen: dict[bytes, int] = {}
        self._heeded_at = clock.monotonic()
        self._lock = asyncio.Lock()

    async def announce(self, selector: Selector) -> None:
        """Tell the other processes. Raises ``Unavailable`` if they cannot be told: nothing has been withdrawn then."""
        key = os.urandom(32)
        expires = self._clock.now() + _KEPT_SECONDS * 1_000_000
        self._seen[key] = expires
        record = Record(key, _SCOPE, key.hex(), {"withdrawal": "1"}, (), expires, _pack(selector))
        await self._store.put_many([record])
        if self._notices is not None:
            self._notices.publish(TOPIC)

    async def heed(self) -> None:
        """Do what others have announced since the last time. Raises ``Unavailable`` if that cannot be known."""
        async with self._lock:
            began = self._clock.monotonic()
            records = await self._store.find(Query(scope=_SCOPE), _MOST)
            if began - self._heeded_at > _KEPT_SECONDS / 2 or len(records) >= _MOST:
                await self._forget()
            past = self._clock.now() - _KEPT_SECONDS * 1_000_000
            self._seen = {key: expires for key, expires in self._seen.items() if expires > past}
            for record in records:
                if record.key not in self._seen:
                    self._seen[record.key] = record.expires
                    await self._withdraw(_unpack(record.blob))  # repeats itself where the store fails half-way
            self._heeded_at = began

    def _heard(self, detail: str) -> None:
        self._later(self._heed_quietly())

    async def _heed_quietly(self) -> None:
        with contextlib.suppress(OstinatoError):  # asked again in half a second
            await self.heed()


class _Told(msgspec.Struct, frozen=True):
    process: str
    selector: Selector


_read_told = msgspec.json.Decoder(_Told).decode


class Telling(_Listener):
    """Between processes that have nothing in common but notices."""

    def __init__(self, withdraw: Withdraw, forget: Forget, notices: Notices) -> None:
        super().__init__(notices)
        self._process = os.urandom(8).hex()
        self._withdraw = withdraw
        self._forget = forget

    async def announce(self, selector: Selector) -> None:
        """Tell the other processes, as far as notices reach."""
        if self._notices is not None:
            self._notices.publish(TOPIC, msgspec.json.encode(_Told(self._process, selector)).decode())

    def _heard(self, detail: str) -> None:
        self._later(self._do(detail))

    async def _do(self, detail: str) -> None:
        try:
            told = _read_told(detail)
        except msgspec.MsgspecError:
            # Empty after a time of not hearing: what was withdrawn meanwhile cannot be known.
            await self._forget()
            return
        if told.process != self._process:
            try:
                await self._withdraw(told.selector)
            except OstinatoError as error:
                _log.warning("A withdrawal of another process is still to reach the store: %s", error.code)
