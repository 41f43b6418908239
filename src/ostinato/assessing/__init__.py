"""What Ostinato would be worth, told from traffic that was recorded elsewhere; and what another policy would have done.

``assess`` reads files (OpenAI and Anthropic requests with their answers, batches, Langfuse exports, OTLP GenAI spans),
puts them in order of time, and replays them offline through the same codecs, fingerprint, scope, policies, admission,
families, triage and prices that serve. ``what_if`` replays the ledger's rows under another policy; they hold no texts.
Both are bounded in memory, and both say what they could not know.
"""

from ostinato.assessing.assess import assess
from ostinato.assessing.model import Assessment, FileReport, Rates, Rules, Share, Simulated, Skipped, Told
from ostinato.assessing.page import page
from ostinato.assessing.sources import FORMATS
from ostinato.assessing.whatif import Change, Course, WhatIf, what_if

__all__ = [
    "FORMATS",
    "Assessment",
    "Change",
    "Course",
    "FileReport",
    "Rates",
    "Rules",
    "Share",
    "Simulated",
    "Skipped",
    "Told",
    "WhatIf",
    "assess",
    "page",
    "what_if",
]
