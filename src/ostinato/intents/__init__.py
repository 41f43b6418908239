"""Intents: business purposes with an owner, stakes and policies, and the defaults that stakes bring along.

An intent is a declaration like a cache policy. ``compile_intents`` makes ``Intents`` of all that stand: the hot path
asks it which intent a request is of (``for_request``) and what may be cached under it (``policy``); releases ask what
they need (``requirements``). What stakes bring along is one page: ``intents.stakes``. ``Changes`` carries changes out,
at high stakes when others have approved.
"""

from ostinato.intents.changes import Change, Changes, Wanted, change_of
from ostinato.intents.compiled import Intents, compile_intents
from ostinato.intents.model import Declaration, Effective, Intent, Requirements, Stakes

__all__ = [
    "Change",
    "Changes",
    "Declaration",
    "Effective",
    "Intent",
    "Intents",
    "Requirements",
    "Stakes",
    "Wanted",
    "change_of",
    "compile_intents",
]
