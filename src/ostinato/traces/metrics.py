"""Plain counters for the hot path, shown to Prometheus when it asks.

An increment is a list access; names, labels and formats cost only the scrape. Calls are counted as they are recorded,
hits by the ledger's writer with their batch: the hot path of a hit does nothing for its metrics.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from ostinato.core import money
from ostinato.traces import semconv
from ostinato.traces.adding import LOOP
from ostinato.traces.model import HIT_KINDS, CallRow, HitRow
from ostinato.traces.rollup import ASIDES, REFRESH, UNKNOWN, Cells, Origin, merge

BOUNDS_US = (
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000, 120_000_000,
)  # fmt: skip
"""Upper bounds of the histogram's buckets, microseconds: from 0.5 ms to two minutes."""
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

_MOST_LABELS = 100
"""Aliases, and error classes, told apart; the rest is ``other``."""
_OUR_OWN = (LOOP, REFRESH)
_NO_INTENT = "none"
_TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
_STATUS = {status: str(status) for status in range(100, 600)}
_STATES = ("closed", "half-open", "open")

Read = Callable[[], float | Mapping[str, float]]
"""Gives a number, or one per label."""
View = Callable[[], Mapping[tuple[str, ...], float]]
"""Gives a number for each set of values of the view's labels, in their order; of one without labels for ``()``."""


class Histogram:
    """Counts per bucket, and the sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0

    def observe(self, us: int) -> None:
        self.counts[bisect_left(BOUNDS_US, us)] += 1
        self.sum_us += us

    def add(self, other: "Histogram") -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_us += other.sum_us

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, with bounds in seconds, as Prometheus wants them."""
        total = 0
        result: list[tuple[str, float]] = []
        for bound, count in zip((*BOUNDS_US, None), self.counts, strict=True):
            total += count
            result.append(("+Inf" if bound is None else repr(bound / 1e6), total))
        return result


