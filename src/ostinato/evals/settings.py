"""Settings of experiments: ``[evals]``."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    concurrency: int = 8
    """Cells of one experiment at once; all calls together are bounded by ``[calls] concurrency``."""
    most_variants: int = 20
    most_scorers: int = 20
    most_cells: int = 100_000
    """Variants times examples, of one experiment."""
    timeout: float = 120.0
    """Seconds for one try of a call, and for one scorer."""
