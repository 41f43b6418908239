"""The sealed part: every look is written down, and spends of an alpha that is never given twice.

What a prompt may ask of a holdout is bounded: all its looks together spend at most ``alpha`` of the settings, so the
chance that *any* of them proves what is not so stays below it. A holdout that shares examples with one that the prompt
has looked at begins with that share of what was spent there: adding an example to a dataset buys nothing.
"""

import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, LimitReached
from ostinato.datasets import store, tables
from ostinato.datasets.model import Dataset, DatasetVersion, Look

_EXACT = 1e-9
"""Sums of alphas are compared with so much room: 0.01 five times is 0.05."""


class HoldoutSpent(LimitReached):
    """The prompt has asked this holdout as often as it may."""

    status = 409
    default_code = "holdout_spent"


def spent(connection: sa.Connection, version: DatasetVersion, prompt: str) -> float:
    """What a prompt has spent on the examples of a version's holdout, in this version or another one."""
    table = tables.holdout_look
    query = sa.select(table.c.version_id, table.c.holdout_digest, table.c.alpha).where(
        table.c.project == version.project, table.c.prompt == prompt
    )
    total = 0.0
    shared: dict[str, float] = {}
    for version_id, digest, alpha in connection.execute(query).all():
        if digest == version.holdout_digest:
            total += alpha
            continue
        if version_id not in shared:
            shared[version_id] = _overlap(connection, version_id, version)
        total += alpha * shared[version_id]
    return total


def look(
    connection: sa.Connection,
    of: Dataset,
    version: DatasetVersion,
    *,
    prompt: str,
    run: str,
    alpha: float,
    most: float,
    now: int,
    by: str,
) -> Look | None:
    """Write a look down and spend its alpha; ``None`` where this run has looked already. The dataset is locked.

    Raises ``HoldoutSpent`` where ``most`` would be exceeded, ``Conflict`` where the run looked with another alpha,
    ``Invalid`` where there is nothing to look at.
    """
    must_be_sealed(version)
    if not 0 < alpha <= most:
        raise Invalid(f"A look spends more than 0 and at most {most:g} of alpha.", code="invalid_alpha", param="alpha")
    if not version.counts.get("holdout"):
        raise Invalid(
            f"Version {version.number} of {of.name!r} has no holdout: nothing can be proven with it.",
            code="holdout_empty",
        )
    # Looks of one prompt at two datasets share one alpha where their examples are the same: one at a time.
    table = tables.dataset
    connection.execute(
        sa.select(table.c.id).where(table.c.project == of.project).order_by(table.c.id).with_for_update()
    ).all()
    looks = tables.holdout_look
    query = sa.select(looks).where(looks.c.version_id == version.id, looks.c.prompt == prompt, looks.c.run == run)
    row = connection.execute(query).mappings().first()
    if row is not None:
        if abs(row["alpha"] - alpha) > _EXACT:
            raise Conflict(
                f"The run {run[:80]!r} has looked at this holdout with alpha {row['alpha']:g} already.",
                code="look_differs",
            )
        return None
    before = spent(connection, version, prompt)
    if before + alpha > most + _EXACT:
        raise HoldoutSpent(
            f"The prompt {prompt!r} has spent {before:.4g} of {most:g} on the holdout of {of.name!r} "
            f"version {version.number}; {alpha:g} more would exceed it.",
            hint="Add fresh examples to the dataset: what has not been looked at can be asked.",
        )
    living = sum(1 for _ in store.load(connection, version.id, ("holdout",)))
    value = Look(
        id=ids.new(now),
        version_id=version.id,
        holdout_digest=version.holdout_digest,
        prompt=prompt,
        run=run,
        alpha=alpha,
        spent=before + alpha,
        examples=living,
        at=now,
        actor=by,
    )
    row_ = {name: getattr(value, name) for name in Look.__struct_fields__}
    connection.execute(looks.insert(), {**row_, "project": of.project})
    return value


def must_be_sealed(version: DatasetVersion) -> None:
    """Raise ``Conflict`` for a version that is still open: what it holds is not settled."""
    if version.open:
        raise Conflict(
            f"Version {version.number} of {version.dataset!r} is still open.", code="version_open", hint="Seal it."
        )


def looks(connection: sa.Connection, version_id: str) -> tuple[Look, ...]:
    """All looks at a version's holdout, oldest first."""
    table = tables.holdout_look
    query = sa.select(table).where(table.c.version_id == version_id).order_by(table.c.id)
    return tuple(store.look(row) for row in connection.execute(query).mappings())


def _overlap(connection: sa.Connection, looked_at: str, version: DatasetVersion) -> float:
    """Which share of a version's holdout is in the holdout of another one, by what the examples ask."""
    seen = {one.inputs_key for one in store.members(connection, looked_at) if one.split == "holdout"}
    mine = [one for one in store.members(connection, version.id) if one.split == "holdout"]
    return sum(1 for one in mine if one.inputs_key in seen) / len(mine) if mine else 0.0
