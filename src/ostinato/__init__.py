"""Ostinato: an LLM gateway that repeats what works and reworks what does not."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostinato.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    # The HTTP client behind them takes 0.2 s to import: only those who call pay for it.
    if name in ("Client", "AsyncClient"):
        from ostinato import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
