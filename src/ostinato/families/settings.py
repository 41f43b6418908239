"""``[families]``: how many families are kept in memory."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[families]``."""
