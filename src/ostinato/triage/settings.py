"""``[triage]``: when decisions are made and proposed."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[triage]``."""
