"""What is asked at night: a model its probe questions, a judge its gold set, two days' questions whether they agree.

Each asks once a day, from ``night_hour`` on. What it finds is fed to its detector together with the mark that this
night is done, so that a process that dies asks again, and one that lives does not.
"""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from ostinato.access import SystemActor
from ostinato.calls import Asked, Budget, Calls, Limits
from ostinato.cases.model import Alarm
from ostinato.core import hashing, ids
from ostinato.core.errors import OstinatoError
from ostinato.datasets import Datasets
from ostinato.monitoring import kinds, nightly, store
from ostinato.monitoring.model import DAY, Declared, Observation, Series
from ostinato.monitoring.sampling import Vectors
from ostinato.monitoring.watching import Watch
from ostinato.scorers import building, calibrating
from ostinato.scorers import calibration as calibration_of
from ostinato.scorers.model import Score, Subject
from ostinato.scorers.registry import Registry as Scorers
from ostinato.wire.model import ChatRequest, Message, Text

ACTOR = SystemActor("monitoring")
_AT_ONCE = 4
_CALLS_EACH = 10
_NIGHTS = 3
"""Nights in a row in which nothing could be asked, from which on it is an alarm."""

_log = logging.getLogger(__name__)


class Nights:
    """Asks what is to be asked, for the process that watches."""

    def __init__(self, watch: Watch, calls: Calls, scorers: Scorers, datasets: Datasets, vectors: Vectors) -> None:
        self._watch = watch
        self._calls = calls
        self._scorers = scorers
        self._datasets = datasets
        self._vectors = vectors
        self._lock = asyncio.Lock()
        self.failed: Mapping[str, str] = {}
        """Nightly detector -> why it could not ask, the last time."""

    async def look(self) -> None:
        """Ask whatever was not asked tonight. One that fails is told of, and asks again tomorrow."""
        async with self._lock:
            await self._look()

    async def _look(self) -> None:
        now = self._watch.clock.now()
        day = now // DAY
        if now % DAY < self._watch.settings.night_hour * 3_600_000_000:
            return
        declared = self._declared()
        failed = {name: why for name, why in self.failed.items() if name in {_name(one) for one in declared}}
        for one in declared:
            mark = f"night {store.key_of(one.name, one.declared.kind, one.version, Series(one.org, one.project))}"
            if self._had(mark, day):
                continue
            try:
                await (self._probe if one.declared.kind == "probes" else self._judge)(one, mark, day)
                failed.pop(_name(one), None)
            except OstinatoError as error:
                failed[_name(one)] = error.code
                _log.warning("The detector %s of project %s could not ask: %s", one.name, one.project, error.sentence)
                await self._silent(one, mark, day)
            except store.Lost:
                raise
            except Exception as error:
                # Whatever it is, it has had its night: else it would ask, and pay, again at every look.
                failed[_name(one)] = type(error).__name__
                _log.warning("The detector %s of project %s failed (%s).", one.name, one.project, type(error).__name__)
                await self._silent(one, mark, day)
        if not self._had("night vectors", day):
            await self._vectors.compare()
            await self._watch.mark({"night vectors": day})
        self.failed = failed

    def _had(self, mark: str, day: int) -> bool:
        """Whether this night was had; one that lies far ahead was had while a clock was wrong."""
        return day <= self._watch.night_of(mark) <= day + 1

    async def _silent(self, one: Declared, mark: str, day: int) -> None:
        """It could not ask: after some nights in a row that is an alarm of its own."""
        nights = self._watch.night_of(f"failed {mark}") + 1
        now = self._watch.clock.now()
        alarm = Alarm(
            id=ids.new(now),
            at=now,
            org=one.org,
            project=one.project,
            kind="missing-data",
            detector=one.name,
            title="A nightly detector cannot ask.",
            intent=one.declared.intent,
            statistic=float(nights),
            threshold=float(_NIGHTS),
            evidence={"nights": nights},
        )
        await self._watch.mark({mark: day, f"failed {mark}": nights}, [alarm] if nights == _NIGHTS else ())

    def _declared(self) -> list[Declared]:
        projects = self._watch.registry.snapshot.value.projects.values()
        asking = ("probes", "judge")
        return [one for some in projects for one in some if one.declared.enabled and one.declared.kind in asking]

    async def _probe(self, one: Declared, mark: str, day: int) -> None:
        """Ask the probe questions at temperature 0."""
        config: nightly.Probes = kinds.configured(kinds.find("probes"), one.declared.config)
        budget = Budget(Limits(calls=config.most_calls))
        questions = (config.questions or nightly.QUESTIONS)[: config.most_calls]
        places = asyncio.Semaphore(_AT_ONCE)

        async def ask(question: str) -> Observation:
            request = ChatRequest(
                model=config.model,
                messages=(Message("user", (Text(question),)),),
                temperature=0.0,
                max_tokens=config.max_tokens,
            )
            asked = Asked(
                org=one.org,
                project=one.project,
                alias=config.model,
                request=request,
                purpose="probe",
                # So named, the journal keeps what it cost, and no answer: every night is asked anew.
                namespace=f"sample-probes-{one.id}-{one.version}-{day}",
                intent=one.declared.intent,
                fallbacks=False,
            )
            async with places:
                called = await self._calls.ask(asked, budget)
            return Observation(self._watch.clock.now(), label=f"{_digest(question)}:{_digest(called.text)}")

        found = tuple(await asyncio.gather(*map(ask, questions)))
        series = Series(one.org, one.project, one.declared.intent, part=config.model)
        await self._watch.observe("probes", series, found, {mark: day, f"failed {mark}": 0}, only=one.name)

    async def _judge(self, one: Declared, mark: str, day: int) -> None:
        """Have the judge judge its gold set anew."""
        config: nightly.Gold = kinds.configured(kinds.find("judge"), one.declared.config)
        scorer = await self._scorers.show(ACTOR, config.scorer, project=one.project)
        version = await self._datasets.version(ACTOR, config.dataset, config.number, project=one.project)
        examples = await self._datasets.load(version.id, ("train", "dev"))
        pairs = calibrating.pairs(scorer, examples)[: config.items]
        context = msgspec.structs.replace(
            self._scorers.contexts(one.org, one.project),
            namespace=f"sample-gold-{one.id}-{one.version}-{day}",
            budget=Budget(Limits(calls=_CALLS_EACH * max(1, len(pairs)))),
        )
        built = building.build(scorer.spec, context)
        places = asyncio.Semaphore(_AT_ONCE)

        async def score(subject: Subject) -> Score:
            async with places:
                (told,) = await building.score_all([built], subject)
                return told

        scores = await asyncio.gather(*(score(subject) for subject, _ in pairs))
        told = await asyncio.to_thread(
            calibration_of.calibrate, built.id, scores, [value for _, value in pairs], cut=config.cut
        )
        series = Series(one.org, one.project, one.declared.intent, part=scorer.name)
        found = Observation(self._watch.clock.now(), told.kappa, n=max(1, told.n))
        await self._watch.observe("gold", series, (found,), {mark: day, f"failed {mark}": 0}, only=one.name)


def _name(one: Declared) -> str:
    return f"{one.project}/{one.name}"


def _digest(text: str) -> str:
    """Of a text without what means nothing: case, white space, a full stop at its end."""
    plain = " ".join(text.lower().split()).rstrip(".!")
    return hashing.digest(plain.encode("utf-8", "replace")).hex()[:16]
