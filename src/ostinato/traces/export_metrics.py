"""The ledger's rows as OpenTelemetry metrics: added up as the writer takes them, sent as they stand every minute.

Not through the SDK's instruments, which take 5 to 10 us for each value: a hit costs one addition to a bucket here, in
the writer's thread. Sums grow from the start of the process (cumulative), so what a collector misses it can make up.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ostinato.traces import semconv
from ostinato.traces.metrics import View
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import Origin

_MOST = 1_000
"""Sets of attributes of one metric that are told apart; the rest goes into one that says so."""
_NANO = 1e9

Labels = tuple[tuple[str, str], ...]
"""Attributes, in the order of their names; the empty ones left out."""

_OVERFLOW: Labels = ((semconv.OVERFLOW, "true"),)


class _Counts:
    """One series of a histogram."""

    __slots__ = ("buckets", "high", "low", "total")

    def __init__(self, bounds: int) -> None:
        self.buckets = [0] * (bounds + 1)
        self.total = 0.0
        self.low = float("inf")
        self.high = 0.0


class Instruments:
    """Everything that is added up. ``observe`` in the writer's thread, ``read`` in the exporter's."""

    def __init__(self, resource: Resource, scope: InstrumentationScope, started: int) -> None:
        """``started``: nanoseconds, UTC."""
        self._resource = resource
        self._scope = scope
        self._started = started
        self._lock = threading.Lock()
        self._histograms: dict[str, dict[Labels, _Counts]] = {name: {} for name in semconv.HISTOGRAMS}
        self._sums: dict[str, dict[Labels, float]] = {name: {} for name in semconv.COUNTERS}

    def observe(self, hits: list[HitRow], calls: list[CallRow], origins: Mapping[str, Origin], unknown: Origin) -> None:
        """Add a batch of rows."""
        with self._lock:
            for row in calls:
                self._call(row)
            self._hits(hits, origins, unknown)

    def read(self, now: int, views: Mapping[str, View] | None = None) -> MetricsData:
        """Everything as it stands, with what ``views`` tell; ``now``: nanoseconds, UTC."""
        others = [self._view(name, view, now) for name, view in (views or {}).items()]
        with self._lock:
            metrics = [
                *(self._histogram(name, now) for name, series in self._histograms.items() if series),
                *(self._sum(name, now) for name, series in self._sums.items() if series),
                *(one for one in others if one is not None),
            ]
        scopes = ScopeMetrics(self._scope, metrics, semconv.SCHEMA_URL)
        return MetricsData([ResourceMetrics(self._resource, [scopes], semconv.SCHEMA_URL)])

    # --- adding -------------------------------------------------------------------------------------------------

    def _call(self, row: CallRow) -> None:
        operation = semconv.OPERATIONS.get(row.wire, semconv.CHAT)
        error = row.error or (str(row.status) if row.status >= 400 else "")
        # What nobody serves can be any text: it is not told apart.
        alias = row.alias if row.target or row.status < 400 else ""
        provider = row.provider or semconv.OURSELVES
        asked = _labels(
            {
                semconv.OPERATION: operation,
                semconv.PROVIDER: provider,
                semconv.REQUEST_MODEL: alias,
                semconv.CACHE: row.cache,
                semconv.ERROR_TYPE: error,
            }
        )
        self._observe(semconv.SERVER_DURATION, asked, row.total_us / 1e6)
        if row.stream and row.first_token_us and not error:
            self._observe(semconv.SERVER_FIRST_TOKEN, asked, row.first_token_us / 1e6)
        of_alias = _labels({semconv.REQUEST_MODEL: alias, semconv.PROVIDER: provider})
        if row.saved:
            self._add(semconv.TOTAL_SAVED, of_alias, row.saved / _NANO)
        if row.cache in ("hit-exact", "stale"):
            if row.usage is not None:
                self._add(semconv.TOKENS_AVOIDED, of_alias, row.usage.total)
            return
        if row.cost:
            self._add(semconv.TOTAL_COST, of_alias, row.cost / _NANO)
        if row.upstream_us:
            self._upstream(row, operation, error)

    def _upstream(self, row: CallRow, operation: str, error: str) -> None:
        """What a provider did for it."""
        plain = {
            semconv.OPERATION: operation,
            semconv.PROVIDER: row.provider or semconv.OURSELVES,
            semconv.REQUEST_MODEL: row.target.partition("/")[2],
            semconv.RESPONSE_MODEL: row.model,
        }
        labels = _labels(plain)
        self._observe(semconv.CLIENT_DURATION, _labels({**plain, semconv.ERROR_TYPE: error}), row.upstream_us / 1e6)
        if row.stream and row.first_token_us:
            self._observe(semconv.CLIENT_FIRST_CHUNK, labels, row.first_token_us / 1e6)
        usage = row.usage
        if usage is not None:
            for kind, count in (
                ("input", usage.input + usage.cache_read + usage.cache_write),
                ("output", usage.output + usage.reasoning),
            ):
                self._observe(semconv.CLIENT_TOKENS, _labels({**plain, semconv.TOKEN_TYPE: kind}), count)

    def _hits(self, hits: list[HitRow], origins: Mapping[str, Origin], unknown: Origin) -> None:
        known: dict[tuple[str, bool], tuple[Labels, Labels, Origin]] = {}
        for row in hits:
            stale = row.kind == 4
            found = known.get((row.origin, stale))
            if found is None:
                origin = origins.get(row.origin, unknown)
                found = known[row.origin, stale] = (*_of_hit(origin, stale), origin)
            asked, of_alias, origin = found
            self._observe(semconv.SERVER_DURATION, asked, row.total_us / 1e6)
            if row.saved:
                self._add(semconv.TOTAL_SAVED, of_alias, row.saved / _NANO)
            if origin.known:
                self._add(semconv.TOKENS_AVOIDED, of_alias, origin.input + origin.output)

    def _observe(self, name: str, labels: Labels, value: float) -> None:
        series = self._histograms[name]
        counts = series.get(labels)
        bounds = semconv.HISTOGRAMS[name][2]
        if counts is None:
            key = labels if len(series) < _MOST else _OVERFLOW
            counts = series.setdefault(key, _Counts(len(bounds)))
        counts.buckets[bisect_left(bounds, value)] += 1
        counts.total += value
        counts.low = min(counts.low, value)
        counts.high = max(counts.high, value)

    def _add(self, name: str, labels: Labels, value: float) -> None:
        series = self._sums[name]
        key = labels if labels in series or len(series) < _MOST else _OVERFLOW
        series[key] = series.get(key, 0.0) + value

    # --- telling ------------------------------------------------------------------------------------------------

    def _histogram(self, name: str, now: int) -> Metric:
        unit, description, bounds = semconv.HISTOGRAMS[name]
        points = [
            HistogramDataPoint(
                attributes=dict(labels),
                start_time_unix_nano=self._started,
                time_unix_nano=now,
                count=sum(counts.buckets),
                sum=counts.total,
                bucket_counts=tuple(counts.buckets),
                explicit_bounds=bounds,
                min=counts.low,
                max=counts.high,
            )
            for labels, counts in self._histograms[name].items()
        ]
        return Metric(name, description, unit, Histogram(points, AggregationTemporality.CUMULATIVE))

    def _sum(self, name: str, now: int) -> Metric:
        unit, description = semconv.COUNTERS[name]
        points = [
            NumberDataPoint(dict(labels), self._started, now, value) for labels, value in self._sums[name].items()
        ]
        return Metric(name, description, unit, Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True))

    def _view(self, name: str, view: View, now: int) -> Metric | None:
        """What another room counts; nothing where it has nothing to tell, or fails to."""
        kind, unit, description, labels = semconv.VIEWS[name]
        try:
            values = view()
        except Exception:  # what one room fails to tell must not hide what the others do
            return None
        points = [
            NumberDataPoint(dict(zip(labels, key, strict=True)), self._started, now, value)
            for key, value in values.items()
        ]
        if not points:
            return None
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True) if kind == "counter" else Gauge(points)
        return Metric(name, description, unit, data)


def _of_hit(origin: Origin, stale: bool) -> tuple[Labels, Labels]:
    """The attributes of a hit, and those of what it saved."""
    provider = origin.provider or semconv.OURSELVES
    asked = {
        semconv.OPERATION: semconv.OPERATIONS.get(origin.wire, semconv.CHAT),
        semconv.PROVIDER: provider,
        semconv.REQUEST_MODEL: origin.alias,
        semconv.CACHE: "stale" if stale else "hit-exact",
    }
    return _labels(asked), _labels({semconv.REQUEST_MODEL: origin.alias, semconv.PROVIDER: provider})


def _labels(attributes: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in attributes.items() if value))
