"""What can be set of the ledger: section ``[traces]``."""

import msgspec


class Otel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Export of the ledger's rows as OpenTelemetry spans and metrics (extra ``otel``)."""

    enabled: bool = False
    endpoint: str = "http://localhost:4318/v1/traces"
    """OTLP over HTTP, protobuf; the whole URL."""
    headers: dict[str, str] = {}
    """Sent with every export, e.g. a collector's token; masked where settings are shown."""
    service_name: str = "ostinato"
    hits: bool = True
    """Whether cache hits are exported too, not only calls."""
    metrics: bool = True
    """Whether metrics are exported too, not only spans."""
    metrics_endpoint: str = ""
    """The whole URL; empty: ``endpoint`` with ``/v1/metrics`` at its end."""
    metrics_seconds: float = 60.0
    """How often."""
    queue_rows: int = 10_000
    timeout: float = 10.0
    """Seconds for one export."""

    @property
    def metrics_url(self) -> str:
        """Where metrics go."""
        return self.metrics_endpoint or f"{self.endpoint.removesuffix('/v1/traces').rstrip('/')}/v1/metrics"

    def __repr__(self) -> str:
        return f"Otel(enabled={self.enabled}, endpoint=..., headers=<{len(self.headers)} hidden>)"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How rows are gathered, how long details are kept, and where else they go."""

    batch_seconds: float = 0.25
    """How long rows are gathered before they are written: what a crash may lose, and what a reader may lag."""
    batch_rows: int = 5_000
    """Most rows in one transaction."""
    queue_rows: int = 100_000
    """Most rows in memory; beyond it the newest are shed, and counted."""
    stop_seconds: float = 5.0
    """How long a clean stop waits for the database."""
    text_chars: int = 65_536
    """Most characters kept of a prompt or an answer, where the project lets the ledger keep text at all."""
    keep_10s_hours: int = 48
    """How long the finest rollup is kept."""
    keep_1m_days: int = 30
    """How long the one-minute rollup is kept. The hours and days stay."""
    interaction_minutes: int = 10
    """How long after an answer a repetition, an edit or a complaint is about that answer: it was not accepted."""
    otel: Otel = Otel()
