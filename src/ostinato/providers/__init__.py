"""Who answers when the cache cannot: OpenAI-compatible servers, Anthropic, a local model, and a deterministic fake.

``build`` makes a ``Provider`` from its ``Settings``; its calls raise ``ProviderFailure``, whose ``failure`` class tells
what to do next. Look-alikes are rows of ``catalog.CATALOG``. A provider with several API keys changes between them by
itself. Nobody here imports a vendor's SDK: bodies are written and read by ``wire`` and sent by ``outbound``.
"""

from ostinato import outbound
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.providers.anthropic import Anthropic
from ostinato.providers.catalog import CATALOG
from ostinato.providers.credentials import ApiKey
from ostinato.providers.fake import Fake
from ostinato.providers.local import Local
from ostinato.providers.model import (
    ChatCall,
    ChatReply,
    ChatStream,
    EmbedCall,
    EmbedReply,
    FailureClass,
    Provider,
    ProviderFailure,
)
from ostinato.providers.openai import OpenAI
from ostinato.providers.settings import LocalSettings, Settings

KINDS: tuple[str, ...] = (*CATALOG, "local", "fake")
"""What ``Settings.kind`` may say."""

__all__ = [
    "CATALOG",
    "KINDS",
    "ApiKey",
    "ChatCall",
    "ChatReply",
    "ChatStream",
    "EmbedCall",
    "EmbedReply",
    "FailureClass",
    "Fake",
    "LocalSettings",
    "Provider",
    "ProviderFailure",
    "Settings",
    "build",
]


def build(name: str, settings: Settings, client: outbound.Client, clock: Clock) -> Provider:
    """The provider that ``settings`` describe, not yet started. Raises ``Invalid`` naming what is wrong."""
    if settings.kind == "fake":
        return Fake(name, settings.spec, clock)
    if settings.kind == "local":
        return Local(name, settings, client, clock)
    kind = CATALOG.get(settings.kind)
    if kind is None:
        raise Invalid(
            f"Provider {name}: there is no kind {settings.kind!r}.",
            hint=f"There are: {', '.join(KINDS)}. Any server with OpenAI's chat completions is openai-compatible.",
            param="kind",
        )
    make = Anthropic if kind.wire == "anthropic.messages" else OpenAI
    return make(name, kind, settings, client, clock)
