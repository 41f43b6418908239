"""Who did what, provably: an append-only log of leaves in a Merkle tree, with signed checkpoints.

``Log.append`` writes a ``Deed`` as a leaf in the transaction of the change it tells of; ``occasion`` is the request it
belongs to. What goes in is digests and keyed commitments, never texts. ``Keeper`` signs and anchors by itself;
``follow`` is the hook for declarations. The standalone package ``ostinato.verify`` checks an exported bundle without
this room.
"""

from ostinato.audit.checkpoints import Checkpoint
from ostinato.audit.declared import follow
from ostinato.audit.denials import Denials
from ostinato.audit.keeper import Handler, Keeper
from ostinato.audit.log import Log
from ostinato.audit.model import Deed, Leaf, Occasion, occasion, set_occasion
from ostinato.audit.proofs import Consistency, Inclusion
from ostinato.audit.reading import Entry, Filter
from ostinato.audit.settings import Anchor, Settings
from ostinato.audit.witnesses import Offer, Witnessed

__all__ = [
    "Anchor",
    "Checkpoint",
    "Consistency",
    "Deed",
    "Denials",
    "Entry",
    "Filter",
    "Handler",
    "Inclusion",
    "Keeper",
    "Leaf",
    "Log",
    "Occasion",
    "Offer",
    "Settings",
    "Witnessed",
    "follow",
    "occasion",
    "set_occasion",
]
