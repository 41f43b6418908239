"""Rules on what goes in and what comes out: secrets, personal data, banned terms.

``compile`` makes a ``Checker`` of rules (``None`` where there are none, so that no rules cost nothing); its ``input``,
``embedding`` and ``output`` give a verdict: allow, redact, keep out of the cache, or block. ``stream_filter`` does it
for an answer on its way, holding back a short tail. Detection is by pattern and checksum, in linear time, without any
model. ``redact`` cleans a text that is to be written down. Findings and errors never carry what was found.
"""

from ostinato.checks.check import Checker, compile, redact, refusal
from ostinato.checks.model import (
    Action,
    EmbeddingVerdict,
    Finding,
    InputVerdict,
    OutputVerdict,
    Rule,
)
from ostinato.checks.settings import Settings
from ostinato.checks.stream import StreamFilter

__all__ = [
    "Action",
    "Checker",
    "EmbeddingVerdict",
    "Finding",
    "InputVerdict",
    "OutputVerdict",
    "Rule",
    "Settings",
    "StreamFilter",
    "compile",
    "redact",
    "refusal",
]
