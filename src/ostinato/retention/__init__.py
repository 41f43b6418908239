"""How long things are kept, what must be kept longer, and how somebody is forgotten everywhere.

Rules per project, intent and data class: the strictest holds. A sweeper that can be asked first what it would do. Legal
holds win over both. The erasure of a subject goes through every store (``stores.Store``; what has tables registers by
``Retention.cover``), is resumed where a crash came between, and ends with a signed receipt that the audit log's proof
confirms.
"""

from ostinato.retention.building import build
from ostinato.retention.model import (
    Begun,
    Erased,
    Erasure,
    Hold,
    Keep,
    NewHold,
    NewRule,
    Receipt,
    Rule,
    Sweep,
    Swept,
    Wish,
)
from ostinato.retention.of_cache import Cache
from ostinato.retention.of_ledger import Ledger
from ostinato.retention.of_rooms import Bound, Datasets, Journal, Repetitions, Reviews, Signals
from ostinato.retention.quoting import Quoting
from ostinato.retention.retention import Retention
from ostinato.retention.settings import Settings
from ostinato.retention.stores import Store, Subject

__all__ = [
    "Begun",
    "Bound",
    "Cache",
    "Datasets",
    "Erased",
    "Erasure",
    "Hold",
    "Journal",
    "Keep",
    "Ledger",
    "NewHold",
    "NewRule",
    "Quoting",
    "Receipt",
    "Repetitions",
    "Retention",
    "Reviews",
    "Rule",
    "Settings",
    "Signals",
    "Store",
    "Subject",
    "Sweep",
    "Swept",
    "Wish",
    "build",
]
