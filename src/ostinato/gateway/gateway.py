"""The gateway as ``web`` knows it: one call for a request, one for a refusal."""

import asyncio
import logging
from typing import cast

import msgspec

from ostinato import wire
from ostinato.cache import Flights
from ostinato.core import ids
from ostinato.core.errors import Denied, Invalid, LimitReached, OstinatoError
from ostinato.gateway import controls, holding, recording, side
from ostinato.gateway.asking import Item, Outcome
from ostinato.gateway.keepalive import Keepalive
from ostinato.gateway.pipeline import Pipeline, internal_error
from ostinato.gateway.recording import status_of
from ostinato.gateway.repeat import Repeater, Tried
from ostinato.gateway.replies import JSON_TYPE, Header, Reply, StreamReply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import CHAT_WIRES, Operation, Turn
from ostinato.gateway.vectors import Vectors
from ostinato.providers.model import ProviderFailure
from ostinato.wire import failures

_log = logging.getLogger("ostinato.gateway")


class Gateway:
    """Answers the data plane's requests. Built by ``app``; started and stopped with it."""

    def __init__(self, rooms: Rooms, flights: Flights[Item, Outcome]) -> None:
        self.rooms = rooms
        self.flights = flights
        self.repeater = Repeater(
            rooms.access, rooms.cache, rooms.recorder, rooms.renderer, rooms.epoch, rooms.clock, rooms.sampler
        )
        self._keepalive = Keepalive(rooms.clock, rooms.settings.ping_seconds)
        self._pipeline = Pipeline(rooms, self.repeater, self._keepalive, flights)
        self._vectors = Vectors(rooms)

    def start(self) -> None:
        self._keepalive.start()

    async def stop(self, grace: float) -> None:
        """Let calls under way end within ``grace`` seconds, then cancel them."""
        await self._keepalive.stop()
        await self.flights.stop(grace)

    async def handle(
        self, operation: Operation, path: str, headers: list[Header], body: bytes, tried: Tried | None
    ) -> Reply | StreamReply:
        """Answer one request. Errors come back as replies in the caller's wire; every request leaves its row.

        ``tried``: what the short cut has learnt of it; ``None`` where it did not come that way.
        """
        rooms = self.rooms
        if tried is None:
            tried = Tried(controls.read(headers), b"", rooms.clock.monotonic())
        at = rooms.clock.now()
        turn = Turn(
            operation=operation,
            request_id=ids.new(at),
            at=at,
            started=tried.started,
            controls=tried.controls,
            raw_key=tried.key,
            caller=tried.caller,
        )
        try:
            if operation in CHAT_WIRES:
                return await self._pipeline.chat(turn, body)
            if operation == "feedback":
                return await side.feedback(turn, rooms, body)
            self._pipeline.authenticate(turn)
            if operation == "openai.embeddings":
                return await self._vectors.embed(turn, body)
            if operation == "anthropic.count_tokens":
                return await side.count_tokens(turn, rooms, body)
            if operation == "held":
                return await holding.fetch(turn, rooms, path)
            return side.models(turn, rooms, path)
        except OstinatoError as error:
            if isinstance(error, Denied):
                rooms.denials.note(turn.caller.key_id if turn.caller is not None else "", error.code)
            recording.record_refusal(turn, rooms, error)
            return self._refusal(operation, turn.controls, turn.request_id, error, _headers(turn))
        except asyncio.CancelledError:
            if not turn.asking:
                recording.record(
                    turn,
                    rooms,
                    cache="miss",
                    reason="caller-left",
                    status=recording.CALLER_LEFT,
                    error="caller_left",
                )
            raise
        except Exception:
            _log.exception("A request to %s failed inside the gateway", path)
            failure = internal_error()
            recording.record_refusal(turn, rooms, failure)
            return self._refusal(operation, turn.controls, turn.request_id, failure, recording.rate_headers(turn))

    def refuse(self, operation: Operation, headers: list[Header], error: OstinatoError) -> Reply:
        """An error reply for a request that never became a turn."""
        return self._refusal(operation, controls.read(headers), ids.new(self.rooms.clock.now()), error, [])

    def _refusal(
        self,
        operation: Operation,
        read: controls.Controls,
        request_id: str,
        error: OstinatoError,
        rate: list[Header],
    ) -> Reply:
        status = status_of(error)
        headers: list[Header] = [
            (b"x-request-id", read.client_request_id or request_id.encode()),
            (b"ostinato-cache", b"bypass; reason=error"),
            *rate,
        ]
        if read.traceparent:
            headers.append((b"traceparent", read.traceparent))
        content_type = JSON_TYPE
        wire_name = "anthropic.messages" if operation.startswith("anthropic") else "openai.chat"
        data = b""
        if isinstance(error, ProviderFailure):
            for name, value in error.headers.items():
                lowered = name.lower()
                if not (rate and lowered in recording.OUR_RATE_HEADERS):
                    headers.append((lowered.encode(), value.encode("latin-1", "replace")))
            if error.body is not None and error.wire.partition(".")[0] == wire_name.partition(".")[0]:
                data = error.body
                content_type = error.content_type.encode("latin-1", "replace")
            if error.failure != "request":
                headers.append((b"x-should-retry", b"false"))
        elif error.code == "budget_exceeded":
            headers.append((b"x-should-retry", b"false"))
        if error.retry_after is not None and not any(name == b"retry-after" for name, _ in headers):
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
        if isinstance(error, Denied) and not error.authenticated:
            headers.append((b"www-authenticate", b'Bearer realm="ostinato"'))
        if not data:
            data = wire.codec(wire_name).write_error(told(error))
        headers.append((b"content-type", content_type))
        headers.append((b"content-length", b"%d" % len(data)))
        return Reply(status, headers, data)


def _headers(turn: Turn) -> list[Header]:
    """What a refusal tells beside the reason."""
    return [*recording.rate_headers(turn), *recording.breaker_headers(turn)]


def told(error: OstinatoError) -> OstinatoError:
    """The error as the caller is told it: a provider's refusal of the request, or of its rate, is theirs to mend."""
    if not isinstance(error, ProviderFailure) or error.failure not in ("request", "rate"):
        return error
    kind = Invalid if error.failure == "request" else LimitReached
    message = provider_message(error.body) if error.body else ""
    return kind(message or error.message, code=error.code, hint=error.hint if not message else "")


def provider_message(body: bytes) -> str:
    """What a provider said in an error of the other wire; ``""`` where it cannot be read."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ""
    return failures.reported(cast("dict[str, object]", told).get("error")).message if isinstance(told, dict) else ""
