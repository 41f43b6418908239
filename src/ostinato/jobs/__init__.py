"""Durable work: named jobs of several phases that go on where they were, however the process ended.

Rooms hand in functions by name; arguments and results are ids, never texts. Only the server runs them.
"""

__all__ = []
