"""Checks an audit bundle offline: a package of its own that imports nothing of the server.

It needs Python's standard library, and ``cryptography`` for Ed25519: ``python -m ostinato.verify BUNDLE``. Three things
are told apart. *Chain valid*: the leaves give every signed root, so nothing was changed, deleted or moved, unless by
whoever holds the signing key. *Self-attested*: only the operator says so, who could have written another history or
have cut the end off. *Anchored*: a checkpoint that was kept elsewhere shows the same root.
"""

from ostinato.verify.anchors import read_anchor
from ostinato.verify.bundle import Trusted, verify
from ostinato.verify.checkpoints import Checkpoint, Verifier, key_hash, read_note, read_notes
from ostinato.verify.report import Report
from ostinato.verify.trees import Broken, Tree, consistency_holds, inclusion_holds, leaf_hash

__all__ = [
    "Broken",
    "Checkpoint",
    "Report",
    "Tree",
    "Trusted",
    "Verifier",
    "consistency_holds",
    "inclusion_holds",
    "key_hash",
    "leaf_hash",
    "read_anchor",
    "read_note",
    "read_notes",
    "verify",
]
