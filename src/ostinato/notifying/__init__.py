"""Messages to people and machines elsewhere: webhooks, Slack, e-mail.

``Notifying.tell`` takes what happened from any room; it is written in ``work`` before anything is sent, and delivered
at least once, however long the receiver is away (two days of tries, then a dead letter that can be sent again). What
the audit log says of releases, broken glass, keys and the like is told by itself. Webhooks are signed after Standard
Webhooks; every try passes the guard of ``outbound``, and redirects are never followed. Endpoints are governed:
``Notifying.endpoints``.
"""

from ostinato.notifying.effects import RESEND, TEST
from ostinato.notifying.endpoints import Endpoints
from ostinato.notifying.model import Changes, Delivery, Endpoint, Message, NewEndpoint
from ostinato.notifying.notifying import Notifying
from ostinato.notifying.settings import Settings
from ostinato.notifying.showing import show

__all__ = [
    "RESEND",
    "TEST",
    "Changes",
    "Delivery",
    "Endpoint",
    "Endpoints",
    "Message",
    "NewEndpoint",
    "Notifying",
    "Settings",
    "show",
]
