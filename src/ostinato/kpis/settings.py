"""``[kpis]``: how interactions are told apart."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[kpis]``."""
