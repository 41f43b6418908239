"""Rows of experiments and cells."""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.core.errors import NotFound
from ostinato.evals import tables
from ostinato.evals.experiment import Experiment
from ostinato.evals.model import Cell, Variant

_DECODE = msgspec.msgpack.Decoder(Cell)
_ENCODE = msgspec.msgpack.Encoder()


def insert(connection: sa.Connection, experiment: Experiment, variants: Sequence[Variant]) -> None:
    """A new experiment."""
    values = _values(experiment) | {"variants": msgspec.to_builtins(list(variants))}
    connection.execute(sa.insert(tables.experiment).values(values))


def update(connection: sa.Connection, experiment: Experiment) -> None:
    """An experiment as it is now."""
    statement = sa.update(tables.experiment).where(tables.experiment.c.id == experiment.id)
    connection.execute(statement.values(_values(experiment)))


def find(connection: sa.Connection, experiment_id: str, *, lock: bool = False) -> Experiment:
    """One experiment. Raises ``NotFound``."""
    query = sa.select(tables.experiment.c.body).where(tables.experiment.c.id == experiment_id.replace("\x00", ""))
    body = connection.execute(query.with_for_update() if lock else query).scalar()
    if body is None:
        raise unknown(experiment_id)
    return msgspec.convert(body, Experiment)


def variants(connection: sa.Connection, experiment_id: str) -> tuple[Variant, ...]:
    """What an experiment asks, with its texts."""
    query = sa.select(tables.experiment.c.variants).where(tables.experiment.c.id == experiment_id)
    return msgspec.convert(connection.execute(query).scalar_one(), tuple[Variant, ...])


def page(
    connection: sa.Connection, project: str, *, state: str = "", dataset: str = "", after: str = "", limit: int = 100
) -> list[Experiment]:
    """A project's experiments, newest first, from before ``after``."""
    table = tables.experiment
    query = sa.select(table.c.body).where(table.c.project == project)
    for column, value in ((table.c.state, state), (table.c.dataset, dataset)):
        if value:
            query = query.where(column == value.replace("\x00", ""))
    if after:
        query = query.where(table.c.id < after.replace("\x00", ""))
    rows = connection.scalars(query.order_by(table.c.id.desc()).limit(limit))
    return [msgspec.convert(body, Experiment) for body in rows]


def unfinished(connection: sa.Connection) -> list[Experiment]:
    """Every experiment that should be going on."""
    query = sa.select(tables.experiment.c.body).where(tables.experiment.c.state.in_(("queued", "running")))
    return [msgspec.convert(body, Experiment) for body in connection.scalars(query)]


def unknown(experiment_id: str) -> NotFound:
    """The error for an experiment that does not exist, or not for the actor."""
    return NotFound(
        f"There is no experiment {experiment_id[:64]!r}.",
        code="experiment_not_found",
        hint="`ostinato eval list` shows them, with their ids.",
    )


def _values(experiment: Experiment) -> dict[str, object]:
    return {
        "id": experiment.id,
        "org": experiment.org,
        "project": experiment.project,
        "name": experiment.name,
        "dataset": experiment.dataset,
        "version_id": experiment.version_id,
        "state": experiment.state,
        "body": msgspec.to_builtins(experiment),
        "created_at": experiment.created_at,
    }


# --- cells, in the database ``work`` ------------------------------------------------------------------------------


def save(connection: sa.Connection, experiment_id: str, cells: Iterable[tuple[int, Cell]]) -> None:
    """Keep cells: (place of the variant, cell). One that is there already is replaced."""
    table = tables.cell
    for variant, cell in cells:
        mine = (table.c.experiment == experiment_id) & (table.c.variant == variant) & (table.c.example == cell.example)
        body = _ENCODE.encode(cell)
        if not connection.execute(sa.update(table).where(mine).values(body=body)).rowcount:
            connection.execute(
                sa.insert(table).values(experiment=experiment_id, variant=variant, example=cell.example, body=body)
            )


def done(connection: sa.Connection, experiment_id: str) -> set[tuple[int, str]]:
    """(Place of the variant, example) of the cells that are kept."""
    table = tables.cell
    query = sa.select(table.c.variant, table.c.example).where(table.c.experiment == experiment_id)
    return {(row.variant, row.example) for row in connection.execute(query)}


def count(connection: sa.Connection, experiment_id: str) -> int:
    """How many cells are kept."""
    query = sa.select(sa.func.count()).select_from(tables.cell).where(tables.cell.c.experiment == experiment_id)
    return int(connection.execute(query).scalar_one())


def cells(connection: sa.Connection, experiment_id: str, variant: int) -> dict[str, Cell]:
    """The cells of one variant, by example."""
    table = tables.cell
    query = sa.select(table.c.body).where(table.c.experiment == experiment_id, table.c.variant == variant)
    return {cell.example: cell for cell in map(_DECODE.decode, connection.scalars(query.order_by(table.c.example)))}


def cell_page(connection: sa.Connection, experiment_id: str, variant: int, *, after: str, limit: int) -> list[Cell]:
    """Some cells of one variant, by example."""
    table = tables.cell
    query = sa.select(table.c.body).where(
        table.c.experiment == experiment_id, table.c.variant == variant, table.c.example > after.replace("\x00", "")
    )
    return [_DECODE.decode(body) for body in connection.scalars(query.order_by(table.c.example).limit(limit))]


def erase(connection: sa.Connection, example: str) -> int:
    """Forget what was answered about an example; its scores stay. Gives how many cells that were."""
    table = tables.cell
    query = sa.select(table.c.experiment, table.c.variant, table.c.body).where(table.c.example == example)
    rows = connection.execute(query).all()
    for experiment_id, variant, body in rows:
        cell = _DECODE.decode(body)
        bare = msgspec.structs.replace(
            cell,
            output="",
            posterior={},
            retrieved=(),
            scores=tuple(msgspec.structs.replace(score, rationale="", label="") for score in cell.scores),
        )
        statement = sa.update(table).where(
            table.c.experiment == experiment_id, table.c.variant == variant, table.c.example == example
        )
        connection.execute(statement.values(body=_ENCODE.encode(bare)))
    return len(rows)
