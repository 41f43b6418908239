"""What cases and breakers lean on, bound to the rooms that have it: figures, watches, and the actions of cases.

``cases`` and ``breakers`` stand low and know nothing of releases or of the cache; ``governing`` builds them and binds
these. An action may be carried out twice with the same order, and then does once what it does.
"""

from ostinato.acting.beginnings import answered, ways
from ostinato.acting.effects import Effects
from ostinato.acting.measuring import SYSTEM, about, budget_figure, places, quality, safety_of, scores, serves
from ostinato.acting.watches import Watches

__all__ = [
    "SYSTEM",
    "Effects",
    "Watches",
    "about",
    "answered",
    "budget_figure",
    "places",
    "quality",
    "safety_of",
    "scores",
    "serves",
    "ways",
]
