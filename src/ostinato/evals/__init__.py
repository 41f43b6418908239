"""Experiments: versions of a dataset and of prompts, targets and scorers; compared in pairs.

``Runner`` measures cells (one example answered by one variant, and scored); everybody who measures does it by this.
``Experiments`` carries out what people ask for, as durable jobs: judged before anything is spent, resumed where it was,
told in figures with intervals and in paired comparisons. What is sealed of a dataset takes no part here.
"""

from ostinato.evals import seconding
from ostinato.evals.experiment import Arm, Comparison, Contender, Experiment, Figures, Progress, Results, Slice, Wish
from ostinato.evals.experiments import Experiments
from ostinato.evals.model import Cell, State, Variant
from ostinato.evals.runner import Measure, Runner, identity
from ostinato.evals.settings import Settings
from ostinato.evals.sureness import confidences, labels_of
from ostinato.evals.wishes import Standing

__all__ = [
    "Arm",
    "Cell",
    "Comparison",
    "Contender",
    "Experiment",
    "Experiments",
    "Figures",
    "Measure",
    "Progress",
    "Results",
    "Runner",
    "Settings",
    "Slice",
    "Standing",
    "State",
    "Variant",
    "Wish",
    "confidences",
    "identity",
    "labels_of",
    "seconding",
]
