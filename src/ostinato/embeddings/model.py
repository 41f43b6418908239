"""What turns texts into vectors. A plug-in point: see ``Embedder``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ostinato.core.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]
else:  # numpy is only there with the extra, and is not loaded before it is used
    Vectors: TypeAlias = Any

INSTALL = "In a clone, `make encoder` sets it up in .venv; into another environment: see docs/how-to/embeddings.md."


class Embedder(Protocol):
    """Turns texts into vectors of length 1: their product is their cosine."""

    @property
    def id(self) -> str:
        """``NAME@CHECKSUM``, 8 hex digits over all that the vectors depend on. Goes wherever vectors go, so that those
        of two models never meet."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers of a vector; 0: not known before the first answer."""
        ...

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """float32 of shape (texts, dimensions), each row of length 1, in the order of ``texts``; no text is refused.

        Equal texts give equal vectors. Raises ``Unavailable`` (too much is waiting, or what it needs is missing) and
        whatever ``outbound`` raises where another server is asked.
        """
        ...

    async def close(self) -> None:
        """Give back threads and memory. Calls under way fail with ``Unavailable``."""
        ...


class EmbedderMissing(Unavailable):
    """Embeddings are off, or what they need is not installed; the hint says what to do."""

    default_code = "embeddings_unavailable"


def writable(text: str) -> str:
    """``text`` without halves of surrogate pairs, which no encoding has."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
