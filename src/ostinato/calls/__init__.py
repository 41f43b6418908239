"""Calls of our own to models: through the same routes as everybody's, with a budget, a journal and a row in the ledger.

What was paid for is written down before it is used, and never paid for twice.
"""

__all__ = []
