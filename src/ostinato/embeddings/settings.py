"""``[embeddings]``: who turns texts into vectors."""

from typing import Literal

import msgspec

from ostinato.core.errors import Invalid
from ostinato.core.secret import ApiKey


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[embeddings]``: texts as vectors, for similarity scores and near-duplicate checks."""

    kind: Literal["auto", "packaged", "remote", "off"] = "auto"
    """``packaged``: the encoder on this machine; ``remote``: ``base_url``; ``auto``: the packaged one where it is
    installed, else none."""
    threads: int = 1
    """Of the packaged encoder's computation. It works beside the gateway, on a thread of its own."""
    queue: int = 256
    """Calls that may wait for vectors at one time; one more fails at once."""
    cache_bytes: int = 16 * 1024 * 1024
    """Of vectors kept for texts that come again; 0: none are."""
    base_url: str = ""
    """Of a server that speaks OpenAI's embeddings, up to and without ``/embeddings``."""
    model: str = ""
    """As that server calls it."""
    api_key: ApiKey | None = None
    """Where the secret lies: ``{ env = "NAME" }`` or ``{ file = "PATH" }``."""
    dimensions: int = 0
    """What that server is asked for; 0: the model's own number."""
    batch: int = 64
    """Texts of one call to that server."""
    timeout: float = 30.0
    """Seconds for one call to that server."""
    allow_private: bool | None = None
    """Whether its address may be a loopback or private one. Unset: only if ``base_url`` itself spells such an address
    or ``localhost``."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not 1 <= self.threads <= 64:
            raise Invalid("The packaged encoder runs on 1 to 64 threads.", param="embeddings.threads")
        if self.queue < 1:
            raise Invalid("At least one call must be able to wait.", param="embeddings.queue")
        if not 1 <= self.batch <= 2048:
            raise Invalid("A call holds 1 to 2,048 texts.", param="embeddings.batch")
        if self.timeout <= 0:
            raise Invalid("A call needs some time.", param="embeddings.timeout")
        if self.kind == "remote":
            for name in ("base_url", "model"):
                if not getattr(self, name):
                    raise Invalid(
                        f"Remote embeddings need {name}.",
                        param=f"embeddings.{name}",
                        hint='Write base_url = "https://host/v1" and model = "NAME", or another kind.',
                    )
