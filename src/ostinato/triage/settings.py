"""``[triage]``: when decisions are made, what is held to be worth what, and what may pass by itself."""

import msgspec

from ostinato.core.errors import Invalid
from ostinato.intents.model import Stakes

_DOLLARS: dict[str, float] = {"low": 0.01, "medium": 0.1, "high": 5.0, "critical": 100.0}
_WORTH: dict[str, float] = {"low": 0.002, "medium": 0.02, "high": 0.5, "critical": 5.0}
_TIMES: dict[str, float] = {"low": 1.0, "medium": 2.0, "high": 10.0, "critical": 100.0}
_PARTS = ("low", "medium", "high", "critical")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[triage]``. Money in dollars, per thirty days where it says month; times in seconds."""

    enabled: bool = True
    look_seconds: float = 3_600.0
    """How often decisions are looked at again."""
    automatic: tuple[Stakes, ...] = ()
    """Stakes at which decisions on caching are carried out without asking anybody: ``["low"]``, or none."""
    least_requests: float = 50.0
    """Requests, below which a family is left alone."""
    least_dollars: float = 1.0
    """What a decision must be worth a month."""
    margin_dollars: float = 1.0
    """By how much a month another decision must be better before a standing one is changed."""
    confidence: float = 0.9
    """How sure that must be."""
    least_stability: float = 0.5
    """Where kept answers surely are less often than this what would be given anew, nothing is cached, whatever it
    would save."""
    personal_share: float = 0.05
    """Where surely more questions than this have personal data in them, answers are cached for each user alone."""
    harm: dict[str, float] = msgspec.field(default_factory=lambda: dict(_DOLLARS))
    """What a wrong answer costs, by stakes, where the intent does not say what a success is worth."""
    harm_times: dict[str, float] = msgspec.field(default_factory=lambda: dict(_TIMES))
    """How many times the value of a success a wrong answer costs, by stakes, where it does."""
    value: dict[str, float] = msgspec.field(default_factory=lambda: dict(_WORTH))
    """What a success is worth, by stakes, where the intent does not say."""
    achievable: float = 0.3
    """Share of what is wrong that an optimization run mends, as long as no run on the prompt has shown another."""
    run_calls: int = 2_000
    """Calls of a run: what it costs, at the family's own price."""
    quality_samples: int = 20
    """Judged answers, below which a family's quality is not known."""
    review_share: float = 0.05
    """Share of answers that people shall look at, where quality is not known and stakes are high."""
    audit_share: float = 0.01
    """Share of calls that are made again to see whether answers agree."""
    audit_budget_dollars: float = 1.0
    """Spent on that in a day, at most, in each project."""
    audit_seconds: float = 60.0
    """How often some are drawn."""
    inventory_days: float = 90.0
    """How often each prompt's owner is asked to look at it."""
    attest_days: float = 14.0
    """How long the owner has; then a case is opened."""
    stale_days: float = 180.0
    """Without a new version for so long, and with low quality or drifting, a prompt is stale."""
    unused_days: float = 30.0
    """Without a request for so long, a prompt is unused."""
    low_quality: float = 0.7

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        for name in ("harm", "harm_times", "value"):
            table: dict[str, float] = getattr(self, name)
            if set(table) != set(_PARTS) or not all(0 <= one <= 1e9 for one in table.values()):
                raise Invalid(
                    f"[triage] {name} gives a number of at least 0 for each of low, medium, high and critical.",
                    param=f"triage.{name}",
                )
        if set(self.automatic) - {"low"}:
            raise Invalid(
                "[triage] automatic lets decisions pass by themselves at low stakes only.",
                param="triage.automatic",
                hint='automatic = ["low"], or leave it out: then somebody approves.',
            )
        shares = ("least_stability", "personal_share", "achievable", "review_share", "audit_share", "low_quality")
        if not all(0 <= getattr(self, name) <= 1 for name in shares) or not 0.5 <= self.confidence < 1:
            raise Invalid("Shares of [triage] lie between 0 and 1, its confidence from 0.5.", param="triage")
        if min(self.look_seconds, self.audit_seconds, self.inventory_days, self.attest_days) <= 0:
            raise Invalid("Times of [triage] are above 0.", param="triage.look_seconds")
