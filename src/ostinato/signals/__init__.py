"""What is known of an answer's quality, by request id: feedback of end users, outcomes, scores, verdicts of reviewers.

Signals are only ever added. ``Signals.record`` takes them from wherever they come, without waiting; ``of``, ``query``
and ``summary`` read them. Whoever sends one may know no more than the request's id.
"""

from ostinato.signals.model import LONGEST_CLASS, SOURCES, Filter, Page, Signal, Source, Summary
from ostinato.signals.settings import Settings
from ostinato.signals.signals import Signals

__all__ = ["LONGEST_CLASS", "SOURCES", "Filter", "Page", "Settings", "Signal", "Signals", "Source", "Summary"]
