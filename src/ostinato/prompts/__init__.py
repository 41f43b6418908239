"""Prompts: versions that never change, labels that point at them, and the snapshot that the hot path reads.

Whatever changes here takes an actor and leaves an audit leaf in the same transaction.
"""
