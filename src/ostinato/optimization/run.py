"""What an optimization run is: what somebody wishes, the plan made of it, its state and its outcome. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.calls.model import Limits, Spent
from ostinato.optimization.model import Candidate, Measured
from ostinato.optimization.search.model import Round
from ostinato.releases.model import Plan as Rollout
from ostinato.scorers.model import Spec
from ostinato.wire.model import Json

State: TypeAlias = Literal[
    "planned",
    "running",
    "paused",
    "reviewing",
    "proposed",
    "refused",
    "nothing-to-gain",
    "cancelled",
    "failed",
    "deleted",
]
"""``planned``: it waits for its turn. ``reviewing``: people look at answers. ``proposed``: a release of the better
version waits for approval. ``refused``: nothing was proven better; the label stays where it is."""

OPEN: frozenset[State] = frozenset({"planned", "running", "paused", "reviewing"})
"""While a run is in one of these, no second one on the same prompt begins."""

Phase: TypeAlias = Literal["select", "headroom", "search", "prove", "review", "release"]
PHASES: tuple[Phase, ...] = ("select", "headroom", "search", "prove", "review", "release")

Stage: TypeAlias = Literal["search", "holdout"]
"""What a measurement was made for: ``search`` on the open examples, ``holdout`` on the sealed ones."""

WORDS: dict[State, str] = {
    "planned": "waits for its turn",
    "running": "is under way",
    "paused": "is paused",
    "reviewing": "waits for reviewers",
    "proposed": "has proposed a release",
    "refused": "proved nothing better: the prompt stays as it is",
    "nothing-to-gain": "found nothing to gain here",
    "cancelled": "was cancelled",
    "failed": "failed",
    "deleted": "was deleted",
}
"""A state as people say it."""


class Margins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much worse a better prompt may be in other things; ``null``: that is not asked."""

    cost: float | None = 1.0
    """How much dearer an answer may be, as a share: 1.0 is twice as dear. Where no price is known, so many more tokens
    may be computed; those from a provider's prefix cache are free."""
    slight: int = 1_000_000
    """Nano-dollars that an answer may be dearer by, whatever share of its cost that is: a tenth of a cent."""
    computed: float | None = None
    """How many more tokens a model may work on, as a share, whatever they cost."""
    latency: float | None = 1.0
    """How much longer an answer may take, as a share."""
    slight_ms: float = 20.0
    """Milliseconds that an answer may take longer, whatever share that is: a network's mood is no loss."""
    policy: float = 0.01
    """How much worse a policy scorer may be, 0 to 1."""


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What somebody wants improved, measured by what, within which bounds."""

    prompt: str
    """Name of the prompt."""
    label: str = "production"
    """The version that it points at competes as the incumbent, and a better one is proposed for it."""
    number: int | None = None
    """The version to begin with, where it is not the label's."""
    alias: str = ""
    """Of the model; left out: the one that the version names."""
    dataset: str
    """Name of the dataset."""
    dataset_version: int | None = None
    """Left out: the newest."""
    scorers: tuple[Spec, ...] = ()
    """How answers are scored; the weighted mean is what is improved."""
    declared: tuple[str, ...] = ()
    """Names of the project's declared scorers, beside ``scorers``: taken as they stand when the run begins."""
    limits: Limits = Limits()
    """What may be spent altogether; each limit holds by itself, and 0 means nothing."""
    seed: int = 0
    alpha: float | None = None
    """Chance of promoting what is not better; left out: as configured."""
    mode: Literal["fixed", "sequential"] = "fixed"
    """``fixed``: one look at all sealed examples. ``sequential``: as many looks as it takes, for dear examples."""
    gain: float | None = None
    """The improvement that the run must be able to prove, as a share (0.05: five points); refused where the sealed
    examples are too few for it."""
    min_gain: float = 0.0
    """Improvements below this are not promoted, proven or not."""
    reflection: str = ""
    """Alias of a strong model that rewrites prompts; left out: none is asked."""
    optimizer: str = ""
    """Name of the search; left out: the built-in race of edits."""
    polish: bool = True
    """Whether to look for a shorter prompt that is no worse."""
    retrieval: Json | None = None
    """A chain: how passages are found before the prompt is filled in; see ``evals.retrieval``."""
    slices: tuple[str, ...] = ()
    """Parts of the examples (strata) that must not lose, beside those of the prompt's intent."""
    waived: dict[str, str] = {}
    """Part of the examples -> who accepts a loss on it, and why."""
    margins: Margins = Margins()
    review: bool | None = None
    """Whether people look at answers before a release is proposed; where the intent asks for it, they do anyhow."""
    samples: int = 5
    """Where people look at answers: answers to one question, at most, to know by them how sure the model is, where it
    has no log probabilities. Each is paid for; 1: nothing is asked again."""
    rollout: Rollout | None = None
    """How the release shall reach its traffic; left out: 25, 50 and 100 %."""
    release: bool = True
    """Whether to propose a release at all, or only to report."""
    note: str = ""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage will take."""

    stage: str
    calls: int
    """At most."""
    about: int = 0
    """Calls that it will make, about: what ``tokens`` and ``nano`` are told of."""
    tokens: int
    nano: int | None
    """``None``: no price is known."""


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something to know before a run begins. An ``error`` keeps it from beginning."""

    level: Literal["error", "warning", "note"]
    code: str
    message: str
    hint: str = ""


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will do and take, before anything is spent."""

    prompt: str
    label: str
    base_number: int
    alias: str
    targets: tuple[str, ...]
    """``provider/model`` that the alias stands for."""
    dataset: str
    dataset_version: int
    counts: dict[str, int]
    """Split -> examples."""
    stages: tuple[Estimate, ...]
    calls: int
    """At most."""
    about: int = 0
    """About so many of them."""
    tokens: int
    """About so many."""
    nano: int | None
    """About so much money; ``None``: a model has no price."""
    unpriced: tuple[str, ...] = ()
    """Targets without a price."""
    alpha: float
    alpha_left: float | None = None
    """What earlier looks at these sealed examples have left of the prompt's share; ``None``: not known."""
    smallest_gain: float | None
    """The smallest improvement that these sealed examples can prove with 80 % power, as a share; ``None``: none."""
    pairs: int
    """Sealed examples."""
    pairs_needed: int | None = None
    """For the gain asked for."""
    slices: tuple[str, ...] = ()
    review: bool = False
    notices: tuple[Notice, ...] = ()

    @property
    def errors(self) -> tuple[Notice, ...]:
        """What keeps the run from beginning."""
        return tuple(one for one in self.notices if one.level == "error")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One optimization run."""

    id: str
    org: str
    project: str
    prompt: str
    prompt_id: str
    label: str
    intent: str = ""
    alias: str
    dataset: str
    dataset_number: int
    dataset_version: str
    """Id of the version."""
    holdout_digest: str
    base_number: int
    base_digest: str
    assigned_number: int | None = None
    """Where the label pointed when the run began; ``None``: nowhere."""
    wish: Wish
    plan: RunPlan
    state: State = "planned"
    phase: str = ""
    why: str = ""
    """Why it is in this state, in a sentence."""
    wanted: Literal["", "pause", "cancel"] = ""
    """What somebody has asked for and the run has not done yet."""
    turns: int = 0
    """How often it was set going: the key of its job."""
    author: str
    """The principal that started it; it cannot approve what comes of it."""
    started_by: str
    created_at: int
    started_at: int | None = None
    ended_at: int | None = None
    champion: str = ""
    """Id of the candidate that passed the gate."""
    number: int | None = None
    """Of the version made of it."""
    release: str = ""
    """Id of the proposed release."""
    digest: str = ""
    """SHA-256 of the findings: equal for equal findings, whenever and wherever they were made."""
    version: int = 1
    """Counts changes; sent back to notice that somebody else was quicker."""

    @property
    def resource(self) -> str:
        """As the audit log names it."""
        return f"optimization:{self.id}"

    @property
    def slot(self) -> str:
        """What only one run at a time may be about."""
        return f"{self.project}/{self.prompt}"

    @property
    def sentence(self) -> str:
        """What the run is doing, or what became of it."""
        why = f": {self.why.rstrip('.')}" if self.why else ""
        return f"The run {self.id} on {self.prompt}@{self.label} {WORDS[self.state]}{why}."


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was decided once and for all in a run: what makes it go on where it stopped."""

    name: str
    """``headroom``, ``search``, ``gate``, ``review``, ``version``."""
    body: Json
    at: int


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A measurement as it was written down."""

    stage: str
    candidate: str
    measured: Measured


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A run with how far it has come."""

    run: Run
    calls_planned: int
    spent: Spent
    best: float | None = None
    """Mean score of the best candidate in the last complete round."""
    base: float | None = None
    """The same of the incumbent, on the same examples."""
    curve: tuple[tuple[int, float], ...] = ()
    """(Measurements made, best mean score) after each round."""
    candidates: int = 0
    share: float = 0.0
    """Of the planned calls that are done, 0 to 1; 1 when it has ended."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered to an open example. Texts: for those who may see examples, of projects that keep them."""

    kind: Literal["won", "lost", "said"]
    """``won``: the new prompt did better than the incumbent; ``said``: what the incumbent says where nothing is new."""
    asked: str
    reference: str
    incumbent: str
    new: str = ""


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a run, as the report shows it."""

    run: Run
    candidates: tuple[Candidate, ...]
    rounds: tuple[Round, ...]
    records: tuple[Record, ...]
    decided: tuple[Decided, ...]
    spent: Spent
    samples: tuple[Sample, ...] = ()
    """Only for a report."""
