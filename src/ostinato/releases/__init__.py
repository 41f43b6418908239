"""Releases: a label moves to another version with evidence: propose, gate, approve, canary, promote or roll back.

``Releases`` carries it out, each step in one transaction with its audit leaf. Approvals are bound to the digest of all
that decides what a release does, and are judged anew when it starts. The canary's share is data on the label (see
``prompts``), so the hot path does not know this room; rolling back points the label where it pointed, with the cache
generation of that time. ``Gate`` and ``Judge`` are plug-in points; ``Watcher`` takes the steps of automatic rollouts,
and goes back where a guardrail (``Observing``) finds harm. ``Releases.attach_evaluation`` is for our own rooms only.
"""

from ostinato.releases.gates import Context, Gate
from ostinato.releases.judging import Guarded, Judge, Judgement, Minima, Outcome
from ostinato.releases.model import (
    OPEN,
    Dossier,
    Event,
    Evidence,
    Guardrails,
    Plan,
    Readiness,
    Reading,
    Release,
    Step,
    Verdict,
)
from ostinato.releases.observing import Observing
from ostinato.releases.proposing import Evaluation, NewEvidence, Proposal
from ostinato.releases.releases import Releases, Samples
from ostinato.releases.settings import Settings
from ostinato.releases.watching import Watcher

__all__ = [
    "OPEN",
    "Context",
    "Dossier",
    "Evaluation",
    "Event",
    "Evidence",
    "Gate",
    "Guarded",
    "Guardrails",
    "Judge",
    "Judgement",
    "Minima",
    "NewEvidence",
    "Observing",
    "Outcome",
    "Plan",
    "Proposal",
    "Readiness",
    "Reading",
    "Release",
    "Releases",
    "Samples",
    "Settings",
    "Step",
    "Verdict",
    "Watcher",
]
