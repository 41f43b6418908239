"""Prompts: versions that never change, labels that point at them, and the snapshot that the hot path reads.

``Prompts`` carries out changes (an actor, an audit leaf and a notice in one transaction each) and keeps ``snapshot``:
``snapshot.value.resolve(project, "NAME@LABEL", seed)`` gives a ``Resolved``, whose ``compiled.render(variables)`` gives
messages and parameters, without I/O. Releases move labels inside their own transactions by ``assign``, and look with
``assignment``, ``label`` and ``bundle``; they mark and publish the notice ``TOPIC``.
"""

from ostinato.prompts.comparing import Change, Diff
from ostinato.prompts.compiled import Compiled, Rendered
from ostinato.prompts.following import Following
from ostinato.prompts.labels import TOPIC, assign, assignment, assignments, label
from ostinato.prompts.model import (
    PRODUCTION,
    Assignment,
    Canary,
    Content,
    Draft,
    InvalidVariable,
    Kind,
    Label,
    LabelMove,
    MissingVariable,
    Prompt,
    Protection,
    Saved,
    Turn,
    UnknownVariable,
    Version,
)
from ostinato.prompts.prompts import Prompts
from ostinato.prompts.reading import Dependant, Dependants, Filters
from ostinato.prompts.snapshot import PromptSnapshot, Resolved
from ostinato.prompts.store import Bundle, bundle
from ostinato.prompts.writing import Changes

__all__ = [
    "PRODUCTION",
    "TOPIC",
    "Assignment",
    "Bundle",
    "Canary",
    "Change",
    "Changes",
    "Compiled",
    "Content",
    "Dependant",
    "Dependants",
    "Diff",
    "Draft",
    "Filters",
    "Following",
    "InvalidVariable",
    "Kind",
    "Label",
    "LabelMove",
    "MissingVariable",
    "Prompt",
    "PromptSnapshot",
    "Prompts",
    "Protection",
    "Rendered",
    "Resolved",
    "Saved",
    "Turn",
    "UnknownVariable",
    "Version",
    "assign",
    "assignment",
    "assignments",
    "bundle",
    "label",
]
