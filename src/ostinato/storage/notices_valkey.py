"""Notices over Valkey's publish/subscribe: at once, and without memory.

So every process numbers what it says, and says something at least twice a second. Whoever misses a number was deaf (the
connection was cut, the server restarted), and tells all its subscribers to look for themselves.
"""

import asyncio
import logging
from collections.abc import Coroutine

import msgspec

from ostinato.storage import notice_wires, valkey

_log = logging.getLogger(__name__)

_BEAT_SECONDS = 0.5
_SENDING = 256
"""Notices that may be on their way at once; more are dropped, and the gap in the numbers tells of them."""
_PROCESSES = 1_000


class ValkeyWire:
    """A client that listens, and one that sends; both reconnect by themselves."""

    hears_marks = False

    def __init__(self, url: str, notices: notice_wires.Hub) -> None:
        self._url = url
        self._notices = notices
        self._clients: list[valkey.Client] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._heard: dict[str, int] = {}

    async def start(self) -> None:
        """Connect in the background; a server that is away is used when it answers."""
        sender = await valkey.connect(self._url, name="ostinato-notices")
        listener = await valkey.connect(
            self._url, name="ostinato-notices", channel=notice_wires.CHANNEL, on_message=self._take
        )
        self._clients = [sender, listener]
        self._begin(self._beat(listener))

    def send(self, topic: str, detail: str) -> None:
        """Tell the others soon; from any thread."""
        self._notices.call(self._dispatch, topic, detail)

    async def close(self) -> None:
        """Let go of both connections."""
        clients, self._clients = self._clients, []
        for task in self._tasks:
            task.cancel()
        for client in clients:
            await client.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _dispatch(self, topic: str, detail: str) -> None:
        if not self._clients:
            return
        self._number += 1
        if len(self._tasks) < _SENDING:
            payload = msgspec.json.encode([self._notices.process, self._number, topic, detail])
            self._begin(self._send(self._clients[0], payload))

    async def _send(self, client: valkey.Client, payload: bytes) -> None:
        try:
            await client.command(b"PUBLISH", notice_wires.CHANNEL.encode(), payload)
        except valkey.FAILURES as error:
            _log.debug("A notice could not be sent over Valkey (%s).", type(error).__name__)

    async def _beat(self, listener: valkey.Client) -> None:
        """Say a number, and have the listener make its first connection (it is lazy, and asks for nothing else)."""
        while True:
            self._dispatch("", "")
            try:
                await listener.command(b"PING")
            except valkey.FAILURES as error:
                _log.debug("Valkey does not answer (%s).", type(error).__name__)
            await asyncio.sleep(_BEAT_SECONDS)

    def _take(self, payload: bytes) -> None:
        try:
            process, number, topic, detail = msgspec.json.decode(payload, type=tuple[str, int, str, str])
        except msgspec.MsgspecError:
            _log.warning("Something that is not a notice came on channel %s.", notice_wires.CHANNEL)
            return
        last = self._heard.get(process, 0)
        if len(self._heard) >= _PROCESSES:
            self._heard.clear()
        self._heard[process] = number
        if number > last + 1:
            self._notices.fire_all()
        elif topic and process != self._notices.process:
            self._notices.fire(topic, detail)
