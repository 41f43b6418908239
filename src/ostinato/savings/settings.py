"""``[savings]``: the hold-out and what overheads cost."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[savings]``."""
