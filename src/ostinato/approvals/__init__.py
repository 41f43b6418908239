"""Approvals: a change that others must agree to, bound to the digest of exactly what they saw.

``open_request``, ``decide``, ``tally``, ``void`` and ``complete`` work on a connection, inside the transaction of the
room that the change belongs to: it judges permissions and writes the audit leaf. Here it is settled that the author's
principal never approves, that a principal counts once, that one rejection ends a request, that a request expires, and
that an approval of another digest is no approval. ``Approvals`` reads for people: what waits, and who decided what.
"""

from ostinato.approvals.approvals import Approvals
from ostinato.approvals.model import APPROVE, REJECT, Decision, Discounted, Request, Tally
from ostinato.approvals.store import complete, decide, find, open_request, page, tally, void

__all__ = [
    "APPROVE",
    "REJECT",
    "Approvals",
    "Decision",
    "Discounted",
    "Request",
    "Tally",
    "complete",
    "decide",
    "find",
    "open_request",
    "page",
    "tally",
    "void",
]
