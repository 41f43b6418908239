"""Notices over Valkey's publish/subscribe: at once, without memory. The counters in the database heal what is lost."""

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from ostinato.storage import valkey

if TYPE_CHECKING:
    from ostinato.storage.notices import Notices

_log = logging.getLogger(__name__)

_CHANNEL = "ostinato_notice"
_SIGN_SECONDS = 0.5
_SENDING = 256
"""Notices that may be on their way at once; more are dropped, and the counters of the database tell of them."""


class ValkeyWire:
    """A client that listens, and one that sends; both reconnect by themselves."""

    hears_marks = False

    def __init__(self, url: str, notices: "Notices") -> None:
        self._url = url
        self._notices = notices
        self._listener: valkey.Client | None = None
        self._sender: valkey.Client | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect in the background; a server that is away is used when it answers."""
        self._sender = await valkey.connect(self._url, name="ostinato-notices")
        self._listener = await valkey.connect(
            self._url, name="ostinato-notices", channel=_CHANNEL, on_message=self._take
        )
        self._keeper = asyncio.get_running_loop().create_task(self._keep(self._listener))

    def send(self, topic: str, detail: str) -> None:
        """Tell the others soon; from any thread."""
        self._notices.call(self._begin, topic, detail)

    async def close(self) -> None:
        """Let go of both connections."""
        for task in (*self._sending, *([self._keeper] if self._keeper else ())):
            task.cancel()
        for client in (self._listener, self._sender):
            if client is not None:
                await client.close()
        self._listener = self._sender = None

    async def _keep(self, listener: valkey.Client) -> None:
        """Ask for a sign of life: it makes the first connection, and tells when we were deaf."""
        deaf = True
        first = True
        while True:
            try:
                await listener.command(b"PING")
                if deaf and not first:
                    self._notices.fire_all()
                deaf = False
            except valkey.FAILURES:
                deaf = True
            first = False
            await asyncio.sleep(_SIGN_SECONDS)

    def _begin(self, topic: str, detail: str) -> None:
        if self._sender is None or len(self._sending) >= _SENDING:
            return
        task = asyncio.get_running_loop().create_task(self._send(self._sender, topic, detail))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, client: valkey.Client, topic: str, detail: str) -> None:
        payload = msgspec.json.encode([self._notices.process, topic, detail])
        try:
            await client.command(b"PUBLISH", _CHANNEL.encode(), payload)
        except valkey.FAILURES as error:
            _log.warning("A notice of %r could not be sent over Valkey (%s).", topic, type(error).__name__)

    def _take(self, payload: bytes) -> None:
        try:
            process, topic, detail = msgspec.json.decode(payload, type=tuple[str, str, str])
        except msgspec.MsgspecError:
            _log.warning("Something that is not a notice came on channel %s.", _CHANNEL)
            return
        if process != self._notices.process:
            self._notices.fire(topic, detail)
