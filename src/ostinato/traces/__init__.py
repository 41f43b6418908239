"""The ledger: what every request was, what it took, cost and saved.

``Recorder`` takes rows from the hot path and writes them in the background, rows and rollup together; ``Ledger``
reads them: ``tail``, ``show``, ``stats``. ``PriceBook`` gives the price of a usage at a time; ``Metrics`` keeps plain
counters for ``/metrics``; ``export`` shows the same rows to OpenTelemetry. Prompt and answer text is in the ledger
only where the project says so, and a redactor runs before.
"""

from typing import TYPE_CHECKING

from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.traces.ledger import Ledger
from ostinato.traces.metrics import Metrics
from ostinato.traces.model import (
    HIT_KINDS,
    AttemptRow,
    CallRow,
    Filter,
    HitRow,
    Latency,
    Own,
    Page,
    RequestEvent,
    Stats,
    Window,
)
from ostinato.traces.prices import PriceBook, Rates, Tariff, read_tariffs
from ostinato.traces.record import Recorder, Watcher
from ostinato.traces.settings import Settings

if TYPE_CHECKING:
    from ostinato.traces import export

__all__ = [
    "HIT_KINDS",
    "AttemptRow",
    "CallRow",
    "Filter",
    "HitRow",
    "Latency",
    "Ledger",
    "Metrics",
    "Own",
    "Page",
    "PriceBook",
    "Rates",
    "Recorder",
    "RequestEvent",
    "Settings",
    "Stats",
    "Tariff",
    "Watcher",
    "Window",
    "exporter",
    "read_tariffs",
]


def exporter(settings: Settings, clock: Clock | None = None) -> "export.Exporter | None":
    """The exporter that the settings ask for, to be given to ``Recorder`` as a watcher; ``None`` where it is off.

    Raises ``Invalid`` where OpenTelemetry is not installed.
    """
    if not settings.otel.enabled:
        return None
    try:
        # An extra, and slow to import: only who exports needs it.
        from ostinato.traces import export  # noqa: PLC0415
    except ImportError as error:
        raise Invalid(
            "OpenTelemetry export is on, but OpenTelemetry is not installed.",
            code="missing_extra",
            param="traces.otel.enabled",
            hint="Install it with: pip install '.[otel]' (in a clone)",
        ) from error
    return export.Exporter(settings.otel, clock)
