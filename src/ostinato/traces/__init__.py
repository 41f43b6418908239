"""The ledger: what every request was, what it took, cost and saved.

``Recorder`` takes rows from the hot path and writes them in the background, rows and rollup together; ``Ledger``
reads them: ``tail``, ``show``, ``stats``. ``PriceBook`` gives the price of a usage at a time; ``Metrics`` keeps plain
counters for ``/metrics``; ``export`` shows the same rows to OpenTelemetry. Prompt and answer text is in the ledger
only where the project says so, and a redactor runs before.
"""

from ostinato.traces.model import (
    HIT_KINDS,
    AttemptRow,
    CallRow,
    Filter,
    HitRow,
    Latency,
    Page,
    RequestEvent,
    Stats,
    Window,
)
from ostinato.traces.record import Recorder, Watcher
from ostinato.traces.settings import Settings

__all__ = [
    "HIT_KINDS",
    "AttemptRow",
    "CallRow",
    "Filter",
    "HitRow",
    "Latency",
    "Page",
    "Recorder",
    "RequestEvent",
    "Settings",
    "Stats",
    "Watcher",
    "Window",
]
