"""Watches for the world changing: quality, errors, refusals, latency, cost, what is asked, the cache, the models.

A detector looks at one series of one intent and release, and has a part of a stated budget of false alarms; a series
that falls silent is an alarm too. ``Monitoring`` holds what is declared (``declare``, ``list``, ``state``), and a watch
that feeds detectors with new signals and rows of the ledger, behind a cursor, in one process of several. What is found
goes to a callable as ``cases.model.Alarm`` until it has arrived. ``index`` is the drift index; ``judge_failing`` says
why judges may not promote. A kind of detector is a plug-in: ``Kind``, in the entry-point group ``ostinato.detectors``.
"""

from ostinato.monitoring.kinds import GROUP
from ostinato.monitoring.model import Batch, Declaration, Declared, Found, Kind, Observation, Series, State, Watched
from ostinato.monitoring.monitoring import Monitoring, kinds_of, show
from ostinato.monitoring.settings import Settings

__all__ = [
    "GROUP",
    "Batch",
    "Declaration",
    "Declared",
    "Found",
    "Kind",
    "Monitoring",
    "Observation",
    "Series",
    "Settings",
    "State",
    "Watched",
    "kinds_of",
    "show",
]
