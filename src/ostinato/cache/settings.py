"""Settings of the response cache: process matters. What may be cached is a matter of policies."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in bytes, times in seconds."""

    memory_bytes: int = 1_073_741_824
    """Bound of the in-process tier."""
    raw_bytes: int = 268_435_456
    """Bound of the first look-up by raw body, which keeps rendered answers."""
    url: str = ""
    """Of the shared tier: ``""`` is the SQLite file in the data directory, ``valkey://...`` a server, ``off`` none."""
    shared_bytes: int = 8_589_934_592
    """Bound of the shared tier when it is a file."""
    shared_timeout: float = 0.25
    """How long a look-up waits for the shared tier before it counts as a miss."""
    write_batch: int = 4_096
    """Entries that are written to the shared tier together, at most."""
    write_delay: float = 1.0
    """How long a new entry waits for company before it is written: what a crash may turn into misses."""
    write_queue: int = 16_384
    """Entries waiting to be written, at most; what is beyond is dropped and counted."""
    flights: int = 10_000
    """Upstream calls that others may join, at most; beyond it calls are made without."""
    lease: float = 30.0
    """Of a flight across processes."""
    sweep_every: float = 60.0
    """Between removals of what has expired."""
    epoch: str = ""
    """Part of every generation: changing it makes all entries unreachable."""
