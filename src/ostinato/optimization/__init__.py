"""Optimization runs: plan, probe, search, prove on the sealed holdout, review, propose a release. Durable.

``Optimizations`` is what people ask: ``plan`` (before anything is spent), ``start``, ``pause``, ``resume``, ``cancel``,
``delete``, ``show``, ``report``. ``carrier.phases()`` is what ``jobs`` carries out under the name ``JOB``: each phase
finds in the journal and in its own tables what an earlier try of it has done. Nothing is promoted but by the gate.
"""

from ostinato.optimization.binding import build
from ostinato.optimization.needs import Rooms
from ostinato.optimization.run import Detail, Progress, Run, RunPlan, Wish
from ostinato.optimization.runs import JOB, Optimizations
from ostinato.optimization.settings import Settings

__all__ = ["JOB", "Detail", "Optimizations", "Progress", "Rooms", "Run", "RunPlan", "Settings", "Wish", "build"]
