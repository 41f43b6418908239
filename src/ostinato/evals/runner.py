"""One way to measure: ask a variant about an example, score the answer. Experiments, searches and gates go by here."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from ostinato import scorers, wire
from ostinato.calls import Asked, Budget, Called, Calls, Exhausted, ModelAway, Purpose
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, NotFound, OstinatoError, UpstreamFailed
from ostinato.datasets.model import Example
from ostinato.evals import sureness
from ostinato.evals.model import Cell, Variant
from ostinato.evals.retrieval import Prepared, Retrieval
from ostinato.prompts import Compiled, Content
from ostinato.providers.model import ProviderFailure
from ostinato.scorers import confidence
from ostinato.scorers.confidence import Sure
from ostinato.scorers.model import Score, Scorer, Spec, Subject
from ostinato.storage import Notices
from ostinato.wire.model import ChatRequest, Json

Pieces = Callable[[str, str, int], Content]
"""``pieces(project, name, number)``: the content of a version of a partial."""
Confident = Callable[[Called, Sequence[str]], Sure | None]
"""How sure a model is of its answer, given the answers that there can be; ``None``: the answer does not tell."""
OnCell = Callable[[int, Cell], None]
"""Told of each cell as it is done: its place among the pairs, and the cell."""

Lately = Callable[[], Awaitable[Iterable[str]]]
"""Examples that were erased of late."""

TOPIC = "erased"
"""Of notices: which examples were erased."""
_TOLD = 100
"""Ids in one notice: as many as its detail has room for."""
_COMPILED = 256
_FORGOTTEN = 100_000
_log = logging.getLogger(__name__)
_UNPAID = ("budget_exhausted:", "price_unknown:", "model_away:", "calls_waiting:")
"""Why a judge could not be asked: no measurement, and no score of a kind either."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """How a series of cells is measured: for whom, on whose money, by which scorers."""

    org: str
    project: str
    namespace: str
    """Id of the run or experiment: whose journal the calls belong to."""
    purpose: Purpose
    scorers: Sequence[Scorer]
    specs: Sequence[Spec] = ()
    """Their declarations, for the weights of the mean; left out: all count alike."""
    budget: Budget | None = None
    confidence: bool = False
    """Whether to tell how sure the model is, where that can be known."""
    samples: int = 1
    """Answers to one question, at most, from which to tell it where the first one has no log probabilities: those are
    asked for first, and where there are none, more answers are. 1: nothing is asked again."""
    labels: Sequence[str] = ()
    """The answers that there can be, where they are known: confidence is then among these."""
    replicate: int = 0
    timeout: float = 60.0
    """Seconds for each try of a call, and for each scorer."""


def identity(variant: Variant) -> str:
    """SHA-256 over all that can change a variant's answers, in hexadecimal: content, model, parameters, chain."""
    said = [variant.digest, variant.alias, variant.params, variant.retrieval]
    return hashlib.sha256(hashing.canonical_json(said)).hexdigest()


