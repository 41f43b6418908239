"""``[retention]``: when what is old is swept."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[retention]``."""
