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
