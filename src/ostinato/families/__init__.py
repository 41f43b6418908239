"""Which requests belong together: those that differ only in their data. Found online, in bounded memory.

A request's family is the version of the prompt that it asks for, else the fingerprint of its instructions; within one,
the data parts gather in clusters. ``key_of`` names the family of a request; ``Families`` keeps what is known of each:
how often, how alike, how dear, how stable.
"""

from ostinato.families.key import OTHER, data_of, key_of, masked
from ostinato.families.settings import Settings

__all__ = ["OTHER", "Settings", "data_of", "key_of", "masked"]
