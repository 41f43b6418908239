"""A chain: how passages are found for an example before the prompt is filled in. Frozen."""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias

import msgspec

from ostinato.calls.model import Called
from ostinato.datasets.model import Passage
from ostinato.prompts import Content
from ostinato.templates import Format
from ostinato.wire.model import ChatRequest, Json

Ask: TypeAlias = Callable[[str, ChatRequest], Awaitable[Called]]
"""``await ask(alias, request)``: a call through ``calls`` with the purpose ``retrieval``, in the asker's journal and
budget."""


class Rewrite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model call that turns an example's inputs into something to search for."""

    content: Content
    """Its prompt; takes the inputs."""
    alias: str
    into: str = "rewritten"
    """The variable of the query template that the answer's text becomes."""


class Chain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``Variant.retrieval``, read: query template -> (model call) -> retriever -> variable of the answer template."""

    retriever: str
    """Name of a declared retriever."""
    query: str
    """Template over the inputs (and ``rewrite.into``); what is searched for."""
    format: Format = "plain"
    """Of ``query`` and ``passage``."""
    k: int = 5
    """At most so many passages."""
    rewrite: Rewrite | None = None
    into: str = "passages"
    """The variable of the answer's prompt that the passages become."""
    shape: Literal["text", "list"] = "text"
    """One text, or a list of ``{number, id, text}`` for a prompt that loops over it."""
    passage: str = "{{text}}"
    """Template of one passage in the text: ``number`` (from 1), ``id``, ``text``."""
    separator: str = "\n\n"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What an example's prompt is filled in with."""

    variables: Json
    """The inputs, and the passages under ``Chain.into``."""
    retrieved: tuple[Passage, ...] = ()
    """Best first, with the relevance that the example gives them, where it does."""
    query: str = ""
    """What was searched for; empty without a chain."""
    cached: bool = False
    """Whether the passages came from the retrieval cache."""
    calls: tuple[Called, ...] = ()
    """Model calls that it took; their cost belongs to the cell."""


class Retriever(Protocol):
    """Finds passages. Equal queries at one ``index_version`` find equal passages."""

    @property
    def id(self) -> str:
        """``NAME@DIGEST``: 8 hex digits over everything but the index that its answers depend on."""
        ...

    @property
    def index_version(self) -> str:
        """Which state of the passages is searched; empty: not known, and then nothing is cached."""
        ...

    async def retrieve(self, query: str, k: int) -> tuple[Passage, ...]:
        """At most ``k`` passages, best first, each id once. Raises ``OstinatoError`` where it cannot search."""
        ...
