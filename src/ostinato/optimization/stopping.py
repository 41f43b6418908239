"""How a run is stopped between two calls: what was begun is paid for, written down and kept."""

from ostinato import calls
from ostinato.calls.model import Limits, Spent


class Stopped(Exception):
    """The run shall not make another call."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        """``pause``, ``cancel`` or ``drain``: the process ends, and the run goes on in the next one."""


class Reins(calls.Budget):
    """A budget that lets no further call begin once it was told to stop."""

    def __init__(self, limits: Limits, spent: Spent) -> None:
        super().__init__(limits, spent)
        self.wanted = ""

    def stop(self, wanted: str) -> None:
        """From now on no call begins; those under way end as they do."""
        self.wanted = wanted

    def reserve(self, tokens_upper: int, nano_upper: int | None) -> calls.Reservation:
        """As a budget; raises ``Stopped`` where it was told to stop."""
        if self.wanted:
            raise Stopped(self.wanted)
        return super().reserve(tokens_upper, nano_upper)

    async def acquire(self, tokens_upper: int, nano_upper: int | None) -> calls.Reservation:
        """The same, waiting for what others have set aside."""
        if self.wanted:
            raise Stopped(self.wanted)
        return await super().acquire(tokens_upper, nano_upper)
