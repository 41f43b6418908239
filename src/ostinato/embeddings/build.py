"""From settings to an embedder."""

from ostinato import outbound
from ostinato.core.clock import Clock
from ostinato.embeddings import packaged
from ostinato.embeddings.cached import Cached
from ostinato.embeddings.model import Embedder
from ostinato.embeddings.packaged import Packaged
from ostinato.embeddings.remote import Remote
from ostinato.embeddings.settings import Settings


def build(settings: Settings, client: outbound.Client, clock: Clock) -> Embedder | None:
    """The embedder that ``settings`` ask for; ``None``: there is none. Loads and calls nothing yet.

    Raises ``EmbedderMissing`` where the packaged one is asked for by name and is not installed, ``Invalid`` for
    settings that cannot be, ``outbound.Refused`` for an address that may not be called.
    """
    settings.check()
    if settings.kind == "off" or (settings.kind == "auto" and packaged.missing()):
        return None
    embedder: Embedder
    if settings.kind == "remote":
        embedder = Remote(settings, client, clock)
    else:
        embedder = Packaged(settings.threads, settings.queue)
    return Cached(embedder, settings.cache_bytes) if settings.cache_bytes else embedder
