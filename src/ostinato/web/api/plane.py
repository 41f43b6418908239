"""What the control plane needs of the process: a part of ``app``, by its shape."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from ostinato.access import Access
from ostinato.approvals import Approvals
from ostinato.audit import Log
from ostinato.breakers import Breakers
from ostinato.cache import ResponseCache
from ostinato.cache.policy import Policies
from ostinato.cases import Alerts, Cases
from ostinato.core.clock import Clock
from ostinato.datasets import Datasets
from ostinato.evals import Experiments
from ostinato.explaining import Explainer
from ostinato.intents import Changes, Intents
from ostinato.kpis import Kpis, Outcomes
from ostinato.monitoring import Monitoring
from ostinato.notifying import Notifying
from ostinato.optimization import Optimizations
from ostinato.prompts import Following, Prompts
from ostinato.releases import Releases
from ostinato.retention import Retention
from ostinato.reviews import Reviews
from ostinato.routing import Catalog, Router
from ostinato.savings import Savings
from ostinato.scorers import Registry
from ostinato.signals import Signals
from ostinato.storage import Change, Current, Declarations, Declared
from ostinato.traces import Ledger, PriceBook
from ostinato.triage import Inventory, Triage
from ostinato.updating import Updating
from ostinato.web.api.desk import Desk


class Standing(Protocol):
    """The declarations that stand."""

    declaring: asyncio.Lock
    """Held from judging a declaration until it stands."""

    async def place(self, declared: Sequence[Declared | Change]) -> list[object]:
        """The bodies of declarations, each with the id of the project that it names."""
        ...

    async def judge(self, kind: str, declared: Mapping[str, object]) -> None:
        """Raise ``Invalid`` if these placed bodies of a kind, taken together, cannot be obeyed."""
        ...

    async def follow(self, kind: str) -> None:
        """Wait until what is declared of a kind now is obeyed in this process."""
        ...


class Triaging(Protocol):
    """Decisions on families, and the inventory."""

    triage: Triage
    inventory: Inventory


class Governing(Protocol):
    """The rooms that see, decide and act."""

    @property
    def kpis(self) -> Kpis: ...

    @property
    def outcomes(self) -> Outcomes: ...

    @property
    def monitoring(self) -> Monitoring: ...

    @property
    def notifying(self) -> Notifying: ...

    @property
    def alerts(self) -> Alerts: ...

    @property
    def breakers(self) -> Breakers: ...

    @property
    def cases(self) -> Cases: ...

    @property
    def savings(self) -> Savings: ...

    @property
    def triaging(self) -> Triaging: ...

    @property
    def retention(self) -> Retention: ...

    @property
    def updating(self) -> Updating: ...


class ControlPlane(Protocol):
    clock: Clock
    access: Access
    approvals: Approvals
    audit: Log
    cache: ResponseCache
    datasets: Datasets
    declarations: Declarations
    desk: Desk
    experiments: Experiments
    explainer: Explainer
    intent_changes: Changes
    ledger: Ledger
    following: Following
    optimizations: Optimizations
    prompts: Prompts
    releases: Releases
    reviews: Reviews
    router: Router
    signals: Signals
    scorers: Registry

    @property
    def governing(self) -> Governing: ...

    @property
    def standing(self) -> Standing: ...

    @property
    def catalog(self) -> Current[Catalog]: ...

    @property
    def policies(self) -> Current[Policies]: ...

    @property
    def intents(self) -> Current[Intents]: ...

    @property
    def prices(self) -> Current[PriceBook]: ...

    @property
    def provider_kinds(self) -> Mapping[str, str]:
        """Configured providers: name -> kind."""
        ...
