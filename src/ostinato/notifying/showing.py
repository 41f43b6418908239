"""How messages fare, beside the ledger's numbers."""

from collections.abc import Callable, Mapping
from typing import Protocol

from ostinato.notifying.notifying import Notifying


class Metrics(Protocol):
    """Where numbers are shown; ``traces.Metrics``."""

    def counter(self, name: str, documentation: str, read: Callable[[], float], label: str = "") -> None: ...

    def gauge(
        self, name: str, documentation: str, read: Callable[[], float | Mapping[str, float]], label: str = ""
    ) -> None: ...


def show(room: Notifying, metrics: Metrics) -> None:
    """Show how messages fare beside the ledger's numbers."""
    metrics.counter("notifications_delivered", "Messages delivered.", lambda: room.worker.delivered)
    metrics.counter("notifications_failed", "Tries to deliver that came to nothing.", lambda: room.worker.failed)
    metrics.counter("notifications_refused", "Messages that no room was for.", lambda: room.refused)
    metrics.gauge(
        "notifications",
        "Messages on their way (waiting), delivered lately, and dead letters; counted every minute.",
        lambda: {state: float(count) for state, count in room.standing.items()},
        label="state",
    )
