"""``[retention]``: when what is old is swept, and how gently."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[retention]``. Rules and holds are no settings: they are declared over the API, and audited."""

    enabled: bool = True
    """Whether this process sweeps by itself. Erasures are carried out in any case."""
    every_hours: float = 24.0
    """Between two sweeps, of whichever process."""
    batch: int = 200
    """Most rows that one transaction changes; fewer where that takes longer than ``batch_ms``."""
    batch_ms: float = 8.0
    """How long one transaction may keep other writers waiting, about."""
    reports: int = 400
    """Sweeps whose reports are kept."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not 0.01 <= self.every_hours <= 24 * 31:
            raise Invalid("Sweeps are 0.01 hours to 31 days apart.", param="retention.every_hours")
        if not 1 <= self.batch <= 10_000 or not 1 <= self.batch_ms <= 1_000 or self.reports < 1:
            raise Invalid(
                "A sweep changes 1 to 10,000 rows at a time, in 1 to 1,000 ms, and keeps a report.", param="retention"
            )
