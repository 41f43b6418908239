"""Which requests belong together: those that differ only in their data. Found online, in bounded memory.

A request's family is the version of the prompt that it asks for, else the fingerprint of its instructions; within one,
the data parts gather in clusters. ``key_of`` names the family of a request. ``Families`` watches the ledger's rows and
is told of answers (``answered``); ``list`` gives what is known of each family of a project, as :class:`Figures`: how
often, how alike, how dear, how stable. Processes write sums that add up; the past fades.
"""

from ostinato.families.comparing import agree
from ostinato.families.families import Families
from ostinato.families.key import OTHER, data_of, key_of, masked
from ostinato.families.model import Figures, Sample, Share
from ostinato.families.settings import Settings

__all__ = [
    "OTHER",
    "Families",
    "Figures",
    "Sample",
    "Settings",
    "Share",
    "agree",
    "data_of",
    "key_of",
    "masked",
]
