"""What to do with each family of requests: cache, optimize, both, review, leave; with reasons and what it is worth.

Decisions are proposals until somebody approves them, or a policy lets them pass at low stakes; they are made again as
evidence arrives, and do not flutter. Every decision is a leaf of the audit log. The inventory asks owners every ninety
days about prompts that are stale, unowned, unused or drifting.
"""

from ostinato.triage.settings import Settings

__all__ = ["Settings"]
