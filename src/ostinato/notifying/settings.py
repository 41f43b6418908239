"""``[notifying]``: how messages to others are sent."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[notifying]``."""
