"""Calls of our own to models: through the same routes as everybody's, with a budget, a journal and a row in the ledger.

What was paid for is written down before it is used, and never paid for twice. ``Calls.ask(asked, budget)`` gives the
answer from the journal of its ``namespace``, or reserves, asks, writes down, settles. ``Budget`` holds calls, tokens
and money below their limits at any concurrency; ``estimate`` is the true upper bound that is reserved. Failures that
may pass are waited out, up to ``Settings.patience``; then ``ModelAway`` is raised.
"""

from ostinato.calls.bounds import estimate
from ostinato.calls.budget import Budget, Exhausted, Reservation
from ostinato.calls.calls import Calls, ModelAway
from ostinato.calls.model import Asked, Called, Limits, Purpose, Spent
from ostinato.calls.settings import Settings

__all__ = [
    "Asked",
    "Budget",
    "Called",
    "Calls",
    "Exhausted",
    "Limits",
    "ModelAway",
    "Purpose",
    "Reservation",
    "Settings",
    "Spent",
    "estimate",
]
