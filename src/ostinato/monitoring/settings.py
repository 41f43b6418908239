"""``[monitoring]``: detectors and their budgets of false alarms."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[monitoring]``."""
