"""Every figure that a use case is judged by, over any window: with its n, its interval, and missing data as missing.

Interactions are conversations, or single calls where none is named. Outcomes tell how they ended. All figures come
from rollups, cut by intent, release, arm and cache tier. ``Kpis.figures`` gives a page, ``Kpis.series`` the course of
one figure; ``CATALOGUE`` says what there is, and ``Kpis.bind`` takes what other rooms tell.
"""

from ostinato.kpis import changes, drifting, told
from ostinato.kpis.catalogue import CATALOGUE, PRESETS
from ostinato.kpis.changes import Way
from ostinato.kpis.kpis import Kpis, Source
from ostinato.kpis.model import CUTS, GROUPS, Figure, Kpi, Marker, Page, Point, Reading, Scope, Target
from ostinato.kpis.outcomes import Outcomes
from ostinato.kpis.settings import Settings

__all__ = [
    "CATALOGUE",
    "CUTS",
    "GROUPS",
    "PRESETS",
    "Figure",
    "Kpi",
    "Kpis",
    "Marker",
    "Outcomes",
    "Page",
    "Point",
    "Reading",
    "Scope",
    "Settings",
    "Source",
    "Target",
    "Way",
    "changes",
    "drifting",
    "told",
]
