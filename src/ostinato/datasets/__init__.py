"""Datasets: examples in immutable versions, split by hash, with a holdout that is sealed.

``Datasets`` makes them, of files, calls and recorded traffic; ``load`` gives other rooms what may be trained on,
``leaks`` tells what one part gives away of another. ``open_holdout`` gives the sealed part to the gate: every look is
written down and spends of an alpha per prompt and holdout, and ``HoldoutSpent`` says that there is no more. What is
erased leaves a tombstone, so digests of versions stay.
"""

from ostinato.datasets.changes import ERASURE
from ostinato.datasets.datasets import Datasets
from ostinato.datasets.holdout import HoldoutSpent
from ostinato.datasets.leakage import Embed
from ostinato.datasets.model import (
    SPLITS,
    Dataset,
    DatasetVersion,
    Example,
    Finding,
    Look,
    NewExample,
    Passage,
    Shares,
    Split,
)
from ostinato.datasets.settings import Settings
from ostinato.datasets.traffic import Quality, Traffic

__all__ = [
    "ERASURE",
    "SPLITS",
    "Dataset",
    "DatasetVersion",
    "Datasets",
    "Embed",
    "Example",
    "Finding",
    "HoldoutSpent",
    "Look",
    "NewExample",
    "Passage",
    "Quality",
    "Settings",
    "Shares",
    "Split",
    "Traffic",
]
