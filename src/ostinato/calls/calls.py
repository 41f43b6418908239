"""Asking a model on our own account: from the journal, or within a budget, written down before it is used."""

import asyncio
import random

import msgspec

from ostinato import routing, wire
from ostinato.cache import fingerprint
from ostinato.calls import bounds
from ostinato.calls.budget import Budget, Exhausted, Reservation
from ostinato.calls.journal import Journal, Row, called
from ostinato.calls.model import PASSING, Asked, Called, Spent
from ostinato.calls.settings import Settings
from ostinato.core import hashing, ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, LimitReached, OstinatoError, Unavailable, UpstreamFailed
from ostinato.providers.model import ProviderFailure
from ostinato.routing import Catalog, Routed, Router
from ostinato.routing.model import Target
from ostinato.storage import Current, Database
from ostinato.traces import AttemptRow, CallRow, PriceBook, Recorder
from ostinato.wire.model import ChatRequest, Usage

_TRANSIENT = frozenset({"server", "network", "rate", "timeout", "malformed", "cut"})
"""Failures that may pass; the others stay however often one asks."""
_UNHEARD = frozenset({"timeout", "malformed", "cut"})
"""Failures for which the provider may charge: it worked, and nobody heard the answer."""
_NOT_ASKED = frozenset({routing.OPEN, routing.BUSY, "unknown-provider"})
_VERSION = b"ostinato call 1"


class ModelAway(Unavailable):
    """The model did not answer for longer than our patience; what was paid for is kept."""

    default_code = "model_away"


class _Job(msgspec.Struct, frozen=True):
    """One call, ready to be made."""

    key: str
    asked: Asked
    request: ChatRequest
    print: bytes
    targets: tuple[Target, ...]
    budget: Budget | None
    timeout: float


class _Flight:
    """A call under way, and how many wait for it."""

    __slots__ = ("job", "sent", "task", "waiting")

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.waiting = 0
        self.sent = False
        """Whether a provider works on it now: it is heard out then, whoever leaves."""
        self.task: asyncio.Task[Called]


