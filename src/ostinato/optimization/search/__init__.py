"""The search for a better prompt: which edits are worth proving. It finds; whether anything ships, the gate decides.

``race`` needs no strong model: a grammar of edits, paired rounds, the headroom probe as the first of them; then a model
that reflects, where there is one (GEPA), and polish, which drops what is not needed. All measure by an ``Evaluate``
that is handed in, are deterministic by seed and answers, and tell every complete round.
"""

from ostinato.optimization.search.composing import Problem, gepa, probe, race
from ostinato.optimization.search.model import (
    Evaluate,
    Headroom,
    OnRound,
    Phase,
    Refused,
    Round,
    SearchPlan,
    SearchResult,
    Standing,
)

__all__ = [
    "Evaluate",
    "Headroom",
    "OnRound",
    "Phase",
    "Problem",
    "Refused",
    "Round",
    "SearchPlan",
    "SearchResult",
    "Standing",
    "gepa",
    "probe",
    "race",
]
