"""A retriever behind HTTP: ``{"query", "k"}`` in, ``{"passages": [{"id", "text"}]}`` out."""

from typing import Final

import msgspec

from ostinato import outbound
from ostinato.core import hashing
from ostinato.core.errors import UpstreamFailed
from ostinato.datasets.model import Passage
from ostinato.evals.retrieval.passages import LONGEST_TEXT
from ostinato.evals.retrieval.settings import Settings

_LARGEST_ANSWER: Final = 8 * 1024 * 1024


class _Found(msgspec.Struct):
    id: str
    text: str = ""


class _Answer(msgspec.Struct):
    passages: list[_Found]


_DECODER: Final = msgspec.json.Decoder(_Answer)


class Remote:
    """A ``Retriever``. The client belongs to who made it."""

    def __init__(self, name: str, settings: Settings, client: outbound.Client) -> None:
        self._name = name
        self._settings = settings
        self._client = client
        private = settings.allow_private
        self._private = outbound.guard.spells_private(settings.url) if private is None else private
        outbound.guard.parse(settings.url, allow_private=self._private)
        headers = {"content-type": "application/json", "accept": "application/json"}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key.reveal()}"
        self._headers = outbound.Headers(headers)
        self._id = f"{name}@{hashing.digest_of(['http', settings.url]).hex()[:8]}"

    @property
    def id(self) -> str:
        return self._id

    @property
    def index_version(self) -> str:
        return self._settings.version

    async def retrieve(self, query: str, k: int) -> tuple[Passage, ...]:
        """What the server finds. Raises ``UpstreamFailed`` where it refuses or answers nonsense."""
        response = await self._client.post(
            self._settings.url,
            msgspec.json.encode({"query": query, "k": k}),
            self._headers,
            self._settings.timeout,
            allow_private=self._private,
            max_bytes=_LARGEST_ANSWER,
        )
        if response.status != 200:
            raise failed(self._name, f"answered with status {response.status}")
        try:
            answer = _DECODER.decode(response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise failed(self._name, 'did not answer {"passages": [{"id", "text"}]}') from None
        return tidied(self._name, [Passage(id=one.id, text=one.text) for one in answer.passages], k)


def tidied(name: str, found: list[Passage], k: int) -> tuple[Passage, ...]:
    """The first ``k`` passages, each id once. Raises ``UpstreamFailed`` for what is no passage."""
    first: dict[str, Passage] = {}
    for passage in found:
        if not 0 < len(passage.id) <= 200 or len(passage.text) > LONGEST_TEXT:
            raise failed(name, f"gave a passage without an id, or with more than {LONGEST_TEXT:,} characters")
        first.setdefault(passage.id, passage)
    return tuple(first.values())[:k]


def failed(name: str, what: str) -> UpstreamFailed:
    """A retriever did not do what it should."""
    return UpstreamFailed(f"The retriever {name!r} {what}.", code="retriever_failed")
