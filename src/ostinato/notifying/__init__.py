"""Tells others what happened: Standard Webhooks, Slack, e-mail. A receiver that fails loses nothing.

Messages are written down before they are sent, signed, tried again for days, and end in a list of dead letters that
can be sent again. Addresses are judged by the guard of ``outbound`` at every try.
"""

from ostinato.notifying.settings import Settings

__all__ = ["Settings"]
