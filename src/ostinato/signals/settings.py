"""``[signals]``: how signals are gathered before they are written."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[signals]``: the queue between whoever tells something and the database."""

    batch_seconds: float = 0.5
    """How long signals are gathered before they are written: what a crash may lose."""
    queue: int = 20_000
    """Most signals in memory; beyond it no more are taken, and those that are not are counted."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not 0.01 <= self.batch_seconds <= 60 or self.queue < 1:
            raise Invalid("Signals are written every 0.01 to 60 seconds, from a queue.", param="signals")