class _Tally:
    """Counters that one thread adds to. There are two threads, so there are two of these."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str], int] = {}
        self.hits: dict[str, int] = {}
        self.hit = Histogram()
        self.avoided: dict[str, int] = {}
        self.saved: dict[str, int] = {}
        self.intents: dict[tuple[str, str], int] = {}


class Metrics:
    """All counters of one process, since its start. A ``traces.Watcher``."""

    def __init__(self) -> None:
        self._miss = Histogram()
        self._upstream = Histogram()
        self._first_token = Histogram()
        self._overhead = Histogram()
        self._of_loop, self._of_writer = _Tally(), _Tally()
        self._errors: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        self._tokens: dict[str, list[int]] = {}
        """By alias, in the order of ``_TOKENS``."""
        self._cost: dict[str, int] = {}
        self._unpriced = 0
        self._more: list[tuple[str, str, str, str, Read]] = []
        self._states: list[tuple[str, str, Callable[[], Mapping[str, str]]]] = []
        self.views: dict[str, View] = {semconv.INTENT_REQUESTS: self._by_intent}
        """What is shown as metrics of OpenTelemetry, too: by a name of ``semconv.VIEWS``."""
        self._intents: dict[str, str] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_View(self))
        prometheus_client.ProcessCollector(registry=self._registry)

    # --- observing ----------------------------------------------------------------------------------------------

    def observe_call(self, row: CallRow) -> None:
        """A call as it was recorded. ``Recorder`` calls this."""
        status = _STATUS.get(row.status, "other")
        tally = self._of_loop
        _add(tally.requests, (row.cache, status, row.wire), 1)
        if row.reason not in _OUR_OWN and row.wire not in ASIDES:
            _add(tally.intents, (_bounded(self._intents, row.intent or _NO_INTENT), row.cache), 1)
        alias = self._label(row.alias if row.target or row.status < 400 else "")
        if row.status >= 400 or row.error:
            name = row.error or status
            _add(self._errors, name if name in self._errors or len(self._errors) < _MOST_LABELS else "other", 1)
        if row.cache in ("hit-exact", "stale"):
            tally.hit.observe(row.total_us)
            _add(tally.hits, "stale" if row.cache == "stale" else "memory", 1)
        elif row.upstream_us and row.status < 400:
            total_us, upstream_us = row.total_us, row.upstream_us
            self._miss.observe(total_us)
            self._upstream.observe(upstream_us)
            self._overhead.observe(total_us - upstream_us if total_us > upstream_us else 0)
            if row.stream and row.first_token_us:  # the whole of an answer that is not streamed is no first token
                self._first_token.observe(row.first_token_us)
        _add(tally.saved, alias, row.saved)
        self._add_usage(row, alias)

    def _add_usage(self, row: CallRow, alias: str) -> None:
        if row.usage is None:
            return
        if row.cache in ("hit-exact", "stale"):
            _add(self._of_loop.avoided, alias, row.usage.total)
            return
        usage = row.usage
        tokens = self._tokens.get(alias)
        if tokens is None:
            tokens = self._tokens[alias] = [0] * len(_TOKENS)
        tokens[0] += usage.input
        tokens[1] += usage.cache_read
        tokens[2] += usage.cache_write
        tokens[3] += usage.output
        tokens[4] += usage.reasoning
        if row.cost is None:
            self._unpriced += row.usage.total
        else:
            _add(self._cost, alias, row.cost)

    def observe_batch(
        self, hits: list[HitRow], calls: list[CallRow], origins: Mapping[str, Origin], cells: Cells
    ) -> None:
        """Hits as the writer saw them, in its thread. ``Recorder`` calls this."""
        del calls, cells  # calls were observed one by one
        tally = self._of_writer
        groups: dict[tuple[str, int], list[int]] = {}
        for row in hits:
            tally.hit.observe(row.total_us)
            group = groups.setdefault((row.origin, row.kind), [0, 0])
            group[0] += 1
            group[1] += row.saved
        for (name, number), (count, saved) in groups.items():
            origin = origins.get(name, UNKNOWN)
            alias = self._label(origin.alias)
            kind = HIT_KINDS[number] if 0 <= number < len(HIT_KINDS) else HIT_KINDS[-1]
            _add(tally.hits, kind, count)
            _add(tally.requests, ("stale" if kind == "stale" else "hit-exact", "200", origin.wire), count)
            _add(tally.saved, alias, saved)
            _add(tally.avoided, alias, count * (origin.input + origin.output))
            of_intent = (
                _bounded(self._intents, origin.intent or _NO_INTENT),
                "stale" if kind == "stale" else "hit-exact",
            )
            _add(tally.intents, of_intent, count)

    def _label(self, alias: str) -> str:
        return _bounded(self._aliases, alias)

    def _by_intent(self) -> dict[tuple[str, ...], float]:
        both: dict[tuple[str, ...], float] = {}
        for tally in (self._of_loop, self._of_writer):
            for key, count in list(tally.intents.items()):
                both[key] = both.get(key, 0.0) + count
        return both

    # --- what other rooms count ---------------------------------------------------------------------------------

    def gauge(self, name: str, documentation: str, read: Read, label: str = "") -> None:
        """Show somebody else's value: ``read`` is called at every scrape, and gives one number, or one per label."""
        self._more.append(("gauge", f"ostinato_{name}", documentation, label, read))

    def counter(self, name: str, documentation: str, read: Read, label: str = "") -> None:
        """The same for a number that only grows."""
        self._more.append(("counter", f"ostinato_{name}", documentation, label, read))

    def view(self, name: str, read: View) -> None:
        """Show what a name of ``semconv.VIEWS`` stands for, here and in OpenTelemetry."""
        self.views[name] = read

    def states(self, name: str, documentation: str, read: Callable[[], Mapping[str, str]]) -> None:
        """Show which state a target is in (``closed``, ``half-open``, ``open``): 1 for that one, 0 for the others."""
        self._states.append((f"ostinato_{name}", documentation, read))

    def render(self) -> bytes:
        """The exposition, in the format of ``CONTENT_TYPE``."""
        return prometheus_client.generate_latest(self._registry)

    # --- showing ------------------------------------------------------------------------------------------------

    def families(self) -> Iterable[Metric]:
        """Everything, as Prometheus' own objects."""
        both = _Tally()
        for tally in (self._of_loop, self._of_writer):
            for name in ("requests", "hits", "avoided", "saved"):
                # A copy: the event loop and the writer add to it while this runs.
                merge(getattr(both, name), dict(getattr(tally, name)))
            both.hit.add(tally.hit)
        yield _counter("requests", "Requests answered.", ("cache", "status", "wire"), both.requests)
        yield _counter("hits", "Requests answered from cache, by where it was found.", ("kind",), both.hits)
        yield _counter("errors", "Requests that failed, by class.", ("error",), self._errors)
        durations = HistogramMetricFamily(
            "ostinato_request_duration_seconds", "Time in the gateway; hits and misses apart.", labels=["cache"]
        )
        durations.add_metric(["hit"], both.hit.buckets(), both.hit.sum_us / 1e6)
        durations.add_metric(["miss"], self._miss.buckets(), self._miss.sum_us / 1e6)
        yield durations
        for name, documentation, histogram in (
            ("upstream_duration_seconds", "Time that the provider took.", self._upstream),
            ("first_token_seconds", "Time to the first token of a call.", self._first_token),
            ("overhead_seconds", "Time that a miss spent in the gateway itself.", self._overhead),
        ):
            family = HistogramMetricFamily(f"ostinato_{name}", documentation)
            family.add_metric([], histogram.buckets(), histogram.sum_us / 1e6)
            yield family
        tokens = {
            (alias, bucket): count
            for alias, counts in list(self._tokens.items())
            for bucket, count in zip(_TOKENS, counts, strict=True)
        }
        yield _counter("tokens", "Tokens spent at providers.", ("alias", "bucket"), tokens)
        yield _counter("tokens_avoided", "Tokens that the cache made unnecessary.", ("alias",), both.avoided)
        yield _counter("tokens_unpriced", "Tokens spent whose price is unknown.", (), {(): self._unpriced})
        yield _counter("cost_usd", "Dollars spent, where the price is known.", ("alias",), _dollars(self._cost))
        yield _counter("saved_usd", "Dollars that the cache saved.", ("alias",), _dollars(both.saved))
        yield from self._families_of_others()

    def _families_of_others(self) -> Iterable[Metric]:
        for kind, name, documentation, label, read in self._more:
            # What one room fails to tell must not hide what the others do.
            with suppress(Exception):
                value = read()
                family_of = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                family = family_of(name, documentation, labels=[label] if label else [])
                for key, number in value.items() if isinstance(value, Mapping) else ((None, value),):
                    family.add_metric([] if key is None else [key], number)
                yield family
        for name, view in list(self.views.items()):
            kind, _, documentation, labels = semconv.VIEWS[name]
            family_of = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            family = family_of(name.replace(".", "_"), documentation, labels=list(labels))
            with suppress(Exception):
                for values, number in view().items():
                    family.add_metric(list(values), number)
            yield family
        for name, documentation, read in self._states:
            with suppress(Exception):
                family = GaugeMetricFamily(name, documentation, labels=["target", "state"])
                for target, state in read().items():
                    for one in _STATES:
                        family.add_metric([target, one], float(state == one))
                yield family


class _View(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


def _counter(name: str, documentation: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    """``values`` by label, or by the tuple of labels."""
    family = CounterMetricFamily(f"ostinato_{name}", documentation, labels=list(labels))
    for key, value in list(values.items()):
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family


def _dollars(values: Mapping[str, int]) -> dict[str, float]:
    return {name: nano / money.NANO for name, nano in list(values.items())}


def _bounded(known: dict[str, str], name: str) -> str:
    """``name``, or ``other`` where there are too many already."""
    found = known.get(name)
    if found is None:
        if len(known) >= _MOST_LABELS:
            return "other"
        found = known[name] = name
    return found


def _add(counts: dict[Any, int], key: object, amount: int) -> None:
    counts[key] = counts.get(key, 0) + amount
