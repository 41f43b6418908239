"""The response cache: what may be kept (policy, scope, fingerprint, admission), and where it is kept (tiers).

``ResponseCache`` joins the tiers: the raw-body index (``cache.raw``) before the in-process tier (``get_now``)
before the shared one (``get``), each bounded by bytes; ``cache.raw``, ``put`` and ``get_now`` never wait.
``Flights`` makes one upstream call of a stampede, ``EmbeddingCache`` keeps vectors per input text. Everything an
entry is reached or withdrawn by is in its metadata: :meth:`ResponseCache.invalidate` withdraws from all tiers at
once, and from what is on its way.
"""

from ostinato.cache.embeddings import EmbeddingCache, Fetched
from ostinato.cache.flights import Flight, Flights, Private, Seat
from ostinato.cache.invalidation import Report
from ostinato.cache.memory import Entry
from ostinato.cache.model import CacheResult, EntryMeta, Policy, Scope, Selector
from ostinato.cache.raw import RawHit, RawIndex, raw_key
from ostinato.cache.settings import Settings
from ostinato.cache.tiers import Described, Page, ResponseCache

__all__ = [
    "CacheResult",
    "Described",
    "EmbeddingCache",
    "Entry",
    "EntryMeta",
    "Fetched",
    "Flight",
    "Flights",
    "Page",
    "Policy",
    "Private",
    "RawHit",
    "RawIndex",
    "Report",
    "ResponseCache",
    "Scope",
    "Seat",
    "Selector",
    "Settings",
    "raw_key",
]
