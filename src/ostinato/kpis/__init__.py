"""Every figure that a use case is judged by, over any window: with its n, its interval, and missing data as missing.

Interactions are conversations, or single calls where none is named. Outcomes tell how they ended. All figures come
from rollups, cut by intent, release, arm and cache tier.
"""

from ostinato.kpis.settings import Settings

__all__ = ["Settings"]
