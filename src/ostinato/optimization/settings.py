"""``[optimization]``: how large runs may be, and what they must prove."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[optimization]``: runs that look for a better prompt and prove it."""

    calls: int = 540
    """Calls that the search of a run may make where the run does not say otherwise; the sealed examples come on top."""
    most_calls: int = 20_000
    """Calls that any run may make altogether."""
    concurrency: int = 4
    """Calls of one run under way at a time."""
    alpha: float = 0.01
    """Chance of promoting a prompt that is not better, where the run does not say otherwise."""
    finalists: int = 3
    """Candidates that come before the sealed examples, at most."""
    min_examples: int = 30
    """Examples that each split must have for a run to begin."""
    poll_seconds: float = 1.0
    """How often a run looks whether another process was told to pause or to cancel it."""
    running: int = 2
    """Runs that one process carries out at a time; the others wait."""

    def check(self) -> None:
        """Raise ``Invalid`` for figures that cannot be."""
        if not 1 <= self.calls <= self.most_calls <= 10_000_000:
            raise Invalid(
                "A run makes 1 to 10,000,000 calls, and no more than `most_calls`.", param="optimization.calls"
            )
        if not 0 < self.alpha <= 0.2:
            raise Invalid("A chance of error is above 0 and at most 0.2.", param="optimization.alpha")
        if not 1 <= self.finalists <= 3:
            raise Invalid("One to three candidates come before the sealed examples.", param="optimization.finalists")
        if not 1 <= self.concurrency <= 256 or not 1 <= self.running <= 64:
            raise Invalid("Calls at a time are 1 to 256, runs 1 to 64.", param="optimization.concurrency")
        if not 2 <= self.min_examples <= 1_000_000:
            raise Invalid("A split has at least 2 examples.", param="optimization.min_examples")
        if not 0.05 <= self.poll_seconds <= 60:
            raise Invalid("A run looks around every 0.05 to 60 seconds.", param="optimization.poll_seconds")
