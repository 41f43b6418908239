"""Texts as vectors: the packaged encoder on this machine, or somebody's endpoint; and what is near what.

``Embedder`` is the protocol; an embedder's ``id`` (name and checksum) goes wherever its vectors go, so that vectors of
two models never meet.
"""

__all__ = []
