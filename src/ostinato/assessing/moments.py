"""Times as logs write them: seconds, milli-, micro- or nanoseconds since 1970, or ISO 8601."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

_EARLIEST = 1_420_070_400_000_000
"""2015: nobody asked a model of today before; what is earlier is a clock that was not set."""
_DAY = 86_400_000_000
_NAMES = ("timestamp", "time", "at", "ts", "created_at", "createdAt", "start_time", "startTime", "created", "date")
_LENGTHS = {"us": 1.0, "ms": 1e3, "s": 1e6, "": 1e6, "seconds": 1e6}


def moment(value: object, now: int) -> int:
    """UTC microseconds; 0 where it is no time, or one that cannot be (before 2015, or later than tomorrow)."""
    if isinstance(value, str):
        found = _text(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = _number(float(value))
    else:
        found = 0
    return found if _EARLIEST <= found <= now + _DAY else 0


def of(record: Mapping[str, Any], now: int, names: Iterable[str] = _NAMES) -> int:
    """The first time that a record tells under one of these names; 0 where it tells none."""
    for name in names:
        found = moment(record.get(name), now) if name in record else 0
        if found:
            return found
    return 0


def duration(record: Mapping[str, Any]) -> int:
    """Microseconds that a record tells under one of the usual names; 0 where it tells none."""
    for name in ("latency", "duration", "elapsed"):
        for unit, size in _LENGTHS.items():
            value = record.get(f"{name}_{unit}" if unit else name)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value * size < _DAY:
                return int(value * size)
    return 0


def _number(value: float) -> int:
    """By its size: seconds, milliseconds, microseconds or nanoseconds since 1970."""
    if not 0 < value < 1e20:
        return 0
    for limit, factor in ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0)):
        if value < limit:
            return int(value * factor)
    return int(value / 1e3)


def _text(value: str) -> int:
    try:
        return _number(float(value))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(value)
        return int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError):
        return 0
