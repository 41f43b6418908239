"""Circuit breakers on meaning: an intent whose quality, policy or cost budget is broken answers by its safe behaviour.

A trip is a row that every process sees in a snapshot (``Breakers.snapshot``); the gateway asks it once the intent is
known, and says so in the answer's headers. A breaker closes by a person, or after a time through a trial share of the
traffic, which ``Watcher`` counts and judges. ``Safety`` is how an intent declares what is to happen.
"""

from ostinato.breakers.breakers import Breakers
from ostinato.breakers.model import Cause, Safety, Trip, Trips, Way
from ostinato.breakers.settings import Settings
from ostinato.breakers.watching import Place, Watcher

__all__ = ["Breakers", "Cause", "Place", "Safety", "Settings", "Trip", "Trips", "Watcher", "Way"]
