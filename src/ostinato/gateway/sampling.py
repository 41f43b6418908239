"""Scoring a sampled share of the traffic, off the path of requests.

A request is drawn by the random bits of its id, so that a hit costs one comparison while nothing is sampled, and two
while something is. What was drawn waits in a bounded queue, with references to bytes that are there anyway; its texts
are held in memory until it is scored, and are written nowhere. Scores become signals, and quality of cache entries.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import msgspec

from ostinato import checks, scorers, wire
from ostinato.access import Caller
from ostinato.cache import ResponseCache, Selector
from ostinato.cache.memory import Entry
from ostinato.calls import Budget, Limits
from ostinato.calls.model import PASSING
from ostinato.core import hashing, ids
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.gateway.referring import Referred, Referrer
from ostinato.gateway.replies import About
from ostinato.gateway.turn import CHAT_WIRES, Turn
from ostinato.scorers import Active, Built, Registry, Score, Settings, Spec, Subject
from ostinato.signals import Signal, Signals
from ostinato.wire.model import Answer, ChatRequest, Json, Usage

_log = logging.getLogger("ostinato.gateway")

_DAY_US = 86_400_000_000
_KNOWN = 4096
"""Scores of judges that are remembered: a repeated answer is not paid for again."""
_BUILT = 512
_PATHS = {
    b"/v1/chat/completions": "openai.chat",
    b"/v1/messages": "anthropic.messages",
    b"/v1/responses": "openai.responses",
}


class Sample(msgspec.Struct, frozen=True):
    """An answer that was drawn."""

    request_id: str
    caller: Caller
    about: About
    arm: str
    rules: tuple[Active, ...]
    wire: str
    body: bytes
    """Of the request, where it was answered without being read."""
    request: ChatRequest | None
    variables: Json | None
    answer: bytes | Answer
    usage: Usage | None
    cost: int | None
    latency_us: int
    entry: Entry | None
    origin: str
    """Of a repeated answer: the request that it was made for."""
    subject: str = ""
    """Digest of the end user."""
    group: str = ""
    """Of the conversation."""

    @property
    def weight(self) -> int:
        """Bytes that it keeps alive, roughly."""
        answer = self.answer
        size = len(answer) if isinstance(answer, bytes) else 64 * len(answer.events)
        return 1024 + len(self.body) + size


def about(turn: Turn) -> About:
    """What a turn is about."""
    prompt = turn.prompt
    return About(
        turn.intent,
        prompt.prompt if prompt else "",
        prompt.number if prompt else 0,
        prompt.release if prompt else "",
        turn.fingerprint[:16].hex(),
    )


class Sampler:
    """Draws, queues and scores. Without a registry it never draws."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        registry: Registry,
        *,
        signals: Signals,
        cache: ResponseCache,
        referrer: Referrer | None = None,
    ) -> None:
        """``referrer``: who has people look at what rules with a review queue have drawn."""
        self.referrer = referrer
        self.bar = 0
        """A request whose 32 random bits are below it may be drawn; 0: nothing is sampled."""
        self._settings = settings
        self._clock = clock
        self._registry = registry
        self._signals = signals
        self._cache = cache
        self._queue: asyncio.Queue[Sample] = asyncio.Queue(settings.queue)
        self._bytes = 0
        self._workers: list[asyncio.Task[None]] = []
        self._built: OrderedDict[bytes, Built] = OrderedDict()
        self._known: OrderedDict[bytes, Score] = OrderedDict()
        self._day = -1
        self._budget = Budget(Limits(calls=settings.judge_calls))
        self.drawn = self.dropped = self.scored = self.unscored = self.failed = self.quarantined = 0

    def start(self) -> None:
        """Begin to follow the rules and to score."""
        self._registry.sampling.on_swap(lambda _: self._follow())
        if self._registry.sampling.epoch:
            self._follow()
        loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work()) for _ in range(self._settings.concurrency)]

    async def stop(self) -> None:
        """Score no more; what waits is counted as dropped."""
        self.bar = 0
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []
        self.dropped += self._queue.qsize()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._bytes = 0

    @property
    def depth(self) -> int:
        """Samples that wait."""
        return self._queue.qsize()

    async def drain(self) -> None:
        """Wait until everything that was drawn so far is scored."""
        await self._queue.join()

    def _follow(self) -> None:
        self.bar = self._registry.sampling.value.bar
        self._built.clear()

    # --- drawing --------------------------------------------------------------------------------------------------

    def answered(
        self, turn: Turn, answer: Answer, *, usage: Usage | None, cost: int | None, latency_us: int, entry: Entry | None
    ) -> None:
        """A model has answered."""
        if int(turn.request_id[24:], 16) < self.bar:
            self._draw_turn(turn, answer, usage, cost, latency_us, entry, "")

    def repeated(self, turn: Turn, entry: Entry, latency_us: int) -> None:
        """An answer was repeated, on the ordinary path."""
        if int(turn.request_id[24:], 16) < self.bar:
            self._draw_turn(turn, entry.answer, None, 0, latency_us, entry, entry.origin)

    def shortcut(
        self,
        caller: Caller,
        request_id: str,
        path: bytes,
        body: bytes,
        entry: Entry,
        told: About,
        arm: str,
        latency_us: int,
    ) -> None:
        """An answer was repeated before its request was read."""
        rules = self._rules(caller.project, told, request_id)
        if not rules:
            return
        self._offer(
            Sample(
                request_id=request_id,
                caller=caller,
                about=told,
                arm=arm,
                rules=rules,
                wire=_PATHS.get(path, "openai.chat"),
                body=body,
                request=None,
                variables=None,
                answer=entry.answer,
                usage=None,
                cost=0,
                latency_us=latency_us,
                entry=entry,
                origin=entry.origin,
            )
        )

    def _draw_turn(
        self,
        turn: Turn,
        answer: bytes | Answer,
        usage: Usage | None,
        cost: int | None,
        latency_us: int,
        entry: Entry | None,
        origin: str,
    ) -> None:
        caller = turn.caller
        if caller is None or turn.hold is not None:
            return  # what waits for a person's word is judged by that
        told = about(turn)
        rules = self._rules(caller.project, told, turn.request_id)
        if not rules:
            return
        self._offer(
            Sample(
                request_id=turn.request_id,
                caller=caller,
                about=told,
                arm="" if turn.prompt is None else turn.prompt.arm,
                rules=rules,
                wire=CHAT_WIRES.get(turn.operation, "openai.chat"),
                body=b"",
                request=turn.request,
                variables=turn.variables,
                answer=answer,
                usage=usage,
                cost=cost,
                latency_us=latency_us,
                entry=entry,
                origin=origin,
                subject=turn.user_digest,
                group=f"session:{turn.session}" if turn.session else "",
            )
        )

    def _rules(self, project: str, told: About, request_id: str) -> tuple[Active, ...]:
        """The rules that draw this request; of a project they are few."""
        bits = int(request_id[24:], 16)
        rules = self._registry.sampling.value.rules.get(project, ())
        return tuple(one for one in rules if bits < one.bar and _matches(one, told))

    def _offer(self, sample: Sample) -> None:
        self.drawn += 1
        weight = sample.weight
        if self._bytes + weight > self._settings.queue_bytes or self._queue.full():
            self.dropped += 1
            return
        self._bytes += weight
        self._queue.put_nowait(sample)

    # --- scoring --------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            sample = await self._queue.get()
            try:
                await self._score(sample)
            except asyncio.CancelledError:
                self.dropped += 1
                raise
            except Exception as error:
                # Never the error itself: it may hold a text.
                self.failed += 1
                _log.warning("A sampled answer could not be scored (%s).", type(error).__name__)
            finally:
                self._bytes -= sample.weight
                self._queue.task_done()

    async def _score(self, sample: Sample) -> None:
        subject = _subject(sample)
        specs = {scorers.name_of(spec): spec for one in sample.rules for spec in one.specs}
        scores = await self._scores(sample, subject, list(specs.values()))
        self._tell(sample, scores)
        await self._grade(sample, scores, specs)
        await self._refer(sample, subject, scores)

    async def _scores(self, sample: Sample, subject: Subject, specs: Sequence[Spec]) -> list[Score]:
        """Ask the scorers; judges only for what they have not judged yet."""
        asked = [self._scorer(sample, spec) for spec in specs]
        said = hashing.digest(
            sample.caller.project.encode(),
            subject.input_text.encode("utf-8", "replace"),
            subject.output.encode("utf-8", "replace"),
        )
        keys = [hashing.digest(said, one.id.encode()) if one.patient else b"" for one in asked]
        known = {at: score for at, key in enumerate(keys) if key and (score := self._known.get(key)) is not None}
        fresh = [at for at in range(len(asked)) if at not in known]
        told = await scorers.score_all(
            [asked[at] for at in fresh], subject, timeout=self._settings.timeout, patient=False
        )
        for at, score in zip(fresh, told, strict=True):
            known[at] = score
            if keys[at] and score.value is not None:
                self._known[keys[at]] = score
                while len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
        return [known[at] for at in range(len(asked))]

    def _scorer(self, sample: Sample, spec: Spec) -> Built:
        """A judge is made for one sample, whose journal is its own; every other scorer is made once."""
        caller = sample.caller
        key = hashing.digest_of([caller.project, msgspec.to_builtins(spec)])
        found = self._built.get(key)
        if found is not None:
            return found
        context = msgspec.structs.replace(
            self._registry.contexts(caller.org, caller.project), budget=self._purse(), namespace=_namespace(sample)
        )
        built = scorers.build(spec, context)
        if not built.patient:
            self._built[key] = built
            while len(self._built) > _BUILT:
                self._built.popitem(last=False)
        return built

    def _purse(self) -> Budget:
        """What judges may still spend today."""
        day = self._clock.now() // _DAY_US
        if day != self._day:
            self._day, self._budget = day, Budget(Limits(calls=self._settings.judge_calls))
        return self._budget

    def _tell(self, sample: Sample, scores: Sequence[Score]) -> None:
        """Scores become signals; what is unscored is counted."""
        now, caller, told = self._clock.now(), sample.caller, sample.about
        found: list[Signal] = []
        for score in scores:
            name = score.scorer.rpartition("@")[0]
            if score.value is None:
                self.unscored += 1
                continue
            self.scored += 1
            found.append(
                Signal(
                    id=ids.new(now),
                    request_id=sample.request_id,
                    at=now,
                    org=caller.org,
                    project=caller.project,
                    source="scorer",
                    name=name,
                    value=score.value,
                    label=checks.redact(score.label),
                    # Judges quote what they judge.
                    comment=checks.redact(score.rationale) if caller.store_text and score.rationale else None,
                    weight=self._weight(sample, name),
                    scorer=score.scorer,
                    prompt=told.prompt,
                    prompt_version=told.number,
                    release=told.release,
                    arm=sample.arm,
                    intent=told.intent,
                    entry=told.fingerprint,
                    origin=sample.origin,
                    actor="system:scorers",
                )
            )
        if found:
            self._signals.record(found)

    def _weight(self, sample: Sample, scorer: str) -> float:
        """One over the chance that this scorer looked: rules draw by the same bits, so the widest decides."""
        rules = self._registry.sampling.value.rules.get(sample.caller.project, ())
        shares = [
            one.rule.share
            for one in (*rules, *sample.rules)
            if scorer in one.rule.scorers and _matches(one, sample.about)
        ]
        return 1.0 / max(shares)

    async def _refer(self, sample: Sample, subject: Subject, scores: Sequence[Score]) -> None:
        """Have people look at it where a rule says so; a repeated answer had its chance when it was given first."""
        if self.referrer is None or sample.origin or not sample.caller.store_text:
            return
        entry, told = sample.entry, sample.about
        for one in sample.rules:
            if one.rule.review:
                referred = Referred(
                    request_id=sample.request_id,
                    intent=told.intent,
                    prompt=told.prompt,
                    prompt_version=told.number,
                    subject=sample.subject,
                    group=sample.group,
                    entry="" if entry is None else self._cache.entry_name(entry.key, entry.scope),
                    said=subject,
                )
                await self.referrer.refer(referred, one, scores)

    # --- quality of entries ---------------------------------------------------------------------------------------

    async def _grade(self, sample: Sample, scores: Sequence[Score], specs: dict[str, Spec]) -> None:
        """Write the quality onto the stored answer; withdraw it where a rule says that it is not good enough."""
        entry = sample.entry
        if entry is None or entry.withdrawn:
            return
        for one in sample.rules:
            mean = scorers.mean(scores, one.specs)
            bound = one.rule.quarantine if one.rule.quarantine is not None else self._settings.quarantine
            if mean is not None and bound is not None and mean < bound:
                await self._quarantine(sample, entry, one, mean)
                return
        mean = scorers.mean(scores, list(specs.values()))
        if mean is not None and not entry.withdrawn:
            before: Json = entry.meta().quality or {}
            n = int(before.get("n", 0))
            value = (float(before.get("value", 0.0)) * n + mean) / (n + 1)
            self._cache.grade(entry, {**before, "value": round(value, 6), "n": n + 1})

    async def _quarantine(self, sample: Sample, entry: Entry, rule: Active, mean: float) -> None:
        caller = sample.caller
        name = self._cache.entry_name(entry.key, entry.scope)
        await self._cache.invalidate(Selector(org=caller.org, project=caller.project, entry=name), dry_run=False)
        self.quarantined += 1
        facts: dict[str, str | int] = {"rule": rule.rule.name, "value_per_mille": round(mean * 1000)}
        try:
            await self._registry.quarantined(caller.org, caller.project, name, facts)
        except OstinatoError as error:
            _log.warning("A withdrawn answer could not be written down: %s", error.message)


def _matches(active: Active, told: About) -> bool:
    rule = active.rule
    return (not rule.intent or rule.intent == told.intent) and (not rule.prompt or rule.prompt == told.prompt)


def _namespace(sample: Sample) -> str:
    """Of its judges' calls: they quote what they judge, so that what they cost is kept, and never what they said."""
    return f"{PASSING}{sample.request_id}"


def _subject(sample: Sample) -> Subject:
    """What scorers see. A request that was not read yet is read now."""
    request, variables = sample.request, sample.variables
    if request is None:
        body = msgspec.json.decode(sample.body)
        request = wire.codec(cast("wire.WireName", sample.wire)).read_request(body)
        given: object = (request.prompt or {}).get("variables")
        variables = cast("Json", given) if isinstance(given, dict) else None
    answer = sample.answer if isinstance(sample.answer, Answer) else wire.decode_answer(sample.answer)
    summary = wire.summary(answer)
    return Subject(
        output=wire.text_of(answer),
        inputs=variables or {},
        input_text=wire.input_text(request),
        answer=answer,
        finish=summary.finish or "",
        usage=sample.usage or summary.usage,
        cost=sample.cost,
        latency_us=sample.latency_us,
        request_id=sample.request_id,
    )
