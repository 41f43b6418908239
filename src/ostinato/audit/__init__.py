"""Who did what, provably: an append-only log of leaves in a Merkle tree, with signed checkpoints.

A leaf is written in the transaction of the change it tells of. What goes in is digests and keyed commitments, never
texts; the standalone module ``ostinato.verify`` checks an exported bundle without this room.
"""
