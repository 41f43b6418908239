"""Settings of routing."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in seconds."""

    breaker_window: float = 1.5
    """Over which errors are counted."""
    breaker_share: float = 0.45
    """Of failures in the window at which the breaker opens."""
    breaker_volume: int = 8
    """Calls in the window below which the share means nothing."""
    breaker_row: int = 5
    """Failures in a row that open the breaker at any volume."""
    breaker_open: float = 5.0
    """How long the breaker stays open the first time; doubled after each failed probe."""
    breaker_longest: float = 60.0
    """How long it stays open at most."""
    breaker_proofs: int = 3
    """Probes that must succeed in a row to close it; doubled each time that it opens again soon."""
    breaker_hold: float = 120.0
    """A breaker that opens again this soon after closing is not closed again before this time; doubled each time."""
    breaker_fair: float = 5.0
    """A time-out is held against a target only if it had its own time-out or at least this long to answer."""
    backoff: float = 0.1
    """Longest wait before the first retry at the same target, doubled for each further one; drawn at random below."""
    backoff_longest: float = 2.0
    """A failure that asks for a longer wait is not retried at the same target."""
    rest: float = 1.0
    """How long a target is passed over after a rate limit that names no time; doubled each time in a row."""
    rest_longest: float = 30.0
    max_concurrency: int = 16_384
    """Calls at once per target, open streams included."""
    max_waiting: int = 1_024
    """Calls that wait for a place at a target, at most; what is beyond goes to the next target."""
    wait: float = 5.0
    """How long a call waits for a place."""
