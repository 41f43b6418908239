"""Settings of the request flow: ``[gateway]``."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    deadline_seconds: float = 600.0
    """Time for one request in all, retries and fallbacks included."""
    default_max_tokens: int = 4096
    """What an answer may cost is estimated with this where neither the request nor the target bounds it."""
    ping_seconds: float = 10.0
    """A stream that has been silent for this long is sent a keep-alive."""
    refreshes: int = 64
    """Stale answers that may be renewed in the background at a time."""
