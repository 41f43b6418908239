"""Statistics of decisions: exact tests, intervals, betting e-processes, agreement, calibration. Pure functions.

``mcnemar`` and ``permutation`` decide on pairs, ``holm`` over several of them; ``power``, ``smallest_gain`` and
``pairs_needed`` tell beforehand what can be decided. ``EProcess`` may be looked at after every pair. Differences are
always *new less old*: above 0 the new one is better. Results are frozen; seeds are given, never drawn.

NumPy and SciPy are imported inside functions only: whoever imports this room pays nothing until a figure is asked for;
``EProcess``, agreement and calibration need neither.
"""

from ostinato.statistics.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from ostinato.statistics.betting import EProcess
from ostinato.statistics.calibration import Isotonic, auroc, brier, calibration_of, caught, curve, ece, fit_isotonic
from ostinato.statistics.exact import holm, mcnemar, permutation
from ostinato.statistics.intervals import clopper_pearson, paired_interval, weighted_mean, wilson
from ostinato.statistics.model import Agreement, Calibration, Curve, Interval
from ostinato.statistics.paired import agreeing, corrected, discordant_interval, graded_interval
from ostinato.statistics.planning import pairs_needed, power, smallest_gain

__all__ = [
    "Agreement",
    "Calibration",
    "Curve",
    "EProcess",
    "Interval",
    "Isotonic",
    "agreeing",
    "auroc",
    "brier",
    "calibration_of",
    "caught",
    "clopper_pearson",
    "cohen_kappa",
    "corrected",
    "curve",
    "discordant_interval",
    "ece",
    "fit_isotonic",
    "fleiss_kappa",
    "graded_interval",
    "holm",
    "krippendorff_alpha",
    "mcnemar",
    "paired_interval",
    "pairs_needed",
    "permutation",
    "power",
    "smallest_gain",
    "weighted_mean",
    "wilson",
]
