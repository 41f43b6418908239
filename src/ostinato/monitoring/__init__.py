"""Watches for the world changing: quality, errors, refusals, latency, cost, what is asked, the cache, the models.

A detector looks at one series of one intent and release, and has a budget of false alarms; a series that falls silent
is an alarm too. What is found goes to ``cases``.
"""

from ostinato.monitoring.settings import Settings

__all__ = ["Settings"]
