"""Who did what, provably: an append-only log of leaves in a Merkle tree, with signed checkpoints.

``Log.append`` writes a ``Deed`` as a leaf in the transaction of the change it tells of; ``occasion`` is the request it
belongs to. What goes in is digests and keyed commitments, never texts; the standalone module ``ostinato.verify`` checks
an exported bundle without this room.
"""

from ostinato.audit.log import Log
from ostinato.audit.model import Deed, Leaf, Occasion, occasion, set_occasion
from ostinato.audit.settings import Anchor, Settings

__all__ = ["Anchor", "Deed", "Leaf", "Log", "Occasion", "Settings", "occasion", "set_occasion"]
