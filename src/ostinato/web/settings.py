"""The server's own settings: ``[server]``."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Address to listen on. Off loopback, ``/metrics`` needs a key with ``metrics:read``."""
    port: int = 8000
    max_body_bytes: int = 10 * 1024 * 1024
    """Largest request body."""
    slow_request_seconds: float = 30.0
    """A request whose head or body is not whole after this time is cut off."""
    keep_alive_seconds: int = 75
    max_connections: int = 20_000
    """Connections beyond it are closed at once."""
    drain_seconds: int = 30
    """On SIGTERM: how long running requests may take to finish."""
    log_level: str = "warning"
