"""``[breakers]``: how tripped intents try again."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[breakers]``."""
