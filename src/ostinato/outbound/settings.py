"""Bounds of the outbound client."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table ``[outbound]`` of the configuration. Times in seconds, sizes in bytes."""

    connect_timeout: float = 5.0
    """For one address, TLS handshake included; never longer than what the caller gives for the whole call."""
    idle_timeout: float = 60.0
    """How long an unused connection is kept for the next call."""
    max_connections: int = 16_384
    """In use at one time; a call beyond that fails at once."""
    max_idle_per_host: int = 256
    max_response_bytes: int = 32 * 1024 * 1024
    """Of an answer that is read as a whole, after decompression. A stream has no such bound."""
    max_head_bytes: int = 64 * 1024
    """Status line and headers of an answer."""
    buffer_bytes: int = 256 * 1024
    """Bytes of a stream that may wait for a slow reader; then the other side has to wait."""
    name_ttl: float = 30.0
    """How long the addresses of a name are believed."""
    ca_file: str = ""
    """PEM file with certificates to trust; empty: those of the system."""
