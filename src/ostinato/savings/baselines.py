"""The release before the one in force, for each label: what the baseline hold-out answers with.

Read again whenever the prompts are: a label that moves is the only thing that changes it. Only a release that was
itself approved, promoted, and replaced in good order is gone back to; one that was rolled back never is.
"""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from ostinato.releases import tables


class Before(msgspec.Struct, frozen=True, gc=False):
    """What answered before the release that is in force."""

    number: int
    """The version."""
    release: str
    """Id of its release."""


Baselines = Mapping[str, Before]
"""By id of the release in force."""


def load(connection: sa.Connection) -> dict[str, Before]:
    """For every active release whose predecessor may be gone back to. Blocking."""
    now, before = tables.release.alias("now"), tables.release.alias("before")
    query = (
        sa.select(now.c.id, before.c.number, before.c.id.label("release"))
        .join(before, sa.and_(before.c.id == now.c.base_release, before.c.number == now.c.base_number))
        .where(now.c.state == "active", before.c.state == "superseded", before.c.project == now.c.project)
    )
    return {row.id: Before(row.number, row.release) for row in connection.execute(query)}
