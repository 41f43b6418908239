"""The rooms that a request passes, handed over as one thing by ``app``."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from ostinato.access import Access
from ostinato.audit import Denials
from ostinato.breakers import Trip, Trips
from ostinato.cache import ResponseCache
from ostinato.cache.policy import Policies
from ostinato.checks import Checker
from ostinato.core.clock import Clock
from ostinato.families import Families
from ostinato.gateway.feedback import Feedback
from ostinato.gateway.replies import Renderer
from ostinato.gateway.sampling import Sampler
from ostinato.gateway.settings import Settings
from ostinato.gateway.snapshots import Epoch
from ostinato.intents import Intents
from ostinato.prompts import PromptSnapshot
from ostinato.reviews import Reviews
from ostinato.routing import Catalog, Router
from ostinato.savings import Baselines, Budgets, Lottery
from ostinato.storage import Current
from ostinato.traces import PriceBook, Recorder


class Checkers(Protocol):
    """Compiled check rules by the names that a policy lists."""

    def of(self, names: tuple[str, ...]) -> Checker | None: ...


class Trials(Protocol):
    """Who counts trials."""

    def report(self, trip: Trip, request_id: str, at: int, ok: bool | None) -> None: ...


class Rooms(msgspec.Struct, frozen=True):
    access: Access
    cache: ResponseCache
    router: Router
    recorder: Recorder
    denials: Denials
    catalog: Current[Catalog]
    policies: Current[Policies]
    checkers: Current[Checkers]
    intents: Current[Intents]
    prompts: Current[PromptSnapshot]
    prices: Current[PriceBook]
    renderer: Renderer
    epoch: Epoch
    clock: Clock
    settings: Settings
    secret: bytes
    """Of the installation: keys the digests of users and inputs."""
    reviews: Reviews
    """Where answers of intents that hold them wait for somebody's word."""
    feedback: Feedback | None = None
    """Who takes what end users think."""
    sampler: Sampler | None = None
    """Who scores a share of the answers."""
    families: Families | None = None
    """Who looks at answers to see what is alike."""
    trips: Current[Trips] | None = None
    """Which intents are tripped."""
    trials: Trials | None = None
    """Who counts what trials of tripped intents come to."""
    lottery: Lottery | None = None
    """Who is drawn for the hold-out."""
    baselines: Callable[[], Baselines] = dict
    """What answered before the releases that are in force."""
    budgets: Budgets | None = None
    """What intents may spend of tokens and dollars."""
