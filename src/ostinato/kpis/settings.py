"""``[kpis]``: what figures are judged by, and how much of a page is shown."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[kpis]``. How long after an answer a complaint is about that answer is ``[traces] interaction_minutes``."""

    confidence: float = 0.95
    """Level of every interval."""
    least: int = 30
    """Fewest interactions, requests or signals that a figure is judged by against an intent's target."""
    groups: int = 50
    """Most groups of one page, the largest first; how many are left out is told."""
    hourly_rate: float | None = None
    """Dollars that an hour of manual work costs; left out: what was avoided is told in minutes only."""
    operating_cost: float | None = None
    """Dollars a month for infrastructure and tools, beside what is declared by `ostinato savings costs`: what the
    whole installation costs, an overhead in the account of savings."""
    audited: int = 20
    """Requests that auditability is measured on."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not 0.5 <= self.confidence < 1 or self.least < 1 or not 1 <= self.groups <= 1_000 or self.audited < 1:
            raise Invalid("A confidence lies between 0.5 and 1; counts are 1 at least.", param="kpis")
