"""Pages of lists, one way for all of them: ``?after=CURSOR&limit=N`` gives ``{"items": [...], "next": CURSOR}``.

A list route takes ``after: After = None, limit: Limit = 100`` and its own filters as query parameters, asks its room
for ``limit`` items after the cursor, and gives ``page(found, limit, cursor)``. Cursors are opaque to callers.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

T = TypeVar("T")

MOST = 500
"""Items of a page."""

After = Annotated[
    str | None, QueryParameter(max_length=512, description="The `next` of the page before; left out: from the start.")
]
Limit = Annotated[int, QueryParameter(ge=1, le=MOST, description=f"Most items of this page, 1 to {MOST}.")]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items of a list, in its order."""

    items: list[T]
    next: str | None
    """Give it as ``after`` for the next page; ``null`` on the last."""


def page(found: Sequence[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """A page of what a room gave for ``limit``; a full one has a next, which may turn out to be empty."""
    return Page(list(found), cursor(found[-1]) if found and len(found) >= limit else None)
