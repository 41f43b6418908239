"""What a wish itself asks for that cannot be, told before anything is spent for it."""

import math
from collections.abc import Mapping, Sequence

from ostinato.core.errors import Invalid
from ostinato.datasets.model import DatasetVersion, Example
from ostinato.optimization.model import stratum
from ostinato.optimization.run import Notice, Wish
from ostinato.optimization.verdicts import GateRules, JudgeCalibration

LONGEST_NOTE = 2_000
_EVERY = "*"
_TOLD = 8
_ALONE = "gepa"
"""The optimizer that does nothing without a reflection model."""


def check(wish: Wish) -> None:
    """Raise ``Invalid`` for figures that no run can be held to, naming the field."""
    if not 0 <= wish.min_gain < 1:
        raise _invalid("min_gain", "The least gain is a share from 0 to below 1, such as 0.02 for two points.")
    margins = wish.margins
    shares: Mapping[str, float | None] = {
        "cost": margins.cost,
        "computed": margins.computed,
        "latency": margins.latency,
        "policy": margins.policy,
        "slight": margins.slight,
        "slight_ms": margins.slight_ms,
    }
    for name, value in shares.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise _invalid(f"margins.{name}", "A margin is 0 or more; `null` asks for none.")
    if margins.policy > 1:
        raise _invalid("margins.policy", "Policy scorers say 0 to 1: so does what they may lose.")
    if len(wish.note) > LONGEST_NOTE or "\x00" in wish.note:
        raise _invalid("note", f"A note has at most {LONGEST_NOTE:,} characters, none of them NUL.")
    if wish.optimizer == _ALONE and not wish.reflection:
        raise Invalid(
            f"The optimizer {_ALONE!r} needs a model to reflect with.",
            code="reflection_model_missing",
            param="reflection",
            hint="Name the alias of a strong model, or take the optimizer 'race', which needs none.",
        )


def slices(wish: Wish, names: Sequence[str], version: DatasetVersion, examples: Sequence[Example]) -> list[Notice]:
    """Parts that must not lose, or may, and that no example belongs to: the gate would refuse in the end."""
    known = {*version.strata, *(stratum(one) for one in examples if not one.erased)} - {""}
    there = f"There are: {', '.join(sorted(known)[:_TOLD])}." if known else "Give examples a `stratum`."
    found: list[Notice] = []
    for name in names:
        if name != _EVERY and name not in known:
            message = f"No example belongs to the part {name!r}, which must not lose: nothing could be promoted."
            found.append(Notice(level="error", code="unknown_slice", message=message, hint=there))
    for name in wish.waived:
        if name not in names and _EVERY not in names:
            message = f"A loss on {name!r} is accepted, and nothing asks that this part must not lose."
            found.append(Notice(level="warning", code="unknown_slice", message=message, hint=there))
    return found


def judges(found: Sequence[JudgeCalibration], rules: GateRules) -> list[Notice]:
    """Judges that may search, but would promote nothing as they stand."""
    return [
        Notice(
            level="warning",
            code="judge_not_calibrated",
            message=f"The judge {one.scorer} {_standing(one)}: it may search, and promotes nothing before it has kappa "
            f"{rules.judge_kappa:g} over {rules.judge_labels} labels of people.",
            hint="`ostinato scorers calibrate` holds it against them.",
        )
        for one in found
        if one.n < rules.judge_labels or one.kappa < rules.judge_kappa
    ]


def _standing(one: JudgeCalibration) -> str:
    return f"has kappa {one.kappa:.2f} over {one.n} labels" if one.n else "was not held against people"


def _invalid(param: str, message: str) -> Invalid:
    return Invalid(message, code="invalid_wish", param=param)
