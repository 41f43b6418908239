"""What is declared, as this process obeys it: models, prices, policies, check rules, intents, as snapshots.

Declarations come from the configuration file (applied at start, read-only afterwards) and over the API. They may name a
project by a short name; here that becomes an id. :class:`Standing` judges declarations before they are written, follows
them when they change, and keeps the last good state where something contradictory has slipped in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from ostinato import access, routing, traces
from ostinato.cache.policy import Policies, compile_policies
from ostinato.config import DECLARATIONS, Config
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.gateway import Epoch
from ostinato.gateway.inspecting import Checkers, compile_checkers
from ostinato.intents import Intents, compile_intents
from ostinato.storage import Change, Declarations, Declared, Notices, Snapshot
from ostinato.storage.declarations import CONFIG

_log = logging.getLogger("ostinato")

T = TypeVar("T")

TOPICS = {"models": "routes", "prices": "prices", "policies": "policies", "rules": "policies", "intents": "policies"}
"""Which notice tells that declarations of a kind have changed."""

_TOGETHER = ("policies", "rules", "intents")
"""Kinds that are judged and compiled together: policies and intents name rules."""


class Rulings(msgspec.Struct, frozen=True):
    """What may be kept and what is let through: compiled from the same rules and swapped together, so that an answer
    checked by old rules never lies under a generation of the new ones."""

    policies: Policies
    checkers: Checkers
    intents: Intents


class Part(Generic[T]):
    """One part of a snapshot of :class:`Rulings`, for those who need only that."""

    def __init__(self, whole: Snapshot[Rulings], pick: Callable[[Rulings], T]) -> None:
        self._whole = whole
        self._pick = pick

    @property
    def value(self) -> T:
        return self._pick(self._whole.value)

    @property
    def failing(self) -> str:
        return self._whole.failing


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


class Standing:
    """The declarations that stand. ``start`` applies the file's and loads all; ``close`` stops following."""

    catalog: Snapshot[routing.Catalog]
    policies: Part[Policies]
    checkers: Part[Checkers]
    intents: Part[Intents]
    prices: Snapshot[traces.PriceBook]

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        declarations: Declarations,
        accounts: access.Access,
        notices: Notices,
        epoch: Epoch,
    ) -> None:
        self._config = config
        self._clock = clock
        self._declarations = declarations
        self._access = accounts
        self._notices = notices
        self._epoch = epoch
        self._kinds = {name: settings.kind for name, settings in config.providers.items()}
        self._digests = {
            name: hashing.digest_of([settings.kind, settings.base_url, sorted(settings.query.items()), settings.spec])
            for name, settings in config.providers.items()
        }
        self.declaring = asyncio.Lock()
        """Held from judging a declaration until it stands, so that two cannot pass that exclude each other."""
        self._unsettled: dict[str, bool] = {}
        self._ambiguous: set[tuple[str, str]] = set()
        self.candidates: Callable[[], Awaitable[Sequence[routing.Candidate]]] | None = None
        """Changes of models that are tried, or stand beside what is declared."""
        self._snapshots: dict[str, Snapshot[Any]] = {}
        self._unsubscribe: Callable[[], None] | None = None

    async def start(self) -> None:
        """Apply what the file declares to ``control``, as the actor ``config``; then follow all declarations."""
        config = self._config
        # Judged before anything is written: a file that cannot be obeyed changes nothing.
        self._obey({kind: await self._if_applied(kind, getattr(config, kind)) for kind in DECLARATIONS})
        for kind in DECLARATIONS:
            await self._declarations.apply(kind, getattr(config, kind), CONFIG)
        self._unsubscribe = self._notices.subscribe("access", self._look_for_projects)
        self.catalog = await self._snapshot("routes", self._load_catalog)
        rulings = await self._snapshot("policies", self._load_rulings)
        self.policies = Part(rulings, lambda value: value.policies)
        self.checkers = Part(rulings, lambda value: value.checkers)
        self.intents = Part(rulings, lambda value: value.intents)
        self.prices = await self._snapshot("prices", self._load_prices)

    async def _if_applied(self, kind: str, bodies: Mapping[str, object]) -> dict[str, object]:
        """All declarations of a kind as they would stand with the file's. Raises ``Invalid`` where one of those names
        a project by a short name that several organizations have."""
        now = self._clock.now()
        standing = {one.name: one for one in await self._declarations.entries(kind)}
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
        judged: dict[str, Mapping[str, object]] = {kind: declared}
        for other in _TOGETHER if kind in _TOGETHER else ():
            if other != kind:
                entries = await self._declarations.entries(other)
                placed = await self.place(entries)
                judged[other] = {one.name: body for one, body in zip(entries, placed, strict=True)}
        self._obey(judged)

    async def follow(self, kind: str) -> None:
        """Wait until what is declared of a kind now is obeyed in this process: who changed it sees it at once."""
        await self._snapshots[TOPICS[kind]].reload()

    def _obey(self, declared: Mapping[str, Mapping[str, object]]) -> None:
        """Compile declarations by kind, for the errors only."""
        if "models" in declared:
            routing.compile_routes(declared["models"], self._digests)
        if "prices" in declared:
            self._price_book(declared["prices"])
        if "policies" in declared:
            self._rulings(declared["policies"], declared["rules"], declared["intents"])

    async def _projects(self, declared: Iterable[Declared | Change]) -> _Projects:
        """All projects, where any of these declarations names one."""
        if not any(_written(one.body) for one in declared):
            return _Projects((), ())
        system = access.SystemActor(CONFIG)
        projects = await self._access.list_projects(system)
        return _Projects(await self._access.list_organizations(system), projects)

    def _look_for_projects(self, _detail: str) -> None:
        """Load declarations again that named a project which was not there, or may mean another one now."""
        for kind, unsettled in self._unsettled.items():
            if unsettled:
                self._notices.fire(TOPICS[kind], "")

    async def _snapshot(self, topic: str, load: Callable[[], Awaitable[T]]) -> Snapshot[T]:
        snapshot = Snapshot(load, self._notices, topic, self._clock)
        await snapshot.start()
        snapshot.on_swap(lambda _: self._epoch.advance())
        self._snapshots[topic] = snapshot
        return snapshot

    async def _load_catalog(self) -> routing.Catalog:
        catalog = routing.compile_routes(await self._standing("models"), self._digests)
        tried = await self.candidates() if self.candidates is not None else ()
        return routing.trials.with_candidates(catalog, tried, self._digests) if tried else catalog

    def judge_candidate(self, candidate: routing.Candidate) -> routing.Route:
        """The route that a candidate would be. Raises ``NotFound`` or ``Invalid`` naming what cannot be obeyed."""
        base = self.catalog.value.route(candidate.project, candidate.alias)
        return routing.trials.route_of(base, candidate, self._digests)

    async def _load_rulings(self) -> Rulings:
        rules = await self._declarations.load("rules")
        return self._rulings(await self._standing("policies"), rules, await self._standing("intents"))

    def _rulings(
        self, declared: Mapping[str, object], rules: Mapping[str, object], intents: Mapping[str, object]
    ) -> Rulings:
        checkers = compile_checkers(rules, self._config.checks)
        return Rulings(compile_policies(declared, rules), checkers, compile_intents(intents, rules))

    async def _standing(self, kind: str) -> dict[str, object]:
        """What stands of a kind, placed. Notes what projects to come may change, and tells what holds for nobody."""
        entries = await self._declarations.entries(kind)
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
        return self._price_book(await self._declarations.load("prices"))

    def _price_book(self, declared: Mapping[str, object]) -> traces.PriceBook:
        """The shipped prices with the declared ones in their place; a provider of one's own naming has its kind's."""
        return traces.PriceBook.load(traces.read_tariffs(declared), self._kinds)

    async def close(self) -> None:
        """Stop following; the last values stay."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        for snapshot in reversed(self._snapshots.values()):
            await snapshot.close()
