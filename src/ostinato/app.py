"""The one file that knows every room: builds them from a ``Config``, starts them in order, stops them in reverse.

Nothing that a request needs is built on first use. A part whose server is optional (the shared cache, a provider's
network) does not keep the process from starting; a database that cannot be opened, or a configuration that cannot be
obeyed, does, with the reason.
"""

import asyncio
import contextlib
import gc
import logging
import secrets
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast

import msgspec

from ostinato import access, cache, outbound, providers, routing, storage, traces
from ostinato.cache import policy as policies
from ostinato.cache.flights import Sharing
from ostinato.config import DECLARATIONS, Config
from ostinato.core import hashing, ids
from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.gateway import Epoch, Gateway, Renderer, Rooms
from ostinato.gateway.asking import Item, Outcome
from ostinato.gateway.inspecting import Checkers, compile_checkers
from ostinato.providers import Provider
from ostinato.storage import Change, Database, DataDirectory, Declarations, Declared, Notices, RecordStore, Snapshot
from ostinato.storage.declarations import CONFIG
from ostinato.web.server import Health

_log = logging.getLogger("ostinato")

T = TypeVar("T")

TOPICS = {"models": "routes", "prices": "prices", "policies": "policies", "rules": "policies"}
"""Which notice tells that declarations of a kind have changed."""

_GRACE = 2.0
"""Seconds that calls nobody waits for (renewals in the background) may take when all connections are closed."""

_SECRET = "installation"  # noqa: S105 - the name of a secret


