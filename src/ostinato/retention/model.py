"""Rules, holds, sweeps and erasures, as they are told. Frozen. Times are UTC microseconds, periods are days."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.intents.model import DataClass
from ostinato.wire.model import Json

Kind: TypeAlias = Literal["rows", "texts", "signals", "datasets", "reviews", "journal"]
KINDS: tuple[Kind, ...] = ("rows", "texts", "signals", "datasets", "reviews", "journal")


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, in days; ``None``: this rule says nothing about it.

    Cached answers live by their policy's ``ttl``, which an intent's ``retention.answers`` caps; messages by
    ``[notifying]``. Neither has texts that outlive that.
    """

    rows: float | None = None
    """Rows of the ledger."""
    texts: float | None = None
    """Prompts and answers in the ledger, comments of signals; the rows stay."""
    signals: float | None = None
    """Feedback, outcomes, scores, verdicts and interactions."""
    datasets: float | None = None
    """Examples of datasets, and what was made of them; tombstones stay."""
    reviews: float | None = None
    """Texts of review items that have ended."""
    journal: float | None = None
    """Answers that calls of our own have paid for, and the cells of experiments; what they cost stays."""

    def given(self) -> dict[Kind, float]:
        """What it says, by kind."""
        return {kind: days for kind in KINDS if (days := getattr(self, kind)) is not None}


class NewRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule as it is declared: where several speak of the same thing, the strictest holds."""

    keep: Keep
    project: str = ""
    """Id or short name; left out: every project of the organization."""
    intent: str = ""
    """Only what is of this intent."""
    data_class: DataClass | None = None
    """Only what is of intents that declare this class."""
    reason: str = ""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that stands."""

    org: str
    name: str
    project: str
    """Id; empty: every project of the organization."""
    intent: str = ""
    data_class: str = ""
    keep: Keep
    version: int
    changed_at: int
    changed_by: str


class Limit(msgspec.Struct, frozen=True):
    """How long something is kept, and who says so."""

    days: float
    origin: str
    """``rule NAME`` or ``intent KEY``."""


class NewHold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be kept, whatever rules and erasures say. Everything given narrows it."""

    matter: str
    """What it is called, such as the number of a case; no person's name: receipts tell it."""
    project: str = ""
    """Id or short name; left out: every project of the organization."""
    intent: str = ""
    user: str = ""
    """An end user of the project, by the id that callers send."""
    since: int | None = None
    """What was made at that time or later."""
    until: int | None = None
    """What was made before."""
    reason: str = ""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold. ``subject`` is the end user's digest."""

    id: str
    org: str
    project: str
    matter: str
    intent: str = ""
    subject: str = ""
    since: int | None = None
    until: int | None = None
    placed_at: int
    placed_by: str
    lifted_at: int | None = None
    lifted_by: str = ""

    def covers(
        self, org: str, project: str, *, intent: str | None = None, at: int | None = None, subject: str | None = None
    ) -> bool:
        """Whether something must be kept. What is not known of it (``None``) speaks for keeping it."""
        return (
            self.org == org
            and self.project in ("", project)
            and (not self.intent or intent is None or self.intent == intent)
            and (not self.subject or subject is None or self.subject == subject)
            and (self.since is None or at is None or at >= self.since)
            and (self.until is None or at is None or at < self.until)
        )

    @property
    def partial(self) -> bool:
        """Whether it speaks of some of what a subject left here only."""
        return bool(self.intent) or self.since is not None or self.until is not None


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep did, or would do, in one store."""

    store: str
    kind: Kind
    due: int = 0
    """Past their time, and not held."""
    held: int = 0
    """Past their time, and kept by a hold."""
    done: int = 0
    """Deleted, or emptied of texts; 0 in a dry run."""
    oldest: int | None = None
    """When the oldest that is due was made."""
    longest_us: int = 0
    """The longest transaction."""

    def plus(self, other: "Swept") -> "Swept":
        """Both together."""
        known = [one for one in (self.oldest, other.oldest) if one is not None]
        return Swept(
            store=self.store,
            kind=self.kind,
            due=self.due + other.due,
            held=self.held + other.held,
            done=self.done + other.done,
            oldest=min(known) if known else None,
            longest_us=max(self.longest_us, other.longest_us),
        )


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep and its report."""

    id: str
    org: str
    """Empty: of the whole installation."""
    project: str
    dry_run: bool
    started_at: int
    ended_at: int | None
    by: str
    stores: tuple[Swept, ...] = ()
    holds: tuple[str, ...] = ()
    """Ids of the holds that stood."""
    failed: tuple[str, ...] = ()
    """Stores that could not be swept; the next sweep tries again."""
    note: str = "Rollups have no personal data and stay; they tell what they cover by their buckets."


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to be forgotten: an end user of a project, conversations, single requests."""

    user: str = ""
    """By the id that callers send (``user`` of the body, or ``ostinato-user``)."""
    sessions: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    """``x-request-id`` of answers."""
    project: str = ""
    """Id or short name; left out: the key's own."""
    reference: str = ""
    """What the demand is called, such as the number of a ticket; no person's name: the receipt tells it."""
    reason: str = ""
    """Destroyed with the erasure; only a commitment to it stays in the audit log."""


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure found, and left, in one store."""

    store: str
    found: int
    """Before anything was erased."""
    held: int = 0
    """Kept by holds."""
    left: int = 0
    """Found again at the end, what is held left out: 0 when it is done."""
    note: str = ""


State: TypeAlias = Literal["running", "done", "held"]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure. Who is forgotten is told by ``subject`` alone: a commitment that only the opening opens."""

    id: str
    org: str
    project: str
    state: State
    """``held``: what a hold covers is kept, and erased when it is lifted."""
    subject: str
    """HMAC-SHA256, keyed with the opening, of the canonical JSON of user, sessions and requests."""
    reference: str
    requested_at: int
    requested_by: str
    done_at: int | None = None
    stores: tuple[Erased, ...] = ()
    holds: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    """Versions of prompts (``NAME@NUMBER``) that quote an erased example: they cannot be changed, only revoked."""
    attempts: int = 0
    """How often it was taken up: once, and once more after each crash or failure."""
    intent_leaf: int = 0
    outcome_leaf: int | None = None
    version: int = 1


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that has begun, with what only its asker is told, this once."""

    erasure: Erasure
    opening: str
    """Hexadecimal. Whoever has it, and knows the subject, can show that the receipt is theirs."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure as others can check it: ``verify.receipts`` does, offline."""

    format: str
    erasure: Json
    """What was done; its canonical JSON is what the outcome's leaf and the signature are about."""
    digest: str
    """SHA-256 of that, hexadecimal; a fact of the leaf."""
    leaf: str
    """Body of the outcome's leaf, as it is hashed."""
    proof: Json
    """Inclusion of that leaf, with the signed checkpoint."""
    key: str
    """Public key of the log, ``NAME+HASH+KEY``."""
    signature: str
    """Base64, by that key."""
