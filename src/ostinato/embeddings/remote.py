"""Somebody's endpoint: any server that speaks OpenAI's embeddings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ostinato import outbound, wire
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Unavailable, UpstreamFailed
from ostinato.embeddings.model import writable
from ostinato.embeddings.settings import Settings
from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.jsons import encode
from ostinato.wire.model import EmbeddingRequest

if TYPE_CHECKING:
    from ostinato.embeddings.model import Vectors

_TRIES: Final = 3
_LONGEST_REST: Final = 10.0
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504, 529})


class Remote:
    """An ``Embedder`` behind HTTP. The client belongs to who made it."""

    def __init__(self, settings: Settings, client: outbound.Client, clock: Clock) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        private = settings.allow_private
        base_url = settings.base_url.rstrip("/")
        self._private = outbound.guard.spells_private(base_url) if private is None else private
        self._url = f"{base_url}/embeddings"
        outbound.guard.parse(self._url, allow_private=self._private)
        headers = {"content-type": "application/json", "accept": "application/json"}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key.reveal()}"
        self._headers = outbound.Headers(headers)
        self._dimensions = settings.dimensions
        self._waiting = 0
        self._closed = False
        told = hashing.digest_of([base_url, settings.model, settings.dimensions])
        self._id = f"{settings.model}@{told.hex()[:8]}"

    @property
    def id(self) -> str:
        return self._id

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """See ``Embedder``; in calls of ``batch`` texts, one after the other, a passing failure tried three times.

        Raises ``UpstreamFailed`` where the server refuses or answers nonsense.
        """
        import numpy as np  # noqa: PLC0415 - with the extra only, and not at start

        if self._closed:
            raise Unavailable("The embedder is stopped.", code="embeddings_unavailable")
        if self._waiting >= self._settings.queue:
            raise Unavailable(
                f"{self._waiting} calls wait for vectors already.",
                code="embeddings_busy",
                hint="Try again later, or raise embeddings.queue.",
                retry_after=1.0,
            )
        self._waiting += 1
        try:
            size = self._settings.batch
            found = [await self._batch(texts[at : at + size]) for at in range(0, len(texts), size)]
        finally:
            self._waiting -= 1
        return np.concatenate(found) if found else np.empty((0, self._dimensions), np.float32)

    async def close(self) -> None:
        self._closed = True

    async def _batch(self, texts: Sequence[str]) -> "Vectors":
        # OpenAI refuses an empty text.
        inputs = tuple(writable(text) or " " for text in texts)
        request = EmbeddingRequest(model="", inputs=inputs, dimensions=self._settings.dimensions or None)
        response = await self._asked(encode(wire.embeddings.write_request(request, self._settings.model)))
        try:
            vectors, _ = wire.embeddings.read_reply(response.body)
        except (Malformed, ErrorInStream) as error:
            raise self._nonsense("is no list of vectors") from error
        return self._judged(vectors, len(texts))

    async def _asked(self, body: bytes) -> outbound.Response:
        """The answer with status 200, after as many tries as it takes."""
        settings = self._settings
        for attempt in range(1, _TRIES + 1):
            rest = 0.25 * 2**attempt
            try:
                response = await self._client.post(
                    self._url, body, self._headers, settings.timeout, allow_private=self._private
                )
            except (outbound.TimedOut, outbound.ConnectionFailed):
                if attempt == _TRIES:
                    raise
            else:
                if response.status == 200:
                    return response
                if attempt == _TRIES or response.status not in _PASSING:
                    raise UpstreamFailed(
                        f"The embeddings server answered with status {response.status}.",
                        code="embeddings_failed",
                        hint=_HINTS.get(response.status, ""),
                    )
                rest = _asked_rest(response.headers.get("retry-after"), rest)
            await self._clock.sleep(rest)
        raise AssertionError("the last try ends the loop")

    def _judged(self, vectors: Sequence[bytes], expected: int) -> "Vectors":
        """Bytes as rows of length 1."""
        import numpy as np  # noqa: PLC0415

        if len(vectors) != expected:
            raise self._nonsense(f"holds {len(vectors)} vectors for {expected} texts")
        if len({len(one) for one in vectors}) != 1:
            raise self._nonsense("holds vectors of different lengths")
        rows = np.frombuffer(b"".join(vectors), "<f4").reshape(expected, -1).astype(np.float32)
        if self._dimensions and rows.shape[1] != self._dimensions:
            raise self._nonsense(f"holds vectors of {rows.shape[1]} numbers, not {self._dimensions}")
        # In float64: the square of a large float32 is none.
        lengths = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._nonsense("holds a vector without a length")
        self._dimensions = int(rows.shape[1])
        return (rows / lengths).astype(np.float32)

    def _nonsense(self, what: str) -> UpstreamFailed:
        return UpstreamFailed(f"The reply of the embeddings server {what}.", code="embeddings_failed")


_HINTS: Final = {
    401: "Is embeddings.api_key right?",
    403: "May this key use embeddings.model?",
    404: "Is embeddings.base_url right, up to and without /embeddings, and is embeddings.model known there?",
}


def _asked_rest(header: str | None, otherwise: float) -> float:
    """Seconds to wait, as the server asks, within reason."""
    try:
        asked = float(header or "")
    except ValueError:
        return otherwise
    return min(max(asked, 0.0), _LONGEST_REST) if asked == asked else otherwise  # noqa: PLR0124 - not a NaN