class App:
    """One server process."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.embedded = not config.storage.url
        self.directory = DataDirectory(config.storage.directory, self.clock)
        self.ready = False
        self.draining = False
        self._ending: asyncio.Task[None] | None = None
        self.declaring = asyncio.Lock()
        """Held from judging a declaration until it stands, so that two cannot pass that exclude each other."""
        self._unsettled: dict[str, bool] = {}
        self._ambiguous: set[tuple[str, str]] = set()
        self._undo: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    async def start(self) -> None:
        """Build and start everything. Raises the reason if that cannot be; what had been started is stopped again."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        # What has been built stays until the end: the collector need not look at it again (12-36 ms each time).
        gc.collect()
        gc.freeze()
        self.ready = True

    async def drain(self) -> None:
        """Say that no new work should be sent here; end in good order what would outlast the drain."""
        self.draining = True
        self.ready = False
        self._ending = asyncio.create_task(self._end_late_streams())

    async def _end_late_streams(self) -> None:
        """Shortly before the server cuts connections: whoever still waits for a model is told why it ends."""
        await self.clock.sleep(max(0.0, self.config.server.drain_seconds - 1.0))
        await self.gateway.flights.stop()

    async def stop(self) -> None:
        """Stop everything in reverse order. A part that fails to stop does not keep the others from stopping."""
        self.ready = False
        if self._ending is not None:
            self._ending.cancel()
        while self._undo:
            name, undo = self._undo.pop()
            try:
                await undo()
            except Exception:
                _log.exception("Stopping %s failed", name)

    async def _start(self) -> None:
        config, clock = self.config, self.clock
        if self.embedded:
            self.directory.acquire()
            self._later("the data directory", _plain(self.directory.release))
        else:
            self.directory.prepare()
        self.control = await self._database("control", self.directory.control)
        self.ledger_database = await self._database("traces", self.directory.traces)
        with _about("storage.valkey"):
            self.notices = Notices(
                None if self.embedded else self.control,
                config.storage.valkey,
                poll_seconds=config.storage.notice_poll_seconds,
            )
            await self.notices.start()
        self._later("notices", self.notices.close)
        self.declarations = Declarations(self.control, clock, self.notices, topics=TOPICS)
        self.secret = await self._installation_secret()
        self.epoch = Epoch()
        await self._start_providers()
        self.access = access.Access(self.control, self.notices, clock, config.access)
        await self._declare()
        await self.access.start()
        self._later("access", self.access.stop)
        self.access.snapshot.on_swap(lambda _: self.epoch.advance())
        await self._start_cache()
        await self._start_ledger()
        self.router = routing.Router(self.providers, clock, config.routing)
        self.catalog.on_swap(lambda catalog: self.router.keep(catalog.targets()))
        await self._start_gateway()

    async def _database(self, name: str, path: Path) -> Database:
        where = path if self.embedded else self.config.storage.url
        with _about("storage.url"):
            database = await asyncio.to_thread(open_migrated, name, where)
        self._later(f"database {name}", lambda: asyncio.to_thread(database.close))
        return database

    async def _installation_secret(self) -> bytes:
        """What keys digests of users and inputs: a file when embedded, shared through ``control`` when scaled out."""
        if self.embedded:
            found = self.directory.read_key(_SECRET)
            if found is None:
                found = secrets.token_bytes(32)
                self.directory.write_key(_SECRET, found)
            return found
        if not await self.declarations.load(_SECRET):
            try:
                await self.declarations.put(_SECRET, "secret", secrets.token_hex(32), "system", expect=0)
            except OstinatoError:
                _log.info("Another process was first to make the installation's secret; using it.")
        return bytes.fromhex(str((await self.declarations.load(_SECRET))["secret"]))

    async def _start_providers(self) -> None:
        self.client = outbound.Client(self.config.outbound, self.clock)
        await self.client.start()
        self._later("the outbound client", self.client.close)
        self.providers: dict[str, Provider] = {}
        for name, settings in self.config.providers.items():
            with _about(f"providers.{name}"):
                provider = providers.build(name, settings, self.client, self.clock)
            self.providers[name] = provider
            self._later(f"provider {name}", provider.close)
        await asyncio.gather(*(provider.start() for provider in self.providers.values()))
        self.provider_digests = {
            name: hashing.digest_of([settings.kind, settings.base_url, sorted(settings.query.items()), settings.spec])
            for name, settings in self.config.providers.items()
        }

    async def _declare(self) -> None:
        """Apply what the file declares to ``control``, as the actor ``config``; then follow all declarations."""
        config = self.config
        # Judged before anything is written: a file that cannot be obeyed changes nothing.
        self._obey({kind: await self._if_applied(kind, getattr(config, kind)) for kind in DECLARATIONS})
        for kind in DECLARATIONS:
            await self.declarations.apply(kind, getattr(config, kind), CONFIG)
        self._later("the look-out for projects", _plain(self.notices.subscribe("access", self._look_for_projects)))
        self.catalog = await self._snapshot("routes", self._load_catalog)
        rulings = await self._snapshot("policies", self._load_rulings)
        self.policies = Part(rulings, lambda value: value.policies)
        self.checkers = Part(rulings, lambda value: value.checkers)
        self.prices = await self._snapshot("prices", self._load_prices)

    async def _if_applied(self, kind: str, bodies: Mapping[str, object]) -> dict[str, object]:
        """All declarations of a kind as they would stand with the file's. Raises ``Invalid`` where one of those names
        a project by a short name that several organizations have."""
        now = self.clock.now()
        standing = {one.name: one for one in await self.declarations.entries(kind)}
        wanted = {name: one for name, one in standing.items() if one.source != CONFIG}
        for name, body in bodies.items():
            old = standing.get(name)
            same = old is not None and hashing.digest_of(old.body) == hashing.digest_of(body)
            made = old.changed_at if old is not None and same else now
            wanted[name] = Declared(kind, name, 0, body, CONFIG, CONFIG, made, True)
        projects = await self._projects(wanted.values())
        for one in wanted.values():
            if one.source == CONFIG and projects.find(_written(one.body), one.changed_at) is None:
                raise Invalid(
                    f"Several organizations have a project {_written(one.body)!r}.",
                    code="ambiguous_project",
                    param=f"{kind}.{one.name}.project",
                    hint="Write it as organization/project.",
                )
        return {name: projects.placed(one) for name, one in wanted.items()}

    async def place(self, declared: Sequence[Declared | Change]) -> list[object]:
        """The bodies, each with the project's id where it is written as ``organization/project`` or as a short name.

        A project that does not exist (yet), or a short name that may mean several, is left as it is written: such a
        declaration holds for nobody.
        """
        projects = await self._projects(declared)
        return [projects.placed(one) for one in declared]

    async def judge(self, kind: str, declared: Mapping[str, object]) -> None:
        """Raise ``Invalid`` if these declarations of a kind, as :meth:`place` gives them, cannot be obeyed together, or
        not with those of other kinds that stand."""
        other = {"policies": "rules", "rules": "policies"}.get(kind)
        if other is None:
            self._obey({kind: declared})
        else:
            entries = await self.declarations.entries(other)
            placed = await self.place(entries)
            self._obey({kind: declared, other: {one.name: body for one, body in zip(entries, placed, strict=True)}})

    def _obey(self, declared: Mapping[str, Mapping[str, object]]) -> None:
        """Compile declarations by kind, for the errors only."""
        if "models" in declared:
            routing.compile_routes(declared["models"], self.provider_digests)
        if "prices" in declared:
            self._price_book(declared["prices"])
        if "policies" in declared:
            self._rulings(declared["policies"], declared["rules"])

    async def _projects(self, declared: Iterable[Declared | Change]) -> "_Projects":
        """All projects, where any of these declarations names one."""
        if not any(_written(one.body) for one in declared):
            return _Projects((), ())
        system = access.SystemActor(CONFIG)
        projects = await self.access.list_projects(system)
        return _Projects(await self.access.list_organizations(system), projects)

    def _look_for_projects(self, _detail: str) -> None:
        """Load declarations again that named a project which was not there, or may mean another one now."""
        for kind, unsettled in self._unsettled.items():
            if unsettled:
                self.notices.fire(TOPICS[kind], "")

    async def _snapshot(self, topic: str, load: Callable[[], Awaitable[T]]) -> "Snapshot[T]":
        snapshot = Snapshot(load, self.notices, topic, self.clock)
        await snapshot.start()
        snapshot.on_swap(lambda _: self.epoch.advance())
        self._later(f"the snapshot of {topic}", snapshot.close)
        return snapshot

    async def _load_catalog(self) -> routing.Catalog:
        return routing.compile_routes(await self._standing("models"), self.provider_digests)

    async def _load_rulings(self) -> "Rulings":
        return self._rulings(await self._standing("policies"), await self.declarations.load("rules"))

    def _rulings(self, declared: Mapping[str, object], rules: Mapping[str, object]) -> "Rulings":
        checkers = compile_checkers(rules, self.config.checks)
        return Rulings(policies.compile_policies(declared, rules), checkers)

    async def _standing(self, kind: str) -> dict[str, object]:
        """What stands of a kind, placed. Notes what projects to come may change, and tells what holds for nobody."""
        entries = await self.declarations.entries(kind)
        projects = await self._projects(entries)
        self._unsettled[kind] = any(not projects.settled(_written(one.body), one.changed_at) for one in entries)
        for one in entries:
            written = _written(one.body)
            if projects.find(written, one.changed_at) is None and (kind, one.name) not in self._ambiguous:
                self._ambiguous.add((kind, one.name))
                _log.warning(
                    "%s.%s holds for nobody: several organizations have a project %r; write organization/project.",
                    kind,
                    one.name,
                    written,
                )
        return {one.name: projects.placed(one) for one in entries}

    async def _load_prices(self) -> traces.PriceBook:
        return self._price_book(await self.declarations.load("prices"))

    def _price_book(self, declared: Mapping[str, object]) -> traces.PriceBook:
        """The shipped prices with the declared ones in their place; a provider of one's own naming has its kind's."""
        return traces.PriceBook.load(traces.read_tariffs(declared), self.provider_kinds)

    @property
    def provider_kinds(self) -> dict[str, str]:
        """Configured providers: name -> kind."""
        return {name: settings.kind for name, settings in self.config.providers.items()}

    async def _start_cache(self) -> None:
        settings = self.config.cache
        self.store = self._record_store()
        self.cache = cache.ResponseCache(settings, self.clock, self.store, secret=self.secret, notices=self.notices)
        await self.cache.start()
        self._later("the cache", self.cache.stop)

    def _record_store(self) -> RecordStore | None:
        settings = self.config.cache
        if settings.url == "off":
            return None
        if settings.url:
            from ostinato.storage.records_valkey import ValkeyRecordStore  # noqa: PLC0415 - only with the extra

            with _about("cache.url"):
                return ValkeyRecordStore(settings.url, clock=self.clock)
        if not self.embedded:
            return None
        return storage.SqliteRecordStore(self.directory.cache, max_bytes=settings.shared_bytes, clock=self.clock)

    async def _start_ledger(self) -> None:
        settings = self.config.traces
        self.metrics = traces.Metrics()
        watchers: list[traces.Watcher] = [self.metrics]
        exporter = traces.exporter(settings)
        if exporter is not None:
            exporter.start()
            self._later("the exporter", lambda: asyncio.to_thread(exporter.stop))
            watchers.append(exporter)
        self.recorder = traces.Recorder(
            self.ledger_database, self.clock, settings, directory=self.directory.path, watchers=watchers
        )
        self.recorder.start()
        self._later("the ledger", self._stop_recorder)
        self.ledger = traces.Ledger(self.ledger_database, self.clock, settings)

    async def _start_gateway(self) -> None:
        config = self.config
        flights: cache.Flights[Item, Outcome] = cache.Flights(
            self.clock, withdrawals=lambda: self.cache.withdrawals, most=config.cache.flights
        )
        if self.store is not None and self.store.shared and self.cache.shared is not None:
            flights.sharing = Sharing(
                self.store, ids.new(self.clock.now()), config.cache.lease, self.cache.shared.flush
            )
        self.gateway = Gateway(
            Rooms(
                access=self.access,
                cache=self.cache,
                router=self.router,
                recorder=self.recorder,
                catalog=self.catalog,
                policies=self.policies,
                checkers=self.checkers,
                prices=self.prices,
                renderer=Renderer(),
                epoch=self.epoch,
                clock=self.clock,
                settings=config.gateway,
                secret=self.secret,
            ),
            flights,
        )
        self.gateway.start()
        self._watch()
        self._later("the gateway", lambda: self.gateway.stop(_GRACE))

    async def _stop_recorder(self) -> None:
        lost = await asyncio.to_thread(self.recorder.stop)
        if lost:
            _log.error("%d rows of the ledger could not be written before the end.", lost)

    def _watch(self) -> None:
        """Show other rooms' numbers beside the ledger's."""
        metrics = self.metrics
        metrics.gauge("cache_entries", "Entries in the in-process tier.", lambda: self.cache.stats()["memory_entries"])
        metrics.gauge("cache_bytes", "Bytes of the in-process tier.", lambda: self.cache.stats()["memory_bytes"])
        metrics.gauge("raw_index_bytes", "Bytes of the raw-body index.", lambda: self.cache.stats()["raw_bytes"])
        metrics.counter("cache_evicted", "Entries evicted for room.", lambda: self.cache.stats()["memory_evicted"])
        metrics.gauge("flights_open", "Upstream calls under way.", lambda: self.gateway.flights.open)
        metrics.counter("flights_joined", "Requests that joined another's call.", lambda: self.gateway.flights.joined)
        metrics.gauge("ledger_queue_rows", "Rows not yet written.", lambda: self.recorder.depth)
        metrics.counter("ledger_dropped_rows", "Rows shed because the queue was full.", lambda: self.recorder.dropped)
        metrics.gauge("ledger_lost_rows", "Rows that the last crash took.", lambda: self.recorder.lost_before)
        metrics.states(
            "target_state",
            "State of each target's breaker.",
            lambda: {state.target: state.breaker for state in self.router.states(self.catalog.value.targets())},
        )

    def health(self) -> Health:
        """What works and what does not: for ``/readyz``."""
        parts = {
            "keys": self.access.snapshot.failing or "ok",
            "routes": self.catalog.failing or "ok",
            "policies": self.policies.failing or "ok",
            "prices": self.prices.failing or "ok",
            "ledger": self.recorder.failing or "ok",
        }
        if self.store is not None:
            parts["cache"] = "ok" if self.store.healthy else "the shared tier cannot be reached: answered from memory"
        if self.draining:
            parts["server"] = "draining"
        return Health(ready=self.ready, parts=parts)

    def metrics_page(self) -> bytes:
        """All counters, as Prometheus reads them."""
        return self.metrics.render()

    def _later(self, name: str, undo: Callable[[], Awaitable[None]]) -> None:
        self._undo.append((name, undo))


