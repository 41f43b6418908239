"""The room's one object with a life: :class:`Families` watches the ledger's rows and some answers."""

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from ostinato import wire
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.embeddings import Embedder
from ostinato.families import store
from ostinato.families.key import data_of
from ostinato.families.listing import Listing
from ostinato.families.meaning import Chosen, Meaning
from ostinato.families.memory import Memory
from ostinato.families.model import Figures, Sample
from ostinato.families.reservoir import Reservoir
from ostinato.families.seen import Seen, of_batch, print_of
from ostinato.families.settings import Settings
from ostinato.families.store import Clockwork
from ostinato.storage import Database, Notices
from ostinato.traces import CallRow, HitRow
from ostinato.traces.rollup import Cells, Origin
from ostinato.traces.write import find_origins
from ostinato.wire.model import Answer, ChatRequest, Text

_LOG = logging.getLogger(__name__)

TOPIC = "families"
"""Of notices: whose texts are to be forgotten."""
_BATCHES = 1_000
"""Batches of the ledger that may wait; a database that is away for longer costs counts, and says so."""
_GRACE = 600_000_000
"""Microseconds after its end in which a window may still be written to by slower processes."""
_LARGE = 65_536
"""Characters of a request from which on no more than ``_LARGE_ONES`` may wait: bodies have megabytes."""
_LARGE_ONES = 50
_ANY = 1 << 62
_PAUSE = 0.2
_RETRY = 1.0
"""Seconds, at least, between two tries of a database that fails."""


