"""What the control plane needs of the process: a part of ``app``, by its shape."""

from collections.abc import Mapping
from typing import Protocol

from ostinato.access import Access
from ostinato.cache import ResponseCache
from ostinato.core.clock import Clock
from ostinato.gateway import Current
from ostinato.routing import Catalog, Router
from ostinato.storage import Declarations
from ostinato.traces import Ledger


class ControlPlane(Protocol):
    clock: Clock
    access: Access
    cache: ResponseCache
    declarations: Declarations
    ledger: Ledger
    router: Router

    @property
    def catalog(self) -> Current[Catalog]: ...

    @property
    def provider_kinds(self) -> Mapping[str, str]:
        """Configured providers: name -> kind."""
        ...

    def judge(self, kind: str, declared: Mapping[str, object]) -> None:
        """Raise ``Invalid`` if these declarations of a kind, taken together, cannot be obeyed."""
        ...
