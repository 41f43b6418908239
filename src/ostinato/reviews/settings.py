"""``[reviews]``: bounds of what people look at, and how long texts are kept."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[reviews]``: queues, and answers held until somebody looked."""

    max_item_bytes: int = 262_144
    """Of all texts of one item."""
    retention_days: float = 90.0
    """How long texts of decided items are kept, and sampled answers of the traffic that nobody looks at; digests,
    verdicts and figures stay."""
    sweep_seconds: float = 15.0
    """How often what is overdue comes to its default, and old texts go."""
    open_items: int = 100_000
    """Items that one queue may hold open."""

    def check(self) -> None:
        """Raise ``Invalid`` for bounds that cannot be."""
        if not 1_024 <= self.max_item_bytes <= 16_777_216:
            raise Invalid("An item has 1,024 to 16,777,216 bytes at most.", param="reviews.max_item_bytes")
        if not 0 < self.retention_days <= 36_525:
            raise Invalid("Texts are kept for a moment to a hundred years.", param="reviews.retention_days")
        if not 0.1 <= self.sweep_seconds <= 3_600:
            raise Invalid("Queues are looked at every 0.1 to 3,600 seconds.", param="reviews.sweep_seconds")
        if not 1 <= self.open_items <= 10_000_000:
            raise Invalid("A queue holds 1 to 10,000,000 open items.", param="reviews.open_items")
