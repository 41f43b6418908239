"""``[monitoring]``: detectors and their budgets of false alarms."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[monitoring]``. One process of several watches."""

    enabled: bool = True
    every_seconds: float = 10.0
    """How often new signals and rows of the ledger are looked at."""
    false_alarms_per_month: float = 1.0
    """Of each intent of each project, all of its detectors together; each gets its part."""
    night_hour: int = 3
    """UTC hour from which on the nightly detectors ask, once a day."""
    series: int = 5_000
    """Most series with their detectors; beyond it no new one is watched, and those are counted."""
    idle_days: float = 30.0
    """A series of which nothing came for so long has no part of the budget any more."""
    keep_days: float = 180.0
    """And after this it is forgotten."""
    observations_per_look: int = 1_000
    """Of one series, at one look: of more, every so manieth is taken. Each costs a detector some microseconds."""
    vectors_per_look: int = 20
    """Most questions that are turned into vectors at one look: each takes a few milliseconds."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not 1 <= self.every_seconds <= 3_600:
            raise Invalid("Detectors look every 1 to 3,600 seconds.", param="monitoring.every_seconds")
        if not 0.001 <= self.false_alarms_per_month <= 1_000:
            raise Invalid("A budget is from 0.001 to 1,000 false alarms.", param="monitoring.false_alarms_per_month")
        if not 0 <= self.night_hour <= 23 or self.series < 1 or self.vectors_per_look < 0:
            raise Invalid(
                "The night begins at an hour of the day, and at least one series is watched.", param="monitoring"
            )
        if not 1 <= self.idle_days <= self.keep_days:
            raise Invalid("A series is forgotten after it has been idle.", param="monitoring.keep_days")
