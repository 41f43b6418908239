"""Calls to other servers: pooled, with deadlines and bounds, behind a guard against request forgery.

``Client`` is the only way out of the house: providers, webhooks, remote scorers and embedders use it. It speaks
HTTP/1.1 on the event loop itself (``httptools`` parses): so a cancelled call stops at the other side at once, the
connection goes to the very address that the guard has checked, and a call costs the least.

``guard`` says which addresses may be called; ``TimedOut``, ``ConnectionFailed``, ``TooLarge``, ``BadResponse`` and
``Refused`` are all that can go wrong.
"""

from ostinato.outbound import guard
from ostinato.outbound.client import Client, Headers, Response, StreamedResponse
from ostinato.outbound.errors import BadResponse, ConnectionFailed, OutboundError, Refused, TimedOut, TooLarge
from ostinato.outbound.settings import Settings

__all__ = [
    "BadResponse",
    "Client",
    "ConnectionFailed",
    "Headers",
    "OutboundError",
    "Refused",
    "Response",
    "Settings",
    "StreamedResponse",
    "TimedOut",
    "TooLarge",
    "guard",
]
