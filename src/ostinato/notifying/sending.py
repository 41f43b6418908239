"""One try of one delivery, by the kind of its endpoint. Never raises for what the other side does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ostinato import __version__, checks, outbound
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.notifying import addresses, mail, signing, slack
from ostinato.notifying.model import Message, Sent, Target
from ostinato.notifying.settings import Settings

_MOST_BYTES = 4_096
"""Read of an answer: nobody needs more of it than what went wrong."""
_SAID = 200
_LONGEST_AFTER = 43_200.0
_LETTERS = 4
"""E-mails at a time, each in a thread."""


class Sender:
    """Sends; ``close`` it."""

    def __init__(self, client: outbound.Client, clock: Clock, settings: Settings) -> None:
        self._client = client
        self._clock = clock
        self._settings = settings
        self._threads = ThreadPoolExecutor(_LETTERS, thread_name_prefix="ostinato-mail")

    def close(self) -> None:
        """Begin no letter any more; those under way end with their time-outs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, target: Target, message: Message) -> Sent:
        """One try."""
        if target.endpoint.kind == "email":
            to = target.address.reveal().split(",")
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, mail.send, message, self._settings.mail, to)
        if target.endpoint.kind == "slack":
            return await self._post(target, slack.body(message), {})
        now = self._clock.now()
        secrets = [secret.reveal() for secret, until in target.secrets if not until or now < until]
        return await self._post(
            target, message.body, signing.headers(secrets, message.id, now // 1_000_000, message.body)
        )

    async def _post(self, target: Target, body: bytes, headers: dict[str, str]) -> Sent:
        settings, url = self._settings, target.address.reveal()
        told = {**headers, "content-type": "application/json", "ostinato-version": __version__}
        private = addresses.private(url, settings)
        try:
            async with (
                asyncio.timeout(settings.timeout_seconds),
                self._client.stream(url, body, told, settings.timeout_seconds, allow_private=private) as reply,
            ):
                if 200 <= reply.status < 300:
                    # It has been taken: whatever else the answer says, nobody reads it.
                    reply.finish()
                    return Sent(ok=True, status=reply.status)
                return _refused(reply.status, reply.headers, await reply.read(_MOST_BYTES))
        except TimeoutError:
            return Sent(ok=False, said="no answer in time")
        except OstinatoError as error:
            return Sent(ok=False, said=error.message[:_SAID])


def _refused(status: int, headers: dict[str, str], body: bytes) -> Sent:
    if 300 <= status < 400:
        return Sent(ok=False, status=status, said="it redirects, which is never followed")
    asks = _after(headers.get("retry-after", "")) if status in (429, 503) else 0.0
    return Sent(ok=False, status=status, said=said(body), gone=status == 410, after=asks)


def said(body: bytes) -> str:
    """The beginning of an answer, on one line, without what looks secret or personal."""
    text = body[: 4 * _SAID].decode("utf-8", "replace")
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return checks.redact(line)[:_SAID]


def _after(text: str) -> float:
    return min(float(text), _LONGEST_AFTER) if text.isascii() and text.isdecimal() and len(text) < 8 else 0.0
