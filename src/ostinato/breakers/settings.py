"""``[breakers]``: how tripped intents try again."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[breakers]``. What one intent does is declared with it: ``safety``."""

    watch_seconds: float = 10.0
    """How often budgets and trials are looked at."""
    calm_seconds: float = 60.0
    """By itself a breaker changes its state once in so long at most. People may always."""
    alpha: float = 0.05
    """The chance that one which is not well is closed by its trials; and that one which is well is opened again."""
    trials: int = 2_000
    """Trials that wait for their score, in one process; the oldest go first."""

    def check(self) -> None:
        """Raise ``Invalid`` for bounds that cannot be."""
        if not 0.1 <= self.watch_seconds <= 3_600:
            raise Invalid("Breakers are looked at every 0.1 to 3,600 seconds.", param="breakers.watch_seconds")
        if not 60 <= self.calm_seconds <= 86_400:
            raise Invalid("A breaker rests for a minute to a day.", param="breakers.calm_seconds")
        if not 0.0001 <= self.alpha <= 0.2:
            raise Invalid("A chance of error is from 0.0001 to 0.2.", param="breakers.alpha")
        if not 1 <= self.trials <= 100_000:
            raise Invalid("1 to 100,000 trials may wait.", param="breakers.trials")