class Runner:
    """Measures cells. For one event loop."""

    def __init__(
        self,
        calls: Calls,
        clock: Clock,
        *,
        pieces: Pieces | None = None,
        retrieval: Retrieval | None = None,
        confident: Confident = confidence.of,
    ) -> None:
        """``pieces``: where partials come from; without it a content that takes some is refused. Whoever wants to know
        how sure a model is asks for log probabilities among the parameters (``scorers.confidence.ASKING``), or lets
        questions be asked again (``Measure.samples``)."""
        self._confident = confident
        self._calls = calls
        self._clock = clock
        self._pieces = pieces
        self._retrieval = retrieval or Retrieval({})
        self._compiled: OrderedDict[tuple[str, str], Compiled] = OrderedDict()
        self._silent: OrderedDict[tuple[str, str], None] = OrderedDict()
        """(Project, alias) of models that had no log probabilities when they were asked for."""
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        """Examples that were erased while somebody may still hold them in memory."""
        self._notices: Notices | None = None
        self._unfollow: Callable[[], None] | None = None
        self._looking: set[asyncio.Task[None]] = set()

    def forget(self, examples: Iterable[str]) -> None:
        """Ask nothing more about these examples, whoever has read them before they were erased."""
        self._forgotten.update(dict.fromkeys(examples))
        while len(self._forgotten) > _FORGOTTEN:
            self._forgotten.popitem(last=False)

    def forget_everywhere(self, examples: Sequence[str]) -> None:
        """The same in every process: here when this returns, elsewhere within seconds."""
        self.forget(examples)
        if self._notices is not None:
            for begin in range(0, len(examples), _TOLD):
                self._notices.publish(TOPIC, " ".join(examples[begin : begin + _TOLD]))

    def follow(self, notices: Notices, lately: Lately) -> None:
        """Forget what other processes erase, and tell them. ``lately`` is asked where it was not heard which."""

        def heard(detail: str) -> None:
            if detail:
                self.forget(detail.split())
                return
            task = asyncio.ensure_future(self._look(lately))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

        self._notices = notices
        self._unfollow = notices.subscribe(TOPIC, heard)

    async def _look(self, lately: Lately) -> None:
        try:
            self.forget(await lately())
        except OstinatoError as error:
            _log.warning("What was erased elsewhere could not be looked up: %s", error.sentence)

    async def stop(self) -> None:
        """Hear nothing more."""
        if self._unfollow is not None:
            self._unfollow()
        for task in tuple(self._looking):
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    def check(self, variant: Variant, example: Example, *, project: str) -> None:
        """Raise what would keep ``variant`` from answering ``example``, before anything is spent.

        ``Invalid`` naming the variable that is missing or unknown, ``NotFound`` for a retriever that is not declared.
        """
        compiled = self._compile(variant, project)
        chain = self._retrieval.check(variant, project=project)
        variables = dict(example.inputs)
        if chain is not None:
            self._retrieval.fill(chain, example)
            variables[chain.into] = [] if chain.shape == "list" else ""
        compiled.check(variables)

    async def run_cell(
        self,
        variant: Variant,
        example: Example,
        scorers: Sequence[Scorer],
        *,
        org: str,
        project: str,
        namespace: str,
        purpose: Purpose,
        budget: Budget | None = None,
        confidence: bool = False,
        samples: int = 1,
        specs: Sequence[Spec] = (),
        labels: Sequence[str] = (),
        replicate: int = 0,
        timeout: float = 60.0,  # noqa: ASYNC109 - of each try of a call, and of each scorer
    ) -> Cell:
        """Ask and score. See :class:`Measure` for the rest, and :meth:`measure` for what is raised."""
        how = Measure(
            org=org,
            project=project,
            namespace=namespace,
            purpose=purpose,
            scorers=scorers,
            specs=specs,
            budget=budget,
            confidence=confidence,
            samples=samples,
            labels=labels,
            replicate=replicate,
            timeout=timeout,
        )
        return await self.measure(variant, example, how)

    async def run_many(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        scorers: Sequence[Scorer],
        *,
        org: str,
        project: str,
        namespace: str,
        purpose: Purpose,
        budget: Budget | None = None,
        confidence: bool = False,
        samples: int = 1,
        specs: Sequence[Spec] = (),
        labels: Sequence[str] = (),
        replicate: int = 0,
        timeout: float = 60.0,  # noqa: ASYNC109 - of each try of a call, and of each scorer
        concurrency: int = 8,
        on_cell: OnCell | None = None,
    ) -> list[Cell]:
        """Many cells, begun in the order given and at most ``concurrency`` at once; in the order given.

        Sort by variant where a provider keeps the beginnings of prompts: equal ones then follow one another. Raises
        what :meth:`measure` raises, once the cells under way are done and told to ``on_cell``.
        """
        how = Measure(
            org=org,
            project=project,
            namespace=namespace,
            purpose=purpose,
            scorers=scorers,
            specs=specs,
            budget=budget,
            confidence=confidence,
            samples=samples,
            labels=labels,
            replicate=replicate,
            timeout=timeout,
        )
        return await self.measure_many(pairs, how, concurrency=concurrency, on_cell=on_cell)

    async def measure_many(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        how: Measure,
        *,
        concurrency: int = 8,
        on_cell: OnCell | None = None,
    ) -> list[Cell]:
        """:meth:`run_many` with a :class:`Measure`."""
        cells: list[Cell | None] = [None] * len(pairs)
        failures: list[BaseException] = []
        places = iter(range(len(pairs)))

        async def work() -> None:
            for place in places:
                if failures:
                    return
                try:
                    cell = cells[place] = await self.measure(*pairs[place], how)
                    if on_cell is not None:
                        on_cell(place, cell)
                except Exception as error:
                    failures.append(error)

        workers = [asyncio.create_task(work()) for _ in range(max(1, min(concurrency, len(pairs))))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        if failures:
            raise failures[0]
        return [cell for cell in cells if cell is not None]

    async def measure(self, variant: Variant, example: Example, how: Measure) -> Cell:
        """One cell. What only this example suffers (it does not fit, the provider refuses it) is told in the cell.

        Raises ``Exhausted``, ``ModelAway``, ``NotFound`` for an unknown alias, ``ProviderFailure`` where the provider
        refuses whoever asks.
        """
        bare = Cell(example=example.id, variant=identity(variant), stratum=example.stratum)
        if example.erased or example.id in self._forgotten:
            return msgspec.structs.replace(bare, error="erased")
        try:
            prepared, request, answer = await self._answer(variant, example, how)
        except (Invalid, UpstreamFailed) as error:
            if isinstance(error, ProviderFailure) and error.failure != "request":
                raise
            return msgspec.structs.replace(bare, error=error.code)
        subject = Subject(
            output=answer.text,
            inputs=example.inputs,
            input_text=wire.input_text(request),
            reference=example.reference,
            passages=example.passages,
            retrieved=prepared.retrieved,
            answer=answer.answer,
            finish=answer.finish,
            usage=answer.usage,
            cost=answer.cost,
            latency_us=answer.upstream_us,
            metadata=example.metadata,
            request_id=example.id,
        )
        scores = await scorers.score_all(how.scorers, subject, timeout=how.timeout)
        _paid_for(scores)
        more, sure = await self._sure(variant, example, how, prepared, answer) if how.confidence else ([], None)
        if example.id in self._forgotten:  # while it was asked about: what was answered goes with it
            return msgspec.structs.replace(bare, error="erased")
        specs = how.specs or [Spec(kind="", name=scorer.id.rpartition("@")[0]) for scorer in how.scorers]
        return msgspec.structs.replace(
            bare,
            value=scorers.mean(scores, specs),
            scores=scores,
            output=answer.text,
            confidence=None if sure is None else sure.value,
            posterior={} if sure is None else {label: round(share, 9) for label, share in sure.shares.items()},
            finish=answer.finish,
            usage=msgspec.structs.replace(answer.usage, raw=None),
            cost=_cost((answer, *prepared.calls, *more), scores),
            latency_us=answer.upstream_us + sum(call.upstream_us for call in prepared.calls),
            paid=answer.paid or any(call.paid for call in (*prepared.calls, *more)),
            retrieved=prepared.retrieved,
            call=answer.key,
        )

    async def recall(self, variant: Variant, example: Example, how: Measure) -> str | None:
        """What a variant has answered, where the journal still knows it; nothing is asked. Not of chains."""
        if variant.retrieval is not None or example.erased or example.id in self._forgotten:
            return None
        try:
            rendered = self._compile(variant, how.project).render(example.inputs)
        except Invalid:
            return None
        request = rendered.into(ChatRequest(model=variant.alias, messages=()))
        found = await self._calls.known(self._asked(variant, example, how, variant.alias, request, how.purpose))
        return None if found is None else found.text

    async def _answer(self, variant: Variant, example: Example, how: Measure) -> tuple[Prepared, ChatRequest, Called]:
        async def ask(alias: str, request: ChatRequest) -> Called:
            return await self._calls.ask(self._asked(variant, example, how, alias, request, "retrieval"), how.budget)

        compiled = self._compile(variant, how.project)
        prepared = await self._retrieval.prepare(variant, example, ask=ask, project=how.project)
        request = compiled.render(prepared.variables).into(ChatRequest(model=variant.alias, messages=()))
        asked = self._asked(variant, example, how, variant.alias, request, how.purpose)
        return prepared, request, await self._calls.ask(asked, how.budget, timeout=how.timeout)

    async def _sure(
        self, variant: Variant, example: Example, how: Measure, prepared: Prepared, answer: Called
    ) -> tuple[list[Called], Sure | None]:
        """How sure the model is of its answer, and what was asked besides to know it."""
        sure = self._confident(answer, how.labels)
        if sure is not None or how.samples < 2:
            return [], sure

        async def again(params: Json, replicate: int) -> Called:
            other = msgspec.structs.replace(variant, params={**variant.params, **params})
            rendered = self._compile(other, how.project).render(prepared.variables)
            request = rendered.into(ChatRequest(model=variant.alias, messages=()))
            asked = self._asked(variant, example, how, variant.alias, request, how.purpose)
            asked = msgspec.structs.replace(asked, replicate=replicate)
            return await self._calls.ask(asked, how.budget, timeout=how.timeout)

        model = (how.project, variant.alias)
        if model not in self._silent:
            try:
                called, sure = await sureness.by_probabilities(answer, again, how.replicate, how.labels)
            except LookupError:
                self._silent[model] = None
                if len(self._silent) > _COMPILED:
                    self._silent.popitem(last=False)
            else:
                return [called], sure
        params = {**variant.content.params, **variant.params}
        return await sureness.by_asking_again(answer, again, params, how.samples, how.replicate, how.labels)

    def _asked(
        self, variant: Variant, example: Example, how: Measure, alias: str, request: ChatRequest, purpose: Purpose
    ) -> Asked:
        return Asked(
            org=how.org,
            project=how.project,
            alias=alias,
            request=request,
            purpose=purpose,
            namespace=how.namespace,
            replicate=how.replicate,
            prompt=variant.prompt,
            prompt_version=variant.number,
            example=example.id,
            fallbacks=how.purpose != "gate",
        )

    def _compile(self, variant: Variant, project: str) -> Compiled:
        key = (project, identity(variant))
        found = self._compiled.get(key)
        if found is None:
            content = variant.content
            if variant.params:
                content = msgspec.structs.replace(content, params={**content.params, **variant.params})
            found = Compiled(content, lambda name, number: self._piece(project, name, number))
            self._compiled[key] = found
            if len(self._compiled) > _COMPILED:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return found

    def _piece(self, project: str, name: str, number: int) -> Content:
        if self._pieces is None:
            raise NotFound(f"The partial {name!r} cannot be read here.", code="prompt_not_found")
        return self._pieces(project, name, number)


def _cost(answers: Sequence[Called], scores: Sequence[Score]) -> int | None:
    """Of answers and scoring; ``None`` where a price is not known."""
    total = sum(score.cost for score in scores)
    for answer in answers:
        if answer.cost is None:
            return None
        total += answer.cost
    return total


def _paid_for(scores: Sequence[Score]) -> None:
    """Raise where a judge could not be asked for want of money or of a model: that says nothing of the answer."""
    for score in scores:
        if score.value is None and score.rationale.startswith(_UNPAID):
            code, _, message = score.rationale.partition(": ")
            kind: type[OstinatoError] = ModelAway if code == "model_away" else Exhausted
            raise kind(message, code=code)
