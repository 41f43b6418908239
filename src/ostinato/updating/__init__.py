"""Changes of models: a new model or snapshot behind an alias is a change like any other.

``Updating.plan`` says who is concerned, ``run`` compares old and new on every prompt's dataset, ``report`` says who
gains and who loses, ``start`` moves the traffic of each intent by canary, judged as a release's is, and ``abandon``
takes everything back. Routing draws the conversations (``routing.trials``); answers of different models never lie under
one key. ``Updating.suspect`` opens an update for a model that seems to have changed without being asked.
"""

from ostinato.updating.model import NewUpdate, Report, Rollout, Start, Update, Wish
from ostinato.updating.observing import Observing
from ostinato.updating.planning import Planner, Yardstick
from ostinato.updating.settings import Settings
from ostinato.updating.updating import Updating
from ostinato.updating.watching import Watcher

__all__ = [
    "NewUpdate",
    "Observing",
    "Planner",
    "Report",
    "Rollout",
    "Settings",
    "Start",
    "Update",
    "Updating",
    "Watcher",
    "Wish",
    "Yardstick",
]