class _Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer on its way to being looked at."""

    org: str
    project: str
    family: str
    fingerprint: str
    user: str
    alias: str
    intent: str
    prompt: str
    version: int
    request: ChatRequest
    answer: Answer
    at: int
    size: int
    """Characters of the whole request, as far as it is text; what is not, counts as too much."""


class _Compared(msgspec.Struct, frozen=True, gc=False):
    org: str
    project: str
    family: str
    age_us: int
    agreed: bool


class _Meant(msgspec.Struct, frozen=True, gc=False):
    org: str
    project: str
    family: str
    near: bool


class Families:
    """What is known of every family. ``answered`` and the watcher's methods never wait and never raise.

    One thread adds up what comes and writes it down; what waits is bounded, and what is passed over is counted.
    """

    def __init__(self, database: Database, clock: Clock, settings: Settings, *, seed: int | None = None) -> None:
        settings.check()
        self.settings = settings
        self.clock = clock
        self._database = database
        self._clockwork = Clockwork(int(settings.window_hours * 3_600e6), int(settings.half_life_days * 86_400e6))
        self._writer = ids.new(clock.now())
        self._batches: deque[list[Seen]] = deque()
        self._answers: deque[_Answered | _Compared | _Meant] = deque()
        rng = random.Random(seed)  # noqa: S311 - draws samples, guards nothing
        self._reservoir = Reservoir(settings.samples, rng)
        self._memory = Memory(settings, self._clockwork.at(clock.now()))
        self._listing = Listing(self._clockwork, settings.most_altogether)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._tried_at = clock.monotonic()
        self.meaning: Meaning | None = None
        """What compares questions by their meaning; none: MinHash alone."""
        self._notices: Notices | None = None
        self._unfollow: Callable[[], None] | None = None
        self.answered_by: dict[str, int] = {}
        """Answers of models that were told of, by project."""
        self.dropped = 0
        """Batches and answers that were passed over because too many came or waited."""
        self._second = self._looks = 0
        self.late = 0
        """Families of a window that this process could not write before it was closed."""
        self.failing = ""
        """Why the last write failed; empty while all is well."""

    # -- in: from the event loop and the ledger's thread -----------------------------------------------------------

    def observe_call(self, row: CallRow) -> None:
        """Nothing: batches are enough."""

    def observe_batch(
        self, hits: list[HitRow], calls: list[CallRow], origins: Mapping[str, Origin], cells: Cells
    ) -> None:
        """A batch of the ledger, in its writer's thread."""
        del cells
        if not self.settings.enabled:
            return
        if len(self._batches) >= _BATCHES:
            self.dropped += 1
            return
        found = of_batch(hits, calls, origins)
        if found:
            self._batches.append(found)

    def answered(
        self,
        org: str,
        project: str,
        family: str,
        fingerprint: str,
        request: ChatRequest,
        answer: Answer,
        *,
        user: str = "",
        alias: str = "",
        intent: str = "",
        prompt: str = "",
        version: int = 0,
    ) -> None:
        """A model has answered. The texts stay in memory, and only for as long as they are compared."""
        if not self.settings.enabled or not family:
            return
        self.answered_by[project] = self.answered_by.get(project, 0) + 1
        waiting = len(self._answers)
        if waiting >= self.settings.queue or not self._may_look():
            self.dropped += 1
            return
        size = _size(request)  # walks the whole request: only where it may be looked at
        if size > _LARGE and waiting >= _LARGE_ONES:
            self.dropped += 1
            return
        self._answers.append(
            _Answered(
                org,
                project,
                family,
                fingerprint,
                user,
                alias,
                intent,
                prompt,
                version,
                request,
                answer,
                self.clock.now(),
                size,
            )
        )

    def _may_look(self) -> bool:
        """Whether this second has room for one more."""
        second = int(self.clock.monotonic())
        if second != self._second:
            self._second, self._looks = second, 0
        self._looks += 1
        return self._looks <= self.settings.looked_per_second

    def compared(self, org: str, project: str, family: str, age_us: int, agreed: bool) -> None:
        """An answer was asked for again, and says the same or not."""
        self._answers.append(_Compared(org, project, family, age_us, agreed))

    def samples(self, most: int, project: str = "") -> list[Sample]:
        """Requests of different families with their answers, to be asked again; left out: of all projects. Blocking."""
        with self._lock:
            return self._reservoir.some(most, project)

    def forget(self, project: str, user: str) -> int:
        """Drop what an end user (digest) asked; gives how many requests there were. Blocking, shortly.

        With no user, what anybody in the project asked: whose the requests of a conversation were is not kept here.
        """
        with self._lock:
            # Meanwhile more may be appended: once around, and what is not theirs is appended again.
            for _ in range(len(self._answers)):
                one = self._answers.popleft()
                if not (isinstance(one, _Answered) and one.project == project and user in ("", one.user)):
                    self._answers.append(one)
            if self.meaning is not None:
                self.meaning.forget(project, user)
            return self._reservoir.forget(project, user)

    def follow(self, notices: Notices) -> None:
        """Forget what other processes are told to forget, and tell them."""
        self._notices = notices
        self._unfollow = notices.subscribe(TOPIC, self._heard)

    async def forget_everywhere(self, project: str, user: str) -> int:
        """The same in every process: here when this returns, elsewhere within seconds. Gives how many were here."""
        gone = await asyncio.to_thread(self.forget, project, user)
        if self._notices is not None:
            self._notices.publish(TOPIC, f"{project} {user}")
        return gone

    def _heard(self, detail: str) -> None:
        """Another process has forgotten somebody; after a time of not hearing nobody knows whom: then everything."""
        project, _, user = detail.partition(" ")
        # In a thread: whoever adds up may be waiting for a database.
        threading.Thread(target=self._forget_heard, args=(project, user), name="ostinato-forget", daemon=True).start()

    def _forget_heard(self, project: str, user: str) -> None:
        if project:
            self.forget(project, user)
            return
        with self._lock:
            kept = [one for one in iter(self._next, None) if not isinstance(one, _Answered)]
            self._answers.extend(kept)
            if self.meaning is not None:
                self.meaning.forget("", "")
            self._reservoir.clear()

    def _next(self) -> "_Answered | _Compared | _Meant | None":
        return self._answers.popleft() if self._answers else None

    # -- life ------------------------------------------------------------------------------------------------------

    def compare_by(self, embedder: Embedder) -> None:
        """Compare some questions by their meaning, too; before ``start``."""
        if self.settings.enabled and self.settings.meant_per_second:
            self.meaning = Meaning(embedder, self.clock, self.settings.meant_per_second, self._meant)

    def _meant(self, one: Chosen, near: bool) -> None:
        self._answers.append(_Meant(one.org, one.project, one.family, near))

    def start(self) -> None:
        """Begin to add up."""
        if self.meaning is not None:
            self.meaning.start()
        self._thread = threading.Thread(target=self._run, name="ostinato-families", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what was seen, and end."""
        self._stopping = True
        self._wake.set()
        if self._unfollow is not None:
            self._unfollow()
        if self.meaning is not None:
            await self.meaning.stop()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(self.flush)

    def flush(self) -> bool:
        """Add up and write everything that came so far; whether it worked. Blocking."""
        self._tried_at = self.clock.monotonic()
        try:
            with self._lock:
                self._add_up()
                self._write()
        except Exception as error:  # whatever it is, it must not end the thread
            if not self.failing:
                _LOG.warning("Families cannot be written; they wait in memory. %s", error)
            self.failing = str(error) or type(error).__name__
            return False
        self.failing = ""
        return True

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_PAUSE)
            if self._stopping:
                break
            waited = self.clock.monotonic() - self._tried_at
            over = self._clockwork.at(self.clock.now()) > self._memory.window
            if waited >= self.settings.write_seconds or (over and waited >= _RETRY):
                self.flush()
            elif not over and (self._batches or self._answers):
                with self._lock:
                    self._attempt()

    def _attempt(self) -> None:
        try:
            self._add_up()
        except Exception:  # a row that is not what it should be costs itself, not the thread
            _LOG.exception("Something that was seen could not be added up.")

    # -- adding up, in the room's thread ---------------------------------------------------------------------------

    def _add_up(self) -> None:
        now = self._clockwork.at(self.clock.now())
        if now > self._memory.window:
            self._close(now)
        while self._batches:
            for one in self._batches.popleft():
                self._memory.saw(one)
        while self._answers:
            one = self._answers.popleft()
            if isinstance(one, _Meant):
                self._memory.meant(one.org, one.project, one.family, one.near, self.meaning.id if self.meaning else "")
            elif isinstance(one, _Compared):
                self._memory.compared(one.org, one.project, one.family, one.age_us, one.agreed)
            else:
                self._look(one)

    def _look(self, one: _Answered) -> None:
        text = data_of(one.request)
        print64 = print_of(one.fingerprint, one.user)
        fresh = self._memory.looked(one.org, one.project, one.family, print64, text)
        self._mean(one, text, fresh)
        if one.request.tools:
            return  # an answer that calls a tool is not compared by its text
        said = wire.text_of(one.answer)
        if not said or len(said) + one.size > self.settings.sample_chars:
            return
        found = self._reservoir.take(
            Sample(
                org=one.org,
                project=one.project,
                family=one.family,
                print64=print64,
                user=one.user,
                alias=one.alias,
                intent=one.intent,
                prompt=one.prompt,
                version=one.version,
                request=msgspec.structs.replace(one.request, original=None, stream=False),
                answer=said,
                at=one.at,
            )
        )
        if found is not None:
            self._memory.compared(one.org, one.project, one.family, *found)

    def _mean(self, one: _Answered, text: str, fresh: bool) -> None:
        meaning = self.meaning
        if meaning is None or not text or not meaning.choose():
            return
        if fresh:
            meaning.offer(Chosen(one.org, one.project, one.family, one.user, text))
        else:
            self._memory.meant(one.org, one.project, one.family, False, meaning.id)

    def _write(self) -> None:
        memory, now = self._memory, self.clock.now()
        states, gone = memory.to_write()
        if states or gone:
            self.late += self._database.transact(
                lambda connection: store.write(connection, self._writer, memory.window, states, gone, now)
            )
            memory.wrote(states)
        closed = self._clockwork.at(now - _GRACE)
        if closed > memory.folded:
            most = self.settings.most
            self._database.transact(lambda connection: store.fold(connection, self._clockwork, closed, now, most))
            memory.folded = closed

    def _close(self, window: int) -> None:
        """The window is over: its last state is written, and the next begins with nothing."""
        self._write()
        self._memory.begin(window)

    # -- out -------------------------------------------------------------------------------------------------------

    async def list(self, project: str) -> tuple[Figures, ...]:
        """The families of a project, those that cost most first: of all processes, of this one to the moment."""
        await asyncio.to_thread(self.flush)
        now = self.clock.now()
        # In the thread that reads: two thousand families that nobody has asked for before take half a second.
        return await self._database.read(lambda connection: self._listing.figures(connection, project, now))

    async def projects(self) -> Sequence[tuple[str, str]]:
        """Organization and project of everything that is known."""
        return await self._database.read(store.projects)

    async def of_requests(self, request_ids: Sequence[str]) -> dict[str, str]:
        """The family of each request that the ledger knows one of."""

        def read(connection: sa.Connection) -> dict[str, str]:
            return {name: one.family for name, one in find_origins(connection, request_ids).items() if one.family}

        return await self._database.read(read)


def _size(request: ChatRequest) -> int:
    """Characters of a request; one with other than texts in it (pictures, calls of tools) is larger than any limit."""
    total = 0
    for message in request.messages:
        for block in message.content:
            if not isinstance(block, Text):
                return _ANY
            total += len(block.text)
    return total