class Rulings(msgspec.Struct, frozen=True):
    """What may be kept and what is let through: compiled from the same rules and swapped together, so that an answer
    checked by old rules never lies under a generation of the new ones."""

    policies: policies.Policies
    checkers: Checkers


class Part(Generic[T]):
    """One part of a snapshot of :class:`Rulings`, for those who need only that."""

    def __init__(self, whole: "Snapshot[Rulings]", pick: Callable[[Rulings], T]) -> None:
        self._whole = whole
        self._pick = pick

    @property
    def value(self) -> T:
        return self._pick(self._whole.value)

    @property
    def failing(self) -> str:
        return self._whole.failing

    async def reload(self) -> None:
        """See :meth:`Snapshot.reload`."""
        await self._whole.reload()


class _Projects:
    """Projects by what declarations call them.

    A short name means the one project of that name that was there when the declaration was made, so nobody changes
    what it means by making another; where none was there yet, it means one that comes, as long as that is the only one.
    """

    def __init__(self, organizations: Iterable[access.Organization], projects: Iterable[access.Project]) -> None:
        keys = {one.id: one.key for one in organizations}
        self._exact: dict[str, str] = {"": "", "*": "*"}
        self._short: dict[str, list[access.Project]] = {}
        for project in projects:
            self._exact[project.id] = self._exact[f"{keys[project.org_id]}/{project.key}"] = project.id
            self._short.setdefault(project.key, []).append(project)

    def find(self, written: str, made: int) -> str | None:
        """What a declaration made at ``made`` (UTC microseconds) means: a project's id; as ``written`` where there is
        no such project; ``None`` where it may mean several."""
        if written in self._exact:
            return self._exact[written]
        named = self._short.get(written, [])
        chosen = [project for project in named if project.created_at <= made] or named
        if len(chosen) > 1:
            return None
        return chosen[0].id if chosen else written

    def settled(self, written: str, made: int) -> bool:
        """Whether projects to come cannot change what that means."""
        return written in self._exact or any(one.created_at <= made for one in self._short.get(written, []))

    def placed(self, one: Declared | Change) -> object:
        """The body of a declaration, with its project's id."""
        written = _written(one.body)
        found = self.find(written, one.changed_at) if written else None
        if found is None:
            return one.body
        return {**cast("dict[str, object]", one.body), "project": found}


