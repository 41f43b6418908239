"""What people look at and say: queues, items, verdicts, held answers. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.datasets.model import Passage
from ostinato.wire.model import Json

Mode: TypeAlias = Literal["single", "pairwise"]
Origin: TypeAlias = Literal["person", "run", "experiment", "online", "hold"]
State: TypeAlias = Literal["open", "done", "expired", "withdrawn"]
HeldState: TypeAlias = Literal["pending", "approved", "edited", "rejected", "expired", "unreviewed"]
HoldDefault: TypeAlias = Literal["fallback", "reject", "release"]

SINGLE = ("approve", "edit", "reject")
"""Words on one answer, the mildest first: of a draw, the most severe counts."""
PAIRWISE = ("a", "b", "tie", "neither")
"""Words on two answers, as they are kept: by the answers' own order, not by the one that a reviewer saw."""
ESCALATE = "escalate"


class Criterion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a rubric: one of some labels, a number of a range, or free text."""

    name: str
    labels: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    """Lowest and highest number. Neither labels nor range: free text."""
    required: bool = True
    reference: bool = False
    """Whether what is said here is the right answer, once the item becomes an example."""
    help: str = ""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which of many answers people look at: each rule draws its share of what it is about, by itself."""

    random: float = 0.05
    """Of all: what keeps estimates possible. At 0 nothing can be said of what no other rule drew."""
    least_confident: float = 0.2
    """The share of answers with the lowest confidence, all of them."""
    disagreement: float = 1.0
    """Of those where base and candidate differ."""
    judge_disagreement: float = 1.0
    """Of those where two judges differ, or a judge and a rule."""
    stakes: float = 0.0
    """Of those at high or critical stakes."""
    most: int = 500
    """Items expected of one selection: beyond it every share is thinned alike."""


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A queue as it is declared: the body of ``PUT /api/v1/reviews/queues/NAME``."""

    title: str = ""
    description: str = ""
    mode: Mode = "single"
    criteria: tuple[Criterion, ...] = ()
    reviews_required: int = 1
    """Different principals for each item."""
    reservation_seconds: float = 900.0
    """How long an item is kept for the one who took it."""
    due_seconds: float | None = None
    """After which an item is overdue; ``None``: never."""
    default_outcome: Literal["", "approve", "reject"] = ""
    """What an overdue item comes to without more ado; empty: it stays open, listed as overdue."""
    blind: bool = True
    """Reviewers see neither where an item comes from nor, before it is decided, what others said."""
    exclude_author: bool = True
    """Whether the author of what is judged is kept from judging it."""
    priority: int = 0
    """Added to that of its items."""
    sampling: Sampling = Sampling()
    closed: bool = False
    """Nothing is put in or taken out any more."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue of one project."""

    id: str
    org: str
    project: str
    name: str
    declared: Declaration
    version: int
    created_at: int
    created_by: str
    changed_at: int
    changed_by: str


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An answer to be looked at."""

    text: str
    name: str = ""
    """What made it: ``support/answer@3``, ``base``. Hidden from reviewers of a blind queue."""


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All texts of an item: what may be erased."""

    input_text: str = ""
    inputs: Json = {}
    """Variable -> value, where there are some: what an example made of it takes."""
    outputs: tuple[Output, ...] = ()
    """One; in a pairwise queue two."""
    context: tuple[Passage, ...] = ()
    reference: object = None
    note: str = ""


class NewItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something to be looked at."""

    content: Content
    mark: str = ""
    """What makes it one with others of the queue: such an item is there once. Left out: its content and origin."""
    origin: Origin = "person"
    origin_ref: str = ""
    """Id of the run or experiment."""
    request_id: str = ""
    """Of the answer, where it was one of the traffic: its signals go there."""
    entry: str = ""
    """Name of the cache entry that repeats it: withdrawn where the outcome is *reject*."""
    prompt: str = ""
    prompt_version: int = 0
    intent: str = ""
    stratum: str = ""
    group: str = ""
    author: str = ""
    """Principal who made what is judged."""
    subject: str = ""
    """Whose data it may hold: what an erasure names."""
    priority: int = 0
    weight: float = 1.0
    """Probability with which it was drawn: what keeps estimates unbiased."""
    why: tuple[str, ...] = ()
    """Rules that drew it: ``random``, ``least-confident`` ..."""
    evidence: dict[str, str | int | float | bool] = {}
    """Figures about it, no texts: ``confidence``, ``judge``, ``judge:value``."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An item without its texts."""

    id: str
    queue: str
    """Name."""
    queue_id: str
    org: str
    project: str
    state: State
    outcome: str
    """Empty while open: ``approve``, ``edit``, ``reject``; ``a``, ``b``, ``tie``, ``neither``; ``escalate``."""
    mark: str
    digest: str
    """SHA-256 of its texts, in hexadecimal: stays when they are erased."""
    origin: Origin
    origin_ref: str
    request_id: str
    entry: str
    prompt: str
    prompt_version: int
    intent: str
    stratum: str
    group: str
    author: str
    subject: str
    priority: int
    weight: float
    why: tuple[str, ...]
    evidence: dict[str, str | int | float | bool]
    needed: int
    """Verdicts until it is done."""
    given: int
    """Verdicts that there are."""
    escalated: bool
    erased: bool
    created_at: int
    due_at: int | None
    done_at: int | None
    version: int
    pending: str = ""
    """What has to be done elsewhere because of its outcome, and is not done yet: ``quarantine``, ``admit``."""


class NewVerdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a reviewer says."""

    decision: str
    """``approve``, ``edit``, ``reject``; in a pairwise queue ``first``, ``second``, ``tie``, ``neither`` (as shown);
    ``escalate``: somebody else must look, too."""
    values: dict[str, str | float] = {}
    """Criterion -> label, number or text."""
    edited: str | None = None
    """With ``edit``: how it should read."""
    comment: str = ""
    seconds: float | None = None
    """How long it took, where that is known; left out: since it was taken."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of one item by one principal. ``decision`` and values are about the answers' own order."""

    item: str
    principal: str
    decision: str
    values: dict[str, str | float]
    edited: str | None
    comment: str
    seconds: float
    swapped: bool
    at: int
    actor: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """An item as its reviewer sees it."""

    item: str
    queue: str
    mode: Mode
    criteria: tuple[Criterion, ...]
    state: State
    until: int | None
    """How long it is yours, UTC microseconds; ``None``: you have not taken it."""
    due_at: int | None
    content: Content | None
    """``None``: erased. Of a pairwise queue ``outputs`` are in an order of this reviewer's own."""
    digest: str
    about: Item | None
    """Where it comes from; ``None`` in a blind queue, until it is decided."""
    verdicts: tuple[Verdict, ...]
    """Your own; of others once it is decided, or where the queue is not blind. On two answers of a blind queue, until
    it is decided, in the words that you used: ``first``, ``second``."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue stands."""

    open: int = 0
    reserved: int = 0
    """Open, and in somebody's hands."""
    overdue: int = 0
    escalated: int = 0
    done: int = 0
    expired: int = 0
    withdrawn: int = 0
    verdicts: int = 0
    median_seconds: float | None = None


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    queue: Queue
    counts: Counts


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that waits for somebody's word, without its texts."""

    id: str
    item: str
    org: str
    project: str
    principal: str
    """Who asked."""
    private: bool
    """It was asked for a named end user: nobody else may fetch it."""
    request_id: str
    intent: str
    wire: str
    """Operation, as the caller asked: ``openai.chat``."""
    model: str
    """As the caller named it."""
    echo: Json | None
    key: str
    """Scoped cache key, hexadecimal: equal requests meanwhile are one; empty: it stands alone."""
    state: HeldState
    fallback: str
    """Declared text that stands in for it."""
    default: HoldDefault
    created_at: int
    deadline_at: int
    decided_at: int | None
    admit: Json | None
    """How it may be kept in the cache once it is approved; ``None``: it may not."""
    format: Json | None = None
    """The ``response_format`` that was asked for: an edited answer must be of it, too."""

    def standing(self, now: int) -> HeldState:
        """Its state by the clock: what nobody decided in time comes to its default."""
        if self.state != "pending" or now < self.deadline_at:
            return self.state
        return "unreviewed" if self.default == "release" else "expired"
