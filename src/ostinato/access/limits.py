"""Rate and concurrency limits per key, in memory: a request is admitted or refused in well under a microsecond.

The counts are of *this process*. With several server processes each admits its share (``Settings.processes``), so a
client that always meets the same process reaches only that share, and a restart begins with full buckets. Limits
protect the service; what protects money are budgets, which are durable and exact across processes.
"""

import msgspec

from ostinato.access.model import Caller, RateLimit
from ostinato.access.settings import Settings
from ostinato.core.errors import LimitReached


class RateState(msgspec.Struct, frozen=True, gc=False):
    """Where a key stands after a request was admitted, for the rate-limit headers."""

    limit: int
    """Requests per window, and the largest burst."""
    remaining: int
    reset_s: float
    """Seconds until the whole burst is there again."""


class _Bucket:
    """A leaky bucket: it fills by ``interval`` with each request, drains with time, and must not run over ``depth``.

    Kept as a level and the time of the last request (not as a moment in the future), so that a clock that jumps back
    neither locks a key out nor lets it through.
    """

    __slots__ = ("declared", "depth", "inflight", "interval", "last", "level", "requests")

    def __init__(self) -> None:
        self.level = 0.0
        self.last = 0
        self.inflight = 0

    def set(self, declared: RateLimit | None, rate: RateLimit, processes: int) -> None:
        """Take a new limit; what was used so far stays used."""
        self.declared = declared
        """As the key has it: the very object, so that one comparison of identity tells whether it changed."""
        self.requests = max(1, rate.requests // processes)
        self.depth = rate.seconds * 1_000_000
        self.interval = self.depth / self.requests
        self.level = min(self.level, self.depth)


class Limits:
    """All buckets of this process."""

    def __init__(self, settings: Settings) -> None:
        self._concurrent = settings.concurrent_requests
        self._default = RateLimit(settings.requests_per_minute)
        self._processes = settings.processes
        self._buckets: dict[str, _Bucket] = {}

    def admit(self, caller: Caller, now: int) -> RateState:
        """Count one request of ``caller`` at ``now`` (UTC microseconds), or raise :class:`LimitReached`."""
        bucket = self._buckets.get(caller.key_id)
        if bucket is None or bucket.declared is not caller.rate:
            bucket = self._bucket(caller)
        level = bucket.level
        passed = now - bucket.last
        if passed > 0:
            level -= passed
            level = max(level, 0.0)
        level += bucket.interval
        depth = bucket.depth
        bucket.last = now
        if level > depth + 1e-3:  # a thousandth of a microsecond: sums of floats are not exact
            bucket.level = level - bucket.interval
            raise self._too_fast(caller, bucket, (level - depth) / 1_000_000)
        bucket.level = level
        return RateState(bucket.requests, int((depth - level) / bucket.interval + 1e-6), level / 1_000_000)

    def enter(self, caller: Caller) -> None:
        """Count one more request of ``caller`` in flight, or raise :class:`LimitReached`. Pair with :meth:`leave`."""
        bucket = self._buckets.get(caller.key_id)
        if bucket is None:
            bucket = self._bucket(caller)
        if bucket.inflight >= self._concurrent:
            raise LimitReached(
                f"The key {caller.key_prefix} has {self._concurrent} requests in flight, as many as one key may.",
                code="concurrency_limit_exceeded",
                hint="Wait for some of them to finish, or raise access.concurrent_requests.",
                retry_after=1.0,
            )
        bucket.inflight += 1

    def leave(self, caller: Caller) -> None:
        """One request of ``caller`` is over."""
        bucket = self._buckets.get(caller.key_id)
        if bucket is not None and bucket.inflight > 0:
            bucket.inflight -= 1

    def inflight(self, key_id: str) -> int:
        """Requests of a key in flight in this process."""
        bucket = self._buckets.get(key_id)
        return 0 if bucket is None else bucket.inflight

    def last_used(self, since: int) -> dict[str, int]:
        """When each key made its last request, for those that made one at ``since`` or later."""
        return {key_id: bucket.last for key_id, bucket in self._buckets.items() if bucket.last >= since > 0}

    def prune(self, live: frozenset[str]) -> None:
        """Forget the buckets of keys that are gone, so that there are never more buckets than keys."""
        for key_id in [k for k, bucket in self._buckets.items() if k not in live and bucket.inflight == 0]:
            del self._buckets[key_id]

    def _bucket(self, caller: Caller) -> _Bucket:
        """The bucket of ``caller``, made or brought up to its present limit."""
        bucket = self._buckets.get(caller.key_id)
        if bucket is None:
            bucket = self._buckets[caller.key_id] = _Bucket()
        bucket.set(caller.rate, caller.rate or self._default, self._processes)
        return bucket

    def _too_fast(self, caller: Caller, bucket: _Bucket, wait: float) -> LimitReached:
        return LimitReached(
            f"The key {caller.key_prefix} may make {bucket.requests} requests per {bucket.depth / 1_000_000:g} seconds"
            " and has used them up.",
            hint=f"It may try again in {wait:.3g} seconds; an administrator can raise the key's rate.",
            retry_after=wait,
        )
