"""What a dataset is: examples, the versions that hold them, and the parts that they are split into. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.wire.model import Json

Split: TypeAlias = Literal["train", "dev", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "dev", "holdout")


class Passage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A retrieved text, and whether it is what should have been found."""

    id: str
    text: str = ""
    relevance: float | None = None
    """0: not relevant; larger: more so; ``None``: not judged."""


class NewExample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An example as it is handed in."""

    inputs: Json
    """Variable -> value, as the prompt takes them."""
    reference: object = None
    """The answer that is right: text, label, number, JSON; ``None``: there is none."""
    metadata: Json = {}
    passages: tuple[Passage, ...] = ()
    group: str = ""
    """Examples of one group are never split apart."""
    stratum: str = ""
    """What slices and stratified samples go by; empty: the reference, where that is a short text."""
    source: str = ""
    """Request id, file and line, review: where it comes from."""


class Example(NewExample, frozen=True, kw_only=True, omit_defaults=True):
    """An example of a version."""

    id: str
    digest: str
    """SHA-256 of what it says, in hexadecimal: stays when the rest has been erased."""
    split: Split
    erased: bool = False
    """A tombstone: its texts are gone."""


class Shares(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a dataset each split gets; they come to 1. Chosen once: no example ever changes its split."""

    train: float = 0.5
    dev: float = 0.2
    holdout: float = 0.3


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something about a version that its users should know. Holds no texts."""

    kind: str
    """One word for programs: ``contradictions``, ``one-class``, ``near-duplicates`` ..."""
    severity: Literal["note", "warning", "error"]
    """``error``: an optimization run refuses to begin."""
    count: int
    message: str
    examples: tuple[str, ...] = ()
    """Ids of some of them, never of the sealed part where that would tell what it holds."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A name under which versions are counted."""

    id: str
    org: str
    project: str
    name: str
    description: str = ""
    shares: Shares
    latest: int
    """Number of the newest sealed version; 0: there is none."""
    created_at: int
    created_by: str


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Examples as they were put together once; never changed."""

    id: str
    dataset: str
    """Name of the dataset."""
    org: str
    project: str
    number: int
    digest: str
    """SHA-256 over the digests and splits of its examples."""
    holdout_digest: str
    """The same over the sealed part: what alpha is spent on."""
    counts: dict[str, int]
    """Split -> examples."""
    strata: dict[str, int] = {}
    created_at: int
    created_by: str
    note: str = ""
    used_at: int | None = None
    """When it was first used; from then on it only loses what is erased."""
    open: bool = False
    """Examples are still being added: it cannot be used until it is sealed, and has no digest until then."""
    dropped: dict[str, int] = {}
    """Why -> examples that were handed in and left out: ``duplicates``, ``erased``, ``near-duplicates``."""
    findings: tuple[Finding, ...] = ()
    """What was seen when it was sealed."""
    origin: Json = {}
    """How it was put together: ``base``, ``without``; of recorded traffic, the filter that chose it."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed part was opened once, for one prompt and run, and this much of alpha was spent on it."""

    id: str
    version_id: str
    holdout_digest: str
    prompt: str
    run: str
    alpha: float
    spent: float
    """What the prompt had spent on this holdout when the look was over, what its examples carried along included."""
    examples: int
    at: int
    actor: str