def _written(body: object) -> str:
    """The project that a declaration names; empty: none."""
    found = cast("dict[str, object]", body).get("project") if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


@contextlib.contextmanager
def _about(param: str) -> Generator[None]:
    """Let an error say which part of the configuration it is about, where it does not know."""
    try:
        yield
    except Invalid as error:
        if not error.param:
            error.param = param
        elif not error.param.startswith(param.partition(".")[0]):
            error.param = f"{param}.{error.param}"
        raise


def _plain(function: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        function()

    return call


async def first_start(config: Config) -> str:
    """Make the first organization, project and administrator key; gives the key's secret, once.

    Raises ``Conflict`` where there is one already, or where a server owns the data directory.
    """
    clock = SystemClock()
    directory = DataDirectory(config.storage.directory, clock)
    embedded = not config.storage.url
    if embedded:
        directory.acquire()
    try:
        control = await asyncio.to_thread(open_migrated, "control", config.storage.url or directory.control)
        try:
            _, _, secret = await access.Access(control, Notices(), clock, config.access).first_start()
            return secret
        finally:
            control.close()
    finally:
        if embedded:
            directory.release()


def open_migrated(name: str, where: str | Path) -> Database:
    """A database of this version's tables. Blocking."""
    database = storage.open_database(name, where)
    try:
        storage.migrate(database)
    except BaseException:
        database.close()
        raise
    return database
