"""The shortest way: the same bytes from the same key get the same answer, before any JSON is read.

``Repeater.whole`` is what the protocol short cut calls: it returns a complete HTTP response, or a ``Tried`` that
carries what was worked out to the ordinary path. Authentication and rate limit come first here too, in the same order
and from the same snapshots; a request that carries ``cache-control`` always goes the ordinary way, where its age is
judged.

What a hit costs is spent here: read ``benchmarks/RESULTS.md`` before adding a line.
"""

import msgspec

from ostinato.access import Access, Caller
from ostinato.cache import ResponseCache, raw_key
from ostinato.cache.memory import Entry
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.gateway import controls, recording
from ostinato.gateway.asking import Outcome
from ostinato.gateway.controls import Controls
from ostinato.gateway.recording import rate_headers
from ostinato.gateway.replies import Header, Rendered, Renderer, Reply
from ostinato.gateway.sampling import Sampler
from ostinato.gateway.snapshots import Epoch
from ostinato.gateway.turn import Turn
from ostinato.traces import HitRow, Recorder

KIND_RAW, KIND_MEMORY, KIND_SHARED, KIND_JOINED, KIND_STALE = range(5)


RATE_LINES = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %.3fs\r\n"
)


class Tried(msgspec.Struct, gc=False):
    """What the short cut learnt of a request that it could not answer."""

    controls: Controls
    key: bytes
    """Raw-body key; empty where the request must not be indexed."""
    started: float
    """Monotonic seconds when the request was whole."""
    caller: Caller | None = None
    """Who asks, where that has been found out."""


class Repeater:
    """Answers repeated request bodies from the raw-body index."""

    def __init__(
        self,
        access: Access,
        cache: ResponseCache,
        recorder: Recorder,
        renderer: Renderer,
        epoch: Epoch,
        clock: Clock,
        sampler: Sampler | None = None,
    ) -> None:
        self._access = access
        self._raw = cache.raw
        self._recorder = recorder
        self._renderer = renderer
        self._epoch = epoch
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._sampler = sampler

    def whole(self, path: bytes, headers: list[Header], body: bytes) -> bytes | Tried:
        """A complete HTTP/1.1 response, or what was learnt on the way to not having one."""
        started = self._monotonic()
        read = controls.read(headers)
        if read.cache_control:
            return Tried(read, b"", started)
        now = self._now()
        access = self._access
        try:
            caller = access.authenticate(read.token.decode("latin-1"), now)
            key = raw_key(caller.digest, self._epoch.value, path + b"\x00" + read.narrowing, body)
            found = self._raw.get(key, now)
            if found is None:
                return Tried(read, key, started, caller)
            rate = access.admit(caller, now)
        except OstinatoError:
            return Tried(read, b"", started)  # the ordinary path refuses it in the wire's own shape
        renderer = self._renderer
        renderer.tick(now)
        rendered: Rendered = found.rendered
        entry = found.entry
        entry.hits += 1
        entry.last_hit = now
        request_id = ids.new(now)
        id_bytes = request_id.encode()
        answer = renderer.body(rendered, id_bytes)
        age = max(0, now - entry.created) // 1_000_000
        total_us = int((self._monotonic() - started) * 1e6)
        self._note(caller, entry, rendered, request_id, now, age, total_us, read, KIND_RAW)
        sampler = self._sampler
        if sampler is not None and sampler.bar and int(request_id[24:], 16) < sampler.bar:
            sampler.shortcut(caller, request_id, path, body, entry, rendered.about, rendered.arm, total_us)
        return b"%bdate: %b\r\nx-request-id: %b\r\nage: %d\r\nserver-timing: total;dur=%d.%03d\r\n%b%b\r\n%b" % (
            rendered.head,
            renderer.date,
            read.client_request_id or id_bytes,
            age,
            total_us // 1000,
            total_us % 1000,
            RATE_LINES % (rate.limit, rate.remaining, rate.reset_s),
            b"traceparent: %b\r\n" % read.traceparent if read.traceparent else b"",
            answer,
        )

    def reply(self, turn: Turn, entry: Entry, rendered: Rendered, kind: int) -> Reply:
        """The reply of a hit on the ordinary path; writes it down."""
        caller = turn.caller
        assert caller is not None
        self._renderer.tick(turn.at)
        id_bytes = turn.request_id.encode()
        entry.served(turn.at)
        age = max(0, turn.at - entry.created) // 1_000_000
        headers = [
            *rendered.headers,
            (b"x-request-id", turn.controls.client_request_id or id_bytes),
            (b"age", b"%d" % age),
            *rate_headers(turn),
            recording.timing(turn, since := recording.elapsed(turn, self._monotonic())),
        ]
        if turn.controls.traceparent:
            headers.append((b"traceparent", turn.controls.traceparent))
        self._note(caller, entry, rendered, turn.request_id, turn.at, age, since, turn.controls, kind)
        if self._sampler is not None and self._sampler.bar:
            self._sampler.repeated(turn, entry, since)
        return Reply(200, headers, self._renderer.body(rendered, id_bytes))

    def note_joined(self, turn: Turn, outcome: Outcome) -> None:
        """Write down a request that was answered by somebody else's call."""
        caller = turn.caller
        assert caller is not None
        total_us = recording.elapsed(turn, self._monotonic())
        turn.recorded = True
        if self._sampler is not None and self._sampler.bar and outcome.held is None:
            self._sampler.answered(turn, outcome.answer, usage=None, cost=0, latency_us=total_us, entry=outcome.entry)
        self._recorder.hit(
            HitRow(
                turn.request_id,
                turn.at,
                caller.key_id,
                outcome.origin,
                total_us,
                outcome.cost or 0,
                0,
                KIND_JOINED,
                turn.stream,
                turn.user_digest,
                turn.session,
                turn.controls.client_request_id.decode("latin-1"),
                "" if turn.prompt is None else turn.prompt.arm,
            )
        )

    def _note(
        self,
        caller: Caller,
        entry: Entry,
        rendered: Rendered,
        request_id: str,
        now: int,
        age: int,
        total_us: int,
        read: Controls,
        kind: int,
    ) -> None:
        """Write a hit down: one row."""
        self._recorder.hit(
            HitRow(
                request_id,
                now,
                caller.key_id,
                entry.origin,
                total_us,
                rendered.saved,
                age,
                kind,
                rendered.stream,
                rendered.user_digest,
                rendered.session,
                read.client_request_id.decode("latin-1") if read.client_request_id else "",
                rendered.arm,
            )
        )
