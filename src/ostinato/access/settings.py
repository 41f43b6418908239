"""What an operator can set about access: ``[access]`` in the configuration. Limits are on unless they are raised."""

import msgspec

from ostinato.core import money
from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults suit one process in front of one team."""

    requests_per_minute: int = 6000
    """Rate of a key that names none of its own; also its burst."""
    concurrent_requests: int = 2000
    """Requests of one key in flight at a time, in one process."""
    processes: int = 1
    """Server processes that share the load. Rates are counted per process: each admits its share of a key's rate."""
    keys_per_project: int = 10_000
    """Live keys that a project may have."""
    lease_share: float = 0.02
    """Share of a money budget that a process leases at a time; what a crash may forfeit, once per process."""
    lease_minimum: str = "0.05"
    """Smallest lease, in dollars (or what is left of the budget)."""
    lease_idle_seconds: float = 30.0
    """A lease that nobody has drawn on for this long is given back for other processes."""

    def check(self) -> None:
        """Raise :class:`Invalid` naming the field that cannot be."""
        for name, low, high in (
            ("requests_per_minute", 1, 1_000_000_000),
            ("concurrent_requests", 1, 1_000_000),
            ("processes", 1, 10_000),
            ("keys_per_project", 1, 10_000_000),
            ("lease_share", 0.0001, 1.0),
            ("lease_idle_seconds", 1.0, 86_400.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise Invalid(
                    f"access.{name} is {value}; it must be from {low} to {high}.",
                    code="invalid_setting",
                    param=f"access.{name}",
                )
        _ = self.lease_minimum_nano

    @property
    def lease_minimum_nano(self) -> int:
        """``lease_minimum`` in nano-dollars."""
        try:
            nano = money.from_dollars(self.lease_minimum)
        except ValueError:
            nano = 0
        if nano <= 0:
            raise Invalid(
                f"access.lease_minimum is {self.lease_minimum!r}; it must be an amount in dollars such as '0.05'.",
                code="invalid_setting",
                param="access.lease_minimum",
            )
        return nano
