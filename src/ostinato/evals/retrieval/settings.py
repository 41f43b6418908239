"""``[retrievers.NAME]``: what chains may search."""

from typing import Literal

import msgspec

from ostinato.core.errors import Invalid
from ostinato.core.secret import ApiKey


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[retrievers.NAME]``: where the passages of a chain come from."""

    kind: Literal["passages", "http", "python"] = "passages"
    """``passages``: those of a file, by the nearness of their vectors; ``http``: another server; ``python``: a function
    of an installed package."""
    projects: tuple[str, ...] = ()
    """Ids of the projects that may search it; left out: all."""
    file: str = ""
    """For ``passages``: JSON lines with ``id`` and ``text``, and whatever else ``indexed`` takes."""
    indexed: str = "{{text}}"
    """For ``passages``: the template of what of each line becomes its vector, such as ``{{title}}: {{text}}``."""
    url: str = ""
    """For ``http``: is sent ``{"query", "k"}`` and answers ``{"passages": [{"id", "text"}]}``, best first."""
    api_key: ApiKey | None = None
    """For ``http``, sent as a bearer token; where the secret lies: ``{ env = "NAME" }`` or ``{ file = "PATH" }``."""
    allow_private: bool | None = None
    """For ``http``: whether the address may be a loopback or private one. Unset: only if ``url`` itself spells it."""
    function: str = ""
    """For ``python``: a name of the entry-point group ``ostinato.retrievers``."""
    version: str = ""
    """For ``http`` and ``python``: of the index that is searched; change it when the index changes. Left out: nothing
    that was found is kept for the next time."""
    timeout: float = 10.0
    """Seconds of one search."""

    def check(self, name: str) -> None:
        """Raise ``Invalid`` for what cannot be."""
        needed = {"passages": "file", "http": "url", "python": "function"}[self.kind]
        if not getattr(self, needed):
            raise Invalid(f"A retriever of kind {self.kind} needs {needed}.", param=f"retrievers.{name}.{needed}")
        if self.timeout <= 0:
            raise Invalid("A search needs some time.", param=f"retrievers.{name}.timeout")