class Calls:
    """The one way in which experiments, judges and optimization ask models. For one event loop."""

    def __init__(
        self,
        work: Database,
        router: Router,
        catalog: Current[Catalog],
        prices: Current[PriceBook],
        recorder: Recorder,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._router = router
        self._catalog = catalog
        self._prices = prices
        self._recorder = recorder
        self._clock = clock
        self._settings = settings
        self._journal = Journal(work, clock)
        self._flights: dict[str, _Flight] = {}
        self._places = asyncio.Semaphore(settings.concurrency)
        self._rng = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self.paid = 0
        """Answers paid for since the start."""
        self.found = 0
        """Answers found in the journal, or joined while under way."""
        self.unheard = 0
        """Calls that may have been charged and were not heard."""

    @property
    def open(self) -> int:
        """Calls under way or waiting."""
        return len(self._flights)

    async def ask(
        self,
        asked: Asked,
        budget: Budget | None = None,
        *,
        timeout: float = 60.0,  # noqa: ASYNC109 - of each try, not of the whole
    ) -> Called:
        """The answer to ``asked``, from the journal or paid for now. ``timeout``: seconds for each try.

        Raises ``Exhausted`` before the budget would be exceeded; ``ModelAway`` where the model failed for longer than
        our patience; ``ProviderFailure`` where it refuses; ``NotFound`` for an unknown alias. Whoever is cancelled
        leaves; a call that was sent is heard out and kept all the same.
        """
        job = self._job(asked, budget, timeout)
        while True:
            flight = self._flights.get(job.key)
            joined = flight is not None
            if flight is None:
                if len(self._flights) >= self._settings.waiting + self._settings.concurrency:
                    raise LimitReached(
                        f"{len(self._flights)} calls of our own wait already.",
                        code="calls_waiting",
                        hint="Lower the concurrency of the run, or raise `calls.waiting`.",
                    )
                flight = self._start(job)
            try:
                answer = await self._wait(flight)
            except Exhausted:
                if joined and flight.job.budget is not job.budget:
                    continue  # Somebody else's purse was empty.
                raise
            if joined or not answer.paid:
                self.found += 1
                return msgspec.structs.replace(answer, paid=False)
            return answer

    async def known(self, asked: Asked) -> Called | None:
        """The answer to ``asked``, if the journal has it; nothing is asked. Raises ``NotFound`` as ``ask`` does."""
        return await self._journal.find(self._job(asked, None, 0.0).key)

    async def journal(self, namespace: str) -> Spent:
        """What a namespace has spent so far, as its journal says: a budget goes on from there after a crash."""
        return await self._journal.spent(namespace)

    async def erase(self, *, namespace: str = "", example: str = "") -> int:
        """Forget the answers of a namespace, or of all calls about an example; what they cost stays known.

        Gives how many there were.
        """
        if not namespace and not example:
            raise Invalid("Nothing was named to be erased.", code="erase_what")
        return await self._journal.erase(namespace=namespace, example=example)

    async def stop(self, grace: float = 5.0) -> None:
        """Hear out what was sent, for so many seconds; give up the rest."""
        tasks = [flight.task for flight in self._flights.values()]
        for flight in list(self._flights.values()):
            if not flight.sent:
                flight.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._journal.drain()

    # --- who waits ------------------------------------------------------------------------------------------------

    def _job(self, asked: Asked, budget: Budget | None, timeout: float) -> _Job:
        route = self._catalog.value.route(asked.project, asked.alias)
        limit = asked.request.max_tokens or self._settings.answer_tokens
        request = wire.changed(asked.request, max_tokens=limit, model=asked.alias, stream=False)
        digest = fingerprint.fingerprint(request)
        targets = self._router.draw(route, digest)
        if not asked.fallbacks:
            targets = targets[:1]
        key = hashing.digest(
            _VERSION,
            asked.namespace.encode(),
            asked.org.encode(),
            asked.project.encode(),
            asked.alias.encode(),
            routing.key_digest(route, targets[0]),
            digest,
            str(asked.replicate).encode(),
        ).hex()
        return _Job(key, asked, request, digest, targets, budget, timeout)

    def _start(self, job: _Job) -> _Flight:
        flight = self._flights[job.key] = _Flight(job)
        flight.task = asyncio.create_task(self._make(flight))
        flight.task.add_done_callback(lambda task: self._landed(flight, task))
        return flight

    def _landed(self, flight: _Flight, task: asyncio.Task[Called]) -> None:
        if self._flights.get(flight.job.key) is flight:
            del self._flights[flight.job.key]
        if not task.cancelled():
            task.exception()  # Whoever waited has seen it; if nobody did, nobody needs to.

    async def _wait(self, flight: _Flight) -> Called:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.sent and not flight.task.done():
                # Nobody joins a call that is being given up.
                self._flights.pop(flight.job.key, None)
                flight.task.cancel()

    # --- who asks -------------------------------------------------------------------------------------------------

    async def _make(self, flight: _Flight) -> Called:
        job = flight.job
        began = self._clock.monotonic()
        tries = 0
        attempts: list[AttemptRow] = []
        while True:
            try:
                # Places are given in the order of asking, before the journal is read: equal beginnings of prompts
                # follow one another, and a provider's prefix cache lives on that.
                async with self._places:
                    found = await self._journal.find(job.key) if not tries else None
                    return found or await self._round(flight, attempts)
            except OstinatoError as error:
                if not _may_pass(error):
                    raise
                wait = self._backoff(error, tries)
                waited = self._clock.monotonic() - began
                if waited + wait > self._settings.patience:
                    raise ModelAway(
                        f"The model {job.asked.alias!r} has not answered for {waited:.0f} s: {error.message}",
                        hint="What was paid for is kept; go on when the model is back.",
                    ) from error
            tries += 1
            await self._clock.sleep(wait)

    def _backoff(self, error: OstinatoError, tries: int) -> float:
        settings = self._settings
        longest = min(settings.backoff * 2.0 ** min(tries, 20), settings.backoff_longest)
        return max(longest * (0.5 + self._rng.random() / 2), min(error.retry_after or 0.0, settings.backoff_longest))

    async def _round(self, flight: _Flight, attempts: list[AttemptRow]) -> Called:
        """Ask each target once."""
        worst: OstinatoError | None = None
        for target in flight.job.targets:
            try:
                return await self._attempt(flight, target, attempts)
            except (ProviderFailure, Unavailable) as failure:
                if isinstance(failure, ProviderFailure) and failure.failure == "request":
                    raise
                if worst is None or _may_pass(failure):
                    worst = failure
            except Invalid as error:
                # A target that cannot take this request at all does not hide why the one before it failed.
                if worst is None:
                    worst = error
        assert worst is not None, "a route has a target"
        raise worst

    async def _attempt(self, flight: _Flight, target: Target, attempts: list[AttemptRow]) -> Called:
        """Ask one target once: reserve, ask, write down, settle."""
        job, clock = flight.job, self._clock
        most = bounds.bound(job.request, job.request.max_tokens or 0)
        dearest = bounds.dearest(self._prices.value, target.provider, target.model, most, clock.now())
        reservation = await job.budget.acquire(most.tokens, dearest) if job.budget is not None else None
        began = clock.monotonic()
        flight.sent = True
        try:
            # Tries are ours, so that each is within the budget.
            once = (msgspec.structs.replace(target, retries=0),)
            routed = await self._router.chat(once, job.request, began + job.timeout)
        except BaseException as error:
            tried = tuple(row for row in routing.attempts_of(error) if row.outcome not in _NOT_ASKED)
            attempts.extend(tried)
            cancelled = isinstance(error, asyncio.CancelledError)
            charged = cancelled or (isinstance(error, ProviderFailure) and error.failure in _UNHEARD and bool(tried))
            if tried or cancelled:
                self._record_failure(job, target, attempts, error, began, charged=charged)
            if charged:
                await asyncio.shield(self._unheard(job, target, most, dearest, reservation))
            raise
        else:
            attempts.extend(routed.attempts)
            return await self._answered(job, routed, most, reservation, attempts, began)
        finally:
            flight.sent = False
            if reservation is not None and job.budget is not None:
                job.budget.release(reservation)

    async def _answered(
        self,
        job: _Job,
        routed: Routed,
        most: bounds.Bound,
        reservation: Reservation | None,
        attempts: list[AttemptRow],
        began: float,
    ) -> Called:
        target, clock = routed.target, self._clock
        summary = wire.summary(routed.answer)
        # Nobody knows what this took: it is held to be all that it may have taken.
        usage = summary.usage or Usage(input=most.input, output=most.output)
        bare = msgspec.structs.replace(usage, raw=None)
        at = clock.now()
        cost = self._prices.value.price(target.provider, target.model, usage, at)
        packed = wire.encode_answer(routed.answer)
        fits = len(packed) <= self._settings.largest_answer
        self._record(
            job,
            target,
            attempts,
            began,
            usage=usage,
            cost=cost,
            finish=summary.finish or "",
            upstream_us=routed.upstream_us,
            system_fingerprint=summary.system_fingerprint,
        )
        kept = fits and not job.asked.namespace.startswith(PASSING)
        # A row without its answer has a key of its own: the same call can be made, and kept, again.
        key, answer = (job.key, packed) if kept else (ids.new(at), None)
        row = self._row(job, target, key, answer, bare, cost, routed.upstream_us, at)
        self.paid += 1
        try:
            await self._journal.add(row)
        finally:
            if reservation is not None and job.budget is not None:
                job.budget.settle(reservation, tokens=usage.total, nano=cost)
        if not fits:
            raise UpstreamFailed(
                f"The answer has {len(packed)} bytes; at most {self._settings.largest_answer} are kept.",
                code="answer_too_large",
                hint="Set `max_tokens` of the prompt.",
            )
        return called(
            job.key, packed, row.usage, cost=cost, target=target.name, upstream_us=routed.upstream_us, paid=True
        )

    async def _unheard(
        self, job: _Job, target: Target, most: bounds.Bound, dearest: int | None, reservation: Reservation | None
    ) -> None:
        """Write down what may have been charged for an answer that never came: all that was reserved."""
        self.unheard += 1
        at = self._clock.now()
        usage = Usage(input=most.input, output=most.output)
        try:
            await self._journal.add(self._row(job, target, ids.new(at), None, usage, dearest, 0, at))
        finally:
            if reservation is not None and job.budget is not None:
                job.budget.settle(reservation, tokens=most.tokens, nano=dearest)

    def _row(
        self,
        job: _Job,
        target: Target,
        key: str,
        answer: bytes | None,
        usage: Usage,
        cost: int | None,
        upstream_us: int,
        at: int,
    ) -> Row:
        asked = job.asked
        return Row(
            key=key,
            namespace=asked.namespace,
            example=asked.example,
            org=asked.org,
            project=asked.project,
            alias=asked.alias,
            target=target.name,
            purpose=asked.purpose,
            replicate=asked.replicate,
            answer=answer,
            usage=msgspec.msgpack.encode(usage),
            tokens=usage.total,
            cost=cost,
            upstream_us=upstream_us,
            at=at,
        )

    # --- the ledger -----------------------------------------------------------------------------------------------

    def _record_failure(
        self,
        job: _Job,
        target: Target,
        attempts: list[AttemptRow],
        error: BaseException,
        began: float,
        *,
        charged: bool,
    ) -> None:
        usage = Usage(input=wire.count_input(job.request)) if charged else None
        price = self._prices.value.price
        self._record(
            job,
            target,
            attempts,
            began,
            usage=usage,
            cost=price(target.provider, target.model, usage, self._clock.now()) if usage is not None else None,
            status=error.status if isinstance(error, OstinatoError) else 499,
            error=error.code if isinstance(error, OstinatoError) else "caller_left",
        )

    def _record(
        self,
        job: _Job,
        target: Target,
        attempts: list[AttemptRow],
        began: float,
        *,
        usage: Usage | None,
        cost: int | None,
        status: int = 200,
        error: str = "",
        finish: str = "",
        upstream_us: int = 0,
        system_fingerprint: str = "",
    ) -> None:
        """A row of its own for every try that reached a provider."""
        asked, now = job.asked, self._clock.now()
        self._recorder.call(
            CallRow(
                request_id=ids.new(now),
                at=now,
                org=asked.org,
                project=asked.project,
                wire="openai.chat",
                alias=asked.alias,
                provider=target.provider,
                model=target.model,
                target=target.name,
                attempts=tuple(attempts),
                cache="bypass",
                reason="loop",
                fingerprint=job.print[:16].hex(),
                tags=f"loop:{asked.purpose},run:{asked.namespace}",
                intent=asked.intent,
                prompt=asked.prompt,
                prompt_version=asked.prompt_version,
                usage=usage,
                cost=cost,
                counterfactual=cost,
                status=status,
                error=error,
                finish=finish,
                upstream_us=upstream_us,
                total_us=int((self._clock.monotonic() - began) * 1e6),
                system_fingerprint=system_fingerprint,
            )
        )
        attempts.clear()


def _may_pass(error: OstinatoError) -> bool:
    """Whether asking again later may help."""
    if isinstance(error, ProviderFailure):
        return error.failure in _TRANSIENT
    return isinstance(error, Unavailable) and error.code in ("targets_busy", "targets_unavailable")
