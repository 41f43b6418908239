"""Experiments: versions of a dataset and of prompts, targets and scorers; compared in pairs.

``Runner`` measures cells (one example answered by one variant, and scored); everybody who measures does it by this.
"""

from ostinato.evals.model import Cell, State, Variant
from ostinato.evals.runner import Measure, Runner, identity

__all__ = ["Cell", "Measure", "Runner", "State", "Variant", "identity"]
