"""From an example's inputs to the variables of its prompt, passages included."""

from collections.abc import Mapping

import msgspec

from ostinato import prompts, templates
from ostinato.core.errors import Invalid, NotFound
from ostinato.datasets.model import Example, Passage
from ostinato.evals.model import Variant
from ostinato.evals.retrieval.model import Ask, Chain, Prepared, Retriever
from ostinato.wire.model import ChatRequest, Json

MOST_PASSAGES = 100


class Retrieval:
    """The declared retrievers, and the cache before them."""

    def __init__(self, retrievers: Mapping[str, Retriever]) -> None:
        self._retrievers = dict(retrievers)

    def check(self, variant: Variant) -> Chain | None:
        """The variant's chain, judged before anything is spent; ``None``: it has none.

        Raises ``Invalid`` naming the field, ``NotFound`` for a retriever that is not declared.
        """
        if variant.retrieval is None:
            return None
        chain = read(variant.retrieval)
        self._retriever(chain.retriever)
        return chain

    async def prepare(self, variant: Variant, example: Example, *, ask: Ask | None = None) -> Prepared:
        """What ``variant``'s prompt is filled in with for ``example``.

        Without a chain: the inputs. ``ask`` makes the chain's model call; a chain that has one is refused without it.
        Raises ``Invalid`` for a chain that cannot be, whatever the retriever and ``ask`` raise.
        """
        if variant.retrieval is None:
            return Prepared(variables=example.inputs)
        chain = read(variant.retrieval)
        retriever = self._retriever(chain.retriever)
        values: Json = dict(example.inputs)
        calls = ()
        if chain.rewrite is not None:
            if ask is None:
                raise Invalid("This chain asks a model, and nobody is there to ask.", param="retrieval.rewrite")
            rendered = prompts.Compiled(chain.rewrite.content, _no_partials).render(example.inputs)
            request = rendered.into(ChatRequest(model=chain.rewrite.alias, messages=()))
            called = await ask(chain.rewrite.alias, request)
            calls = (called,)
            values[chain.rewrite.into] = called.text
        query = templates.compile_template(chain.query, chain.format, {}).render(values)
        found = await retriever.retrieve(query, chain.k)
        return Prepared(
            variables={**example.inputs, chain.into: shown(chain, found)},
            retrieved=judged(found, example),
            query=query,
            calls=calls,
        )

    def _retriever(self, name: str) -> Retriever:
        found = self._retrievers.get(name)
        if found is None:
            known = ", ".join(sorted(self._retrievers)) or "none"
            raise NotFound(
                f"There is no retriever {name[:80]!r}.",
                code="retriever_not_found",
                hint=f"Declared are: {known}. Declare one in [retrievers.NAME] of the configuration.",
            )
        return found


def read(retrieval: Json) -> Chain:
    """``Variant.retrieval`` as a chain. Raises ``Invalid`` naming the field."""
    try:
        chain = msgspec.convert(retrieval, Chain)
    except msgspec.ValidationError as error:
        raise Invalid(f"The chain cannot be read: {error}.", param="retrieval") from None
    if not 1 <= chain.k <= MOST_PASSAGES:
        raise Invalid(f"A chain retrieves 1 to {MOST_PASSAGES} passages.", param="retrieval.k")
    return chain


def shown(chain: Chain, passages: tuple[Passage, ...]) -> object:
    """The passages as the answer's prompt takes them."""
    rows = [{"number": number, "id": one.id, "text": one.text} for number, one in enumerate(passages, 1)]
    if chain.shape == "list":
        return rows
    template = templates.compile_template(chain.passage, chain.format, {})
    return chain.separator.join([template.render(row) for row in rows])


def judged(found: tuple[Passage, ...], example: Example) -> tuple[Passage, ...]:
    """``found`` with the relevance that the example's own passages give them."""
    known = {one.id: one.relevance for one in example.passages}
    return tuple(msgspec.structs.replace(one, relevance=known.get(one.id)) for one in found)


def _no_partials(name: str, number: int) -> prompts.Content:
    raise Invalid(f"The prompt of a chain takes no partials, and this one takes {name[:80]!r}.", param="retrieval")
