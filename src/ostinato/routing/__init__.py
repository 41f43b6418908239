"""Routing: a model alias is an ordered or weighted list of targets; ask them until one answers.

The :class:`Catalog` says what an alias stands for; it is a snapshot compiled from declarations and knows no prices. The
:class:`Router` asks: attempts within the caller's deadline, retries by the class of a failure, a circuit breaker and a
bound on calls at once per target, and for streams a change of target only before the first content. It stores nothing
and knows nothing of caching; :func:`key_digest` is what the cache's key takes from here.
"""

from ostinato.routing import trials
from ostinato.routing.attempts import BUSY, CANCELLED, OPEN, attempts_of
from ostinato.routing.catalog import Catalog, compile_routes, key_digest, target_digest
from ostinato.routing.model import Candidate, Route, Routed, RoutedCount, RoutedEmbedding, Target, TargetState
from ostinato.routing.router import Router
from ostinato.routing.settings import Settings
from ostinato.routing.streams import RoutedStream

__all__ = [
    "BUSY",
    "CANCELLED",
    "OPEN",
    "Candidate",
    "Catalog",
    "Route",
    "Routed",
    "RoutedCount",
    "RoutedEmbedding",
    "RoutedStream",
    "Router",
    "Settings",
    "Target",
    "TargetState",
    "attempts_of",
    "compile_routes",
    "key_digest",
    "target_digest",
    "trials",
]
