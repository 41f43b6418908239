"""``[savings]``: the hold-out, and how it is weighed."""

import math

import msgspec

from ostinato.core.errors import Invalid

_MOST = 0.5


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[savings]``."""

    holdout_share: float = 0.01
    """Of the sessions: answered without the cache, so that what it saves can be measured. 0: nothing is measured."""
    baseline_share: float = 0.0
    """Of the sessions: answered by the release before, where their intent allows it. 0: none."""
    salt: str = ""
    """Another salt draws other sessions."""
    spare: float = 0.1
    """Below this share of a rate limit or money budget, a key takes no part until its next minute."""
    margin: float = 0.02
    """How much worse a release may be (of 1) for its savings to count."""
    review_rate: float = 0.0
    """Dollars that an hour of a reviewer costs where nothing else is declared."""
    refresh_seconds: float = 5.0
    """How often purses and budgets of a day are looked at."""

    def check(self) -> None:
        """Raises ``Invalid`` naming the setting whose value cannot be used."""
        ranges = {
            "holdout_share": (0.0, _MOST),
            "baseline_share": (0.0, _MOST),
            "spare": (0.0, 0.9),
            "margin": (0.0, 1.0),
            "review_rate": (0.0, 1e6),
            "refresh_seconds": (0.05, 3_600.0),
        }
        for name, (least, most) in ranges.items():
            value: float = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                raise Invalid(
                    f"[savings] {name} = {value} cannot be used.",
                    code="invalid_setting",
                    param=f"savings.{name}",
                    hint=f"Allowed: {least:g} to {most:g}.",
                )
