"""Texts as vectors: the packaged encoder on this machine, or somebody's endpoint; and what is near what.

``Embedder`` is the protocol; an embedder's ``id`` (name and checksum) goes wherever its vectors go, so that vectors of
two models never meet. ``build(settings, client, clock)`` gives the one that is configured, with a cache of repeated
texts before it, or ``None``. ``similarity`` and ``near_duplicates`` compare vectors. numpy is loaded with the first
text, not with this room.
"""

from ostinato.embeddings.build import build
from ostinato.embeddings.cached import Cached
from ostinato.embeddings.model import Embedder, EmbedderMissing
from ostinato.embeddings.nearness import Pair, near_duplicates, similarity
from ostinato.embeddings.packaged import Packaged
from ostinato.embeddings.remote import Remote
from ostinato.embeddings.settings import Settings

__all__ = [
    "Cached",
    "Embedder",
    "EmbedderMissing",
    "Packaged",
    "Pair",
    "Remote",
    "Settings",
    "build",
    "near_duplicates",
    "similarity",
]
