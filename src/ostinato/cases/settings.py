"""``[cases]``: how long cases may wait."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[cases]``."""
