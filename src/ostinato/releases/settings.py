"""``[releases]``: how long approvals live, and how often rollouts are looked at."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[releases]``: proposals, and rollouts that go on by themselves."""

    approval_hours: float = 72.0
    """How long a proposal waits for approval and start; then both must begin again."""
    watch_seconds: float = 10.0
    """How often automatic rollouts are judged."""
    gates: tuple[str, ...] = ("lint",)
    """Gates that every release must pass, beside those of its label and its intent."""

    def check(self) -> None:
        """Raise ``Invalid`` for times that cannot be."""
        if not 0 < self.approval_hours <= 8_760:
            raise Invalid("Approvals live from a moment to a year.", param="releases.approval_hours")
        if not 0.1 <= self.watch_seconds <= 3_600:
            raise Invalid("Rollouts are looked at every 0.1 to 3,600 seconds.", param="releases.watch_seconds")
