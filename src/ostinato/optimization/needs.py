"""What runs need of other rooms: ``app`` hands it over, tests bring small ones of their own."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from ostinato import audit, calls, prompts, releases
from ostinato.access import Actor
from ostinato.calls.model import Purpose, Spent
from ostinato.core.clock import Clock
from ostinato.datasets.model import DatasetVersion, Example, Split
from ostinato.evals.model import Cell, Variant
from ostinato.intents.model import Requirements
from ostinato.jobs import JobState
from ostinato.optimization.model import Candidate
from ostinato.optimization.planning import Provable
from ostinato.optimization.run import Notice, Run, Wish
from ostinato.optimization.search.model import Evaluate, Headroom, OnRound, SearchPlan, SearchResult
from ostinato.optimization.search.reflection import Ask
from ostinato.optimization.settings import Settings
from ostinato.optimization.verdicts import JudgeCalibration
from ostinato.releases import Release
from ostinato.releases.turn import Rights
from ostinato.routing import Catalog
from ostinato.scorers.model import Spec
from ostinato.storage import Current, Database
from ostinato.traces import PriceBook
from ostinato.wire.model import Json


class Whose(Protocol):
    """For whom something is done: a run, or what is to become one."""

    @property
    def org(self) -> str: ...

    @property
    def project(self) -> str: ...

    @property
    def id(self) -> str: ...


class Data(Protocol):
    """Datasets, as runs use them."""

    async def version(self, actor: Actor, project: str, name: str, number: int | None) -> DatasetVersion:
        """The version that somebody means and may use."""
        ...

    async def findings(self, version_id: str) -> Sequence[Notice]:
        """What is wrong with a version: leaks between its parts."""
        ...

    async def load(self, version_id: str, splits: tuple[Split, ...]) -> tuple[Example, ...]:
        """Its open examples, in an order that stays."""
        ...

    async def alpha_left(self, project: str, prompt: str, version: DatasetVersion) -> float | None:
        """What is left for this prompt of the chance of error that its sealed examples may carry."""
        ...

    async def open_holdout(self, run: Run, alpha: float) -> tuple[Example, ...]:
        """The sealed examples of the run's version; spends ``alpha`` once, however often it is asked."""
        ...


class Measuring(Protocol):
    """Asks models and scores their answers, through the journal of the run."""

    def check(self, wish: Wish, project: str) -> bool:
        """Whether a scorer that counts needs references. Raises ``Invalid`` for scorers that cannot work."""
        ...

    def fits(self, variant: Variant, example: Example, project: str) -> None:
        """Raise ``Invalid`` or ``NotFound`` where a variant, with its chain, cannot be asked about an example."""
        ...

    async def measure(
        self,
        run: Run,
        variant: Variant,
        examples: Sequence[Example],
        *,
        purpose: Purpose,
        budget: calls.Budget,
        confidence: bool = False,
    ) -> Sequence[Cell]:
        """One cell for each example, in their order."""
        ...

    async def recall(self, run: Run, variant: Variant, examples: Sequence[Example]) -> Sequence[str | None]:
        """What a variant has answered in this run, as far as that is still known; nothing is asked."""
        ...

    def reflect(self, run: Run, budget: calls.Budget) -> Ask:
        """Who asks the run's reflection model."""
        ...

    async def spent(self, run_id: str) -> Spent:
        """What the journal knows as paid for."""
        ...

    async def forget(self, run_id: str) -> None:
        """Erase the answers of a run; what they cost stays known."""
        ...


class Searching(Protocol):
    """Looks for better prompts. Equal answers and an equal seed give an equal result."""

    async def probe(
        self,
        base: Candidate,
        train: Sequence[Example],
        dev: Sequence[Example],
        evaluate: Evaluate,
        plan: SearchPlan,
        *,
        seed: int,
        on_round: OnRound,
    ) -> Headroom:
        """Whether there is something to gain; what it measures is the first round of the search."""
        ...

    async def search(
        self,
        base: Candidate,
        train: Sequence[Example],
        dev: Sequence[Example],
        evaluate: Evaluate,
        plan: SearchPlan,
        *,
        seed: int,
        on_round: OnRound,
        name: str = "",
        reflect: Ask | None = None,
        polish: bool = True,
    ) -> SearchResult:
        """The best of what it tried."""
        ...


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says, as runs need it; ``body`` holds all of it."""

    outcome: str
    """``promote``, ``refuse``, or ``wait``: more sealed examples must be looked at."""
    promoted: str
    """Id of the candidate that may be promoted; empty: none."""
    sentence: str
    body: Json


class Judging(Protocol):
    """The gate: pure."""

    def __call__(
        self,
        run: Run,
        examples: Sequence[Example],
        cells: Mapping[str, Sequence[Cell]],
        base: str,
        finalists: Sequence[str],
        *,
        remaining: int,
        judges: Sequence[JudgeCalibration] | None,
    ) -> Decision:
        """Judge the finalists by the cells of each candidate on the sealed examples, in their order.

        ``remaining``: sealed examples that nobody has looked at yet. ``judges``: how far each model among the scorers
        agrees with people; ``None``: none of them is a model.
        """
        ...


class Jobs(Protocol):
    """Durable work: see ``jobs.Jobs``."""

    async def enqueue(self, name: str, subject_id: str, *, key: str) -> str:
        """Have it done; gives the job's id. Idempotent by key."""
        ...

    async def state(self, job_id: str) -> JobState:
        """A job, now."""
        ...


class Reviewing(Protocol):
    """People who look at answers."""

    async def ask(
        self, run: Run, cells: Mapping[str, Sequence[Cell]], examples: Sequence[Example], train: Sequence[Example]
    ) -> int:
        """Put answers of the run before reviewers, once; gives how many."""
        ...

    async def verdict(self, run: Run) -> tuple[bool | None, Json]:
        """What they say: ``None``: not yet; and the figures."""
        ...


class Rooms(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that runs work with."""

    control: Database
    work: Database
    log: audit.Log
    clock: Clock
    prompts: prompts.Prompts
    releases: releases.Releases
    data: Data
    measuring: Measuring
    searching: Callable[[str], Searching]
    """The search for a project (its id)."""
    judging: Judging
    provable: Provable
    calibrations: Callable[[Whose, Sequence[Spec]], Awaitable[Sequence[JudgeCalibration]]]
    """How far the models among the scorers agree with the project's own labels, of those held against these."""
    declared: Callable[[str, Sequence[str]], Awaitable[Sequence[Spec]]]
    """(Project, names) -> what the project's declared scorers of these names are. Raises ``NotFound``."""
    requirements_of: Callable[[str, str], Requirements]
    slices_of: Callable[[str, str], tuple[str, ...]]
    """(Project, intent) -> the slices that the intent declares."""
    catalog: Current[Catalog]
    prices: Current[PriceBook]
    rights: Rights
    evaluated: Callable[[Release, Run, Decision], Awaitable[None]]
    """Attach the gate's decision to a release, as evidence of our own."""
    jobs: Jobs
    settings: Settings = Settings()
    reviewing: Reviewing | None = None
    heard: Callable[[str, str], Awaitable[bool]] | None = None
    """(Project, prompt) -> whether anybody says how good its answers are, of late; left out: that is not known."""
