"""Which split an example belongs to: by a hash of its group or of its normalized inputs, and of nothing else.

So an example has the same split in every version of a dataset (and in every dataset of equal shares), whatever came in
before it, and examples that say the same never stand on two sides.
"""

import unicodedata
from typing import Any, cast

from ostinato.core import hashing
from ostinato.core.errors import Invalid
from ostinato.datasets.model import NewExample, Shares, Split

_SCALE = 2**64


def normalized_text(text: str) -> str:
    """``text`` without what does not change what it says: case, width, and how much space there is."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def normalized(value: object) -> object:
    """The same for every text in a JSON value; names of fields stay as they are."""
    if isinstance(value, str):
        return normalized_text(value)
    if isinstance(value, dict):
        return {name: normalized(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [normalized(item) for item in cast("list[Any]", value)]
    return value


def inputs_key(example: NewExample) -> str:
    """Equal for examples that ask the same: 64 hexadecimal digits."""
    return hashing.digest(b"inputs", hashing.canonical_json(normalized(example.inputs))).hex()


def split_of(example: NewExample, shares: Shares, key: str = "") -> Split:
    """The example's split; ``key``: its :func:`inputs_key`, where it is known already."""
    what = hashing.digest(b"group", example.group.encode()).hex() if example.group else key or inputs_key(example)
    place = int.from_bytes(hashing.digest(b"split", what.encode())[:8], "little") / _SCALE
    if place < shares.train:
        return "train"
    return "dev" if place < shares.train + shares.dev else "holdout"


def check_shares(shares: Shares) -> Shares:
    """``shares``, if they can be. Raises ``Invalid``."""
    parts = (shares.train, shares.dev, shares.holdout)
    if not all(0 <= part <= 1 for part in parts) or abs(sum(parts) - 1) > 1e-9:
        raise Invalid(
            "The shares of train, dev and holdout are from 0 to 1 and come to 1.",
            code="invalid_shares",
            param="shares",
            hint='Such as {"train": 0.5, "dev": 0.2, "holdout": 0.3}.',
        )
    return shares
