"""The server's own settings: ``[server]``."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Address to listen on. Off loopback, ``/metrics`` needs a key with ``metrics:read``."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """0: one that the system chooses."""
    max_body_bytes: Annotated[int, Meta(ge=1)] = 10 * 1024 * 1024
    """Largest request body."""
    slow_request_seconds: Annotated[float, Meta(gt=0)] = 30.0
    """A request whose head or body is not whole after this time is cut off."""
    keep_alive_seconds: Annotated[int, Meta(ge=1)] = 75
    max_connections: Annotated[int, Meta(ge=1)] = 20_000
    """Connections beyond it are closed at once."""
    drain_seconds: Annotated[int, Meta(ge=0)] = 30
    """On SIGTERM: how long running requests may take to finish."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "warning"
    """Of the HTTP server itself."""
