"""``[datasets]``: how large examples and versions may be, and what a holdout may be asked."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[datasets]``: bounds."""

    example_bytes: int = 65_536
    """Largest example, as JSON."""
    examples: int = 50_000
    """Most examples of a version."""
    part: int = 2_000
    """Most examples of one upload; more come in parts, into an open version."""
    alpha: float = 0.05
    """What all looks of one prompt at one holdout may spend together: the chance of one false proof."""
    traffic_rows: int = 100_000
    """Most rows of the ledger that are read for one version made of recorded traffic."""

    def check(self) -> None:
        """Raise ``Invalid`` for bounds that cannot be."""
        for name in ("example_bytes", "examples", "part", "traffic_rows"):
            if getattr(self, name) < 1:
                raise Invalid(f"[datasets] {name} is at least 1.", param=f"datasets.{name}")
        if not 0 < self.alpha <= 0.5:
            raise Invalid("[datasets] alpha is more than 0 and at most 0.5.", param="datasets.alpha")
