"""Replies, and answers rendered once so that a hit only splices in what is new: id, time, age.

An answer is rendered with a *placeholder* identity; a hit replaces it in the finished bytes. Placeholders have the
length of what replaces them, so ``content-length`` never changes. The id is random per process (128 bits); the time is
chosen so that the answer does not contain it.
"""

import os
from collections.abc import AsyncGenerator, Callable, Iterable
from email.utils import formatdate

import msgspec

from ostinato import wire
from ostinato.core import money
from ostinato.wire.model import Answer, Identity, Json, WireName

JSON_TYPE = b"application/json"
SSE_TYPE = b"text/event-stream; charset=utf-8"

Header = tuple[bytes, bytes]


class About(msgspec.Struct, frozen=True, gc=False):
    """What a request is about: what rules of sampling look at, and what stands in a signal."""

    intent: str = ""
    prompt: str = ""
    number: int = 0
    release: str = ""
    fingerprint: str = ""


NOTHING = About()

_PLACEHOLDER_TIME = 9_000_000_000
"""Ten digits, as Unix time has from 2001 to 2286."""


def lines_of(headers: Iterable[Header]) -> bytes:
    """Headers as lines. Raises ``ValueError`` if one would break out of its line: it is not sent, whoever made it."""
    lines = [b": ".join(header) for header in headers]
    lines.append(b"")
    joined = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if joined.count(b"\n") != breaks or joined.count(b"\r") != breaks or b"\x00" in joined:
        raise ValueError("A response header holds a line break.")
    return joined


class Reply(msgspec.Struct, gc=False):
    """A whole reply."""

    status: int
    headers: list[Header]
    body: bytes


class StreamReply(msgspec.Struct):
    """A reply that is sent as it comes."""

    status: int
    headers: list[Header]
    chunks: AsyncGenerator[bytes, None]
    release: Callable[[], None]
    """Gives up what the stream holds; to be called when it is over, however far it came. May be called twice."""


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """An entry as one caller's wire wants it."""

    headers: tuple[Header, ...]
    """All that stay the same from hit to hit."""
    head: bytes
    """Status line and ``headers`` as bytes, without the blank line."""
    body: bytes
    """With placeholders."""
    created: bytes
    """The placeholder of the time of creation."""
    stream: bool
    saved: int
    """Nano-dollars that the same call would cost now; 0 where the price is unknown."""
    user_digest: str = ""
    session: str = ""
    arm: str = ""
    """Of the prompt's canary."""
    about: About = NOTHING
    """What the request is about, for sampling."""

    @property
    def weight(self) -> int:
        """Bytes that keeping this costs."""
        return 2 * len(self.head) + len(self.body) + 512


class Renderer:
    """Renders answers with this process's placeholders, and splices."""

    def __init__(self) -> None:
        self._id = os.urandom(16).hex()
        self._id_bytes = self._id.encode()
        self._second = -1
        self._date = b""
        self._now_bytes = b""

    def render(
        self,
        answer: Answer,
        *,
        entry_name: str,
        target: str,
        wire_name: WireName,
        model: str,
        stream: bool,
        include_usage: bool,
        saved: int,
        user_digest: str,
        session: str,
        echo: Json | None = None,
        result: bytes = b"hit-exact",
        arm: str = "",
        told: Iterable[Header] = (),
        about: About = NOTHING,
    ) -> Rendered:
        """A stored answer in a caller's wire, plain or streamed. ``told``: more headers."""
        created = _PLACEHOLDER_TIME
        seen = b"%b%b%b" % (wire.encode_answer(answer), model.encode(), msgspec.json.encode(echo))
        while b"%d" % created in seen:
            created += 1
        identity = Identity(id=self._id, created=created, model=model, echo=echo)
        codec = wire.codec(wire_name)
        if stream:
            writer = codec.stream_writer(identity, include_usage=include_usage)
            body = writer.write(list(answer.events)) + writer.end()
        else:
            body = codec.write_answer(answer, identity)
        headers = (
            (b"content-type", SSE_TYPE if stream else JSON_TYPE),
            (b"content-length", str(len(body)).encode()),
            (b"ostinato-cache", result),
            (b"ostinato-entry", entry_name.encode()),
            (b"ostinato-target", target.encode()),
            (b"ostinato-cost", b"0"),
            (b"ostinato-saved", money.to_dollars(saved).encode()),
            *told,
        )
        head = b"HTTP/1.1 200 OK\r\n" + lines_of(headers)
        return Rendered(
            headers=headers,
            head=head,
            body=body,
            created=b"%d" % created,
            stream=stream,
            saved=saved,
            user_digest=user_digest,
            session=session,
            arm=arm,
            about=about,
        )

    def tick(self, now: int) -> None:
        """Refresh what changes once a second. ``now`` is UTC microseconds."""
        second = now // 1_000_000
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True).encode()
            self._now_bytes = b"%010d" % second

    def body(self, rendered: Rendered, request_id: bytes) -> bytes:
        """The body with a new identity."""
        return rendered.body.replace(self._id_bytes, request_id).replace(rendered.created, self._now_bytes)

    @property
    def date(self) -> bytes:
        """The ``Date`` header's value, as of the last :meth:`tick`."""
        return self._date
