"""``[updates]``: how changes of models are watched."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[updates]``. How one change reaches its traffic is said with it: see ``updating.Rollout``."""

    watch_seconds: float = 15.0
    """How often canaries are looked at."""
    days: float = 30.0
    """How far back traffic is looked at, to say who uses a model."""
    rows: int = 200_000
    """Calls that are looked at for it, at most; the newest count."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not (0.1 <= self.watch_seconds <= 86_400 and 0 < self.days <= 366 and 1 <= self.rows <= 10_000_000):
            raise Invalid(
                "Canaries are looked at every 0.1 to 86,400 seconds; traffic of up to 366 days and 10,000,000 calls.",
                param="updates",
            )
