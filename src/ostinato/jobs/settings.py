"""Settings of durable work: ``[jobs]``."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in seconds."""

    enabled: bool = True
    """Whether this process runs jobs; where it does not, none can be started from it either."""
    concurrency: int = 4
    """Jobs at once, of this process."""
    polling: float = 0.3
    """How often it is looked whether a job waits."""
    lease: float = 30.0
    """Scaled out: a process that was not heard of for so long is held to be dead, and others go on with its jobs."""
    opening: float = 30.0
    """How long a caller waits for durable work to be ready."""
