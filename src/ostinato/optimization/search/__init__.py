"""The search for a better prompt: which edits are worth proving. It finds; whether anything ships, the gate decides.

``race`` needs no strong model: edits by a grammar, paired rounds, the headroom probe as its first one. ``reflect`` lets
a strong model rewrite what the race found (GEPA); ``polish`` drops what is not needed. All of them measure by an
``Evaluate`` that is handed in, are deterministic by seed and answers, and tell every complete round.
"""

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
from ostinato.optimization.search.racing import race

__all__ = [
    "Evaluate",
    "Headroom",
    "OnRound",
    "Phase",
    "Refused",
    "Round",
    "SearchPlan",
    "SearchResult",
    "Standing",
    "race",
]
