"""The budget of false alarms: how it is split over the detectors of an intent."""

from collections.abc import Mapping

from ostinato.monitoring.model import DAY
from ostinato.monitoring.settings import Settings
from ostinato.monitoring.store import Kept

MONTH = 30.4375
"""Days."""


def arls(kept: Mapping[str, Kept], now: int, settings: Settings) -> dict[tuple[str, str], float]:
    """By project and intent: days between two false alarms of a detector of weight 1, so that all of them together
    keep to ``false_alarms_per_month``. One of weight ``w`` may have ``w`` times as many.

    Detectors that had no sample for ``idle_days`` raise none, and have no part.
    """
    before = now - int(settings.idle_days * DAY)
    weights: dict[tuple[str, str], float] = {}
    for one in kept.values():
        if one.state.last >= before:
            place = (one.series.project, one.series.intent)
            weights[place] = weights.get(place, 0.0) + one.weight
    return {place: MONTH * max(total, 1.0) / settings.false_alarms_per_month for place, total in weights.items()}
