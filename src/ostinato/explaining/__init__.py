"""From a request's id to everything behind its answer: prompt, release, approvals, entry, cost and audit proof.

``Explainer.explain`` reads the ledger, then asks the rooms that the row points to. A part that does not apply is absent
with the reason, and one that has gone since (a prompt, a release, the call behind a hit) says so.
"""

from ostinato.explaining.explain import Explainer
from ostinato.explaining.model import Explanation

__all__ = ["Explainer", "Explanation"]
