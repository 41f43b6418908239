"""Scorers: what says how good an answer is. A value from 0 to 1, or *unscored*, never 0 for a failure.

``build`` makes a scorer of a declared ``Spec``; ``score_all`` asks several and never raises; ``mean`` weighs what they
say, and knows no mean where a measurement is missing. ``KINDS`` lists the kinds; packages bring more by the entry-point
group ``ostinato.scorers``. ``confidence`` tells how sure a model is of its answer, ``calibration`` whether a judge
agrees with people often enough to decide. The same scorers run in experiments, in optimization and on sampled traffic.
"""

from ostinato.scorers import calibrating, calibration, confidence
from ostinato.scorers.building import Built, build, build_all, mean, name_of, score_all, unscored
from ostinato.scorers.catalog import KINDS, model_of
from ostinato.scorers.declared import Active, Calibrated, Declared, NewRule, Rule, Sampling
from ostinato.scorers.functions import load as load_functions
from ostinato.scorers.kinds import Context, Kind, Said
from ostinato.scorers.model import Score, Scorer, Scorers, Spec, Subject
from ostinato.scorers.registry import Registry
from ostinato.scorers.settings import Hook, Settings

__all__ = [
    "KINDS",
    "Active",
    "Built",
    "Calibrated",
    "Context",
    "Declared",
    "Hook",
    "Kind",
    "NewRule",
    "Registry",
    "Rule",
    "Said",
    "Sampling",
    "Score",
    "Scorer",
    "Scorers",
    "Settings",
    "Spec",
    "Subject",
    "build",
    "build_all",
    "calibrating",
    "calibration",
    "confidence",
    "load_functions",
    "mean",
    "model_of",
    "name_of",
    "score_all",
    "unscored",
]
