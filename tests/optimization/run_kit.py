"""A gateway inside the test's process: a model that a better prompt helps, a dataset, a prompt, and runs on them."""

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from blake3 import blake3

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside

from ostinato import access, datasets, evals, prompts
from ostinato.core.clock import SystemClock
from ostinato.datasets.model import NewExample
from ostinato.jobs import JobState
from ostinato.optimization import Optimizations, Rooms, Settings, Wish, binding, proving
from ostinato.optimization.reviewing import Reviewing
from ostinato.prompts import Draft
from ostinato.prompts.model import Turn
from ostinato.providers.fake import Fake
from ostinato.providers.model import ChatCall, ChatReply, ProviderFailure
from ostinato.releases.rights import standing_rights
from ostinato.scorers.model import Spec
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Text, Usage

PROMPT = "paint/colour"
LABELS = ("blue", "green", "red")
BETTER, WORSE = "Answer with one word", "Take your time"


def truth(item: str) -> str:
    return LABELS[blake3(item.encode()).digest()[0] % len(LABELS)]


def luck(item: str) -> float:
    return int.from_bytes(blake3(b"luck" + item.encode()).digest()[:4], "big") / 2**32


def shared(one: str, other: str) -> int:
    """Characters with which both begin."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)


class Painter(Fake):
    """Knows the colour of an item more often the better it is asked."""

    def __init__(self, clock: Any) -> None:
        super().__init__("fake", "", clock)
        self.base, self.gain = 0.55, 0.3
        self.asked: list[str] = []
        self.around = 0
        """Tokens that it counts around each message, as a model's template has them."""
        self.away = False
        self.hook: Any = None

    async def chat(self, call: ChatCall) -> ChatReply:
        if self.hook is not None:
            await self.hook(call)
        if self.away:
            raise ProviderFailure("fake is away.", failure="server")
        text = "\n".join(b.text for m in call.request.messages for b in m.content if isinstance(b, Text))
        self.asked.append(text)
        # As a provider's prefix cache has it: what begins as the request before is not computed again.
        cached = shared(self.asked[-2] if len(self.asked) > 1 else "", text) // 4
        around = self.around * len(call.request.messages)
        item = text.rsplit("item ", 1)[1].split()[0].strip(".?!")
        right = luck(item) < self.skill(text)
        answer = truth(item) if right else LABELS[(LABELS.index(truth(item)) + 1) % len(LABELS)]
        events = (
            Start(call.model), BlockStart(0, "text"), Delta(0, answer), BlockStop(0), Finish("stop"),
            Usage(input=len(text) // 4 + 1 - cached + around, cache_read=cached, output=1),
        )  # fmt: skip
        return ChatReply(Answer(self.wire, events), {}, 0.001)

    def skill(self, text: str) -> float:
        """The chance of a right answer: examples help."""
        shown = sum(text.count(f"{name}\n") for name in LABELS) + text.count("item ") - 1
        return self.base + (self.gain if shown >= 2 else 0.0)


def examples(count: int, start: int = 0) -> list[NewExample]:
    return [
        NewExample(inputs={"thing": f"item a{number}"}, reference=truth(f"a{number}"))
        for number in range(start, start + count)
    ]


async def uncalibrated(_run: Any, _specs: Any) -> tuple[Any, ...]:
    return ()


class Queue:
    """Jobs that nobody carries out by himself: tests do."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.standing = "queued"

    async def enqueue(self, name: str, subject_id: str, *, key: str) -> str:
        if key not in self.keys:
            self.keys.append(key)
        return key

    async def state(self, job_id: str) -> JobState:
        return JobState(id=job_id, name="optimization", subject=job_id[:32], state=self.standing)


class Kit:
    """What tests of runs hold in their hands."""

    def __init__(self, world: World, runs: Optimizations, rooms: Rooms, data: datasets.Datasets) -> None:
        self.world = world
        self.runs = runs
        self.rooms = rooms
        self.data = data
        self.queue: Any = rooms.jobs
        self.project = ""

    @property
    def painter(self) -> Painter:
        found = self.world.app.providers["fake"]
        assert isinstance(found, Painter)
        return found

    def wish(self, **more: Any) -> Wish:
        wanted = {
            "prompt": PROMPT,
            "dataset": "colours",
            "scorers": (Spec(kind="label", config={"labels": list(LABELS)}),),
        }
        return Wish(**{**wanted, **more})

    async def caller(self, *permissions: str) -> access.Caller:
        """Somebody of the project; with every permission of an owner where none are named."""
        wanted = frozenset(permissions) if permissions else access.permissions.ROLES["owner"]
        secret = await self.world.new_key(self.project, permissions=wanted)
        return self.world.app.access.authenticate(secret, self.world.clock.now())

    async def finished(self, actor: Any, **more: Any) -> Any:
        """A run from start to end."""
        run = await self.runs.start(actor, self.wish(**more), self.project)
        return await self.runs.carrier.carry_on(run.id)

    def journal(self) -> list[Any]:
        return self.world.app.work.query(lambda c: c.exec_driver_sql("SELECT * FROM paid_call").mappings().all())


def build(world: World, kit: list[Kit], **options: Any) -> Kit:
    """Runs over the rooms of a world."""
    app = world.app
    queue = Queue()
    data = options.pop("data", None) or datasets.Datasets(app.control, app.clock, app.audit)

    async def evaluated(release: Any, run: Any, decision: Any) -> None:
        pass

    if options.pop("real_calibrations", False):
        options["calibrations"] = binding.calibrations(lambda: app.scorers, app.scoring)
    runner = evals.Runner(app.calls, app.clock)
    rooms = Rooms(
        control=app.control,
        work=app.work,
        log=app.audit,
        clock=app.clock,
        prompts=app.prompts,
        releases=app.releases,
        data=binding.Data(data),
        measuring=binding.Measuring(app.calls, runner, app.scoring, 8),
        searching=binding.searching(app.prompts),
        judging=options.pop("judging", proving.judge),
        provable=binding.PROVABLE,
        calibrations=options.pop("calibrations", uncalibrated),
        declared=binding.declared(lambda: app.scorers),
        requirements_of=app.requirements_of,
        slices_of=lambda _project, _intent: (),
        catalog=app.catalog,
        prices=app.prices,
        rights=standing_rights,
        evaluated=evaluated,
        jobs=queue,
        settings=Settings(**{"min_examples": 20, "calls": 400, **options.pop("settings", {})}),
        reviewing=Reviewing(app.reviews) if options.pop("people", False) else None,
        **options,
    )
    kit.insert(0, Kit(world, Optimizations(rooms), rooms, data))
    return kit[0]


@contextlib.asynccontextmanager
async def opened(count: int = 300, extra: str = "", clock: Any = None, **options: Any) -> AsyncIterator[Kit]:
    """A world with a prompt in production, a dataset of ``count`` examples, and runs."""
    async with inside(extra, clock or SystemClock()) as world:
        world.app.providers["fake"] = Painter(world.clock)
        kit = build(world, [], **options)
        kit.project = await world.first_project()
        await prepare(kit, count)
        yield kit


async def prepare(kit: Kit, count: int) -> None:
    """A prompt in production, and a dataset of ``count`` examples."""
    app, home = kit.world.app, kit.project
    draft = Draft(
        messages=(Turn("system", "Say the colour."), Turn("user", "{{thing}}")),
        params={"model": "plain", "max_tokens": 8},
    )
    await app.prompts.create(SYSTEM, home, PROMPT, draft=draft)
    await place(kit, 1)
    if count:
        await kit.data.create(SYSTEM, "colours", project=home, examples=examples(count))


async def place(kit: Kit, number: int, label: str = "production") -> None:
    """Point a label at a version, as nobody but a test may."""
    app, now = kit.world.app, kit.world.clock.now()

    def work(connection: Any) -> None:
        prompts.assign(
            connection, project=kit.project, prompt=PROMPT, label=label, number=number, actor=SYSTEM, now=now
        )
        app.notices.mark(connection, prompts.TOPIC)

    await app.control.run(work)
    await app.prompts.snapshot.reload()
