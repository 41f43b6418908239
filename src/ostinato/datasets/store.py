"""Rows to structs and back. Every function runs inside a transaction that is open."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.errors import NotFound
from ostinato.datasets import examples, tables
from ostinato.datasets.examples import Prepared
from ostinato.datasets.model import SPLITS, Dataset, DatasetVersion, Example, Finding, Look, Shares

_LOOKED_AT = 50
_MANY = 500
"""Values in one ``IN`` list."""


class Member(msgspec.Struct, frozen=True):
    """What is known of an example of a version without reading its texts."""

    id: str
    digest: str
    inputs_key: str
    answer_key: str
    stratum: str
    split: str
    erased: bool


def find(connection: sa.Connection, project: str, ref: str, *, lock: bool = False) -> Dataset:
    """A dataset of a project by name or id. ``lock``: nobody else changes it until this transaction ends."""
    table = tables.dataset
    which = table.c.id if ids.is_id(ref) else table.c.name
    query = sa.select(table).where(table.c.project == project, which == ref[:255].replace("\x00", ""))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFound(
            f"There is no dataset {ref[:80]!r}.",
            code="dataset_not_found",
            hint="`ostinato datasets list` shows those of a project.",
        )
    return dataset(row)


def by_version(connection: sa.Connection, version_id: str, *, lock: bool = False) -> tuple[Dataset, DatasetVersion]:
    """A version by its id, with its dataset (locked, where asked)."""
    row = None
    if ids.is_id(version_id):
        query = sa.select(tables.dataset_version).where(tables.dataset_version.c.id == version_id)
        row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no version {version_id[:80]!r} of a dataset.", code="dataset_version_not_found")
    query = sa.select(tables.dataset).where(tables.dataset.c.id == row["dataset_id"])
    home = connection.execute(query.with_for_update() if lock else query).mappings().one()
    of = dataset(home)
    return of, version(of, row)


def find_version(connection: sa.Connection, of: Dataset, number: int | None, *, lock: bool = False) -> DatasetVersion:
    """A version by its number; ``None``: the newest that is sealed."""
    table = tables.dataset_version
    wanted = of.latest if number is None else number
    query = sa.select(table).where(table.c.dataset_id == of.id, table.c.number == wanted)
    row = None
    if 0 < wanted < 2**31:
        row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFound(
            f"The dataset {of.name!r} has no version {wanted}." if wanted else f"The dataset {of.name!r} is empty.",
            code="dataset_version_not_found",
            hint=f"`ostinato datasets versions {of.name}` shows them.",
        )
    return version(of, row)


def members(connection: sa.Connection, version_id: str) -> list[Member]:
    """All examples of a version in their order, without their texts."""
    member, one = tables.dataset_member, tables.example
    query = (
        sa.select(
            one.c.id, one.c.digest, one.c.inputs_key, one.c.answer_key, one.c.stratum, member.c.split, one.c.erased_at
        )
        .join(one, one.c.id == member.c.example_id)
        .where(member.c.version_id == version_id)
        .order_by(member.c.position)
    )
    return [Member(*row[:6], erased=row[6] is not None) for row in connection.execute(query)]


def load(
    connection: sa.Connection,
    version_id: str,
    splits: Sequence[str],
    *,
    after: int = 0,
    limit: int | None = None,
    living: bool = True,
    only: Collection[str] | None = None,
) -> Iterator[tuple[int, Example]]:
    """(position, example) in order, from behind position ``after``. ``living``: no tombstones."""
    member, one = tables.dataset_member, tables.example
    query = (
        sa.select(member.c.position, one.c.id, one.c.digest, member.c.split, one.c.source, one.c.body)
        .join(one, one.c.id == member.c.example_id)
        .where(member.c.version_id == version_id, member.c.split.in_(splits), member.c.position > after)
        .order_by(member.c.position)
    )
    if living:
        query = query.where(one.c.body.is_not(None))
    if only is not None:
        query = query.where(one.c.id.in_(only))
    if limit is not None:
        query = query.limit(limit)
    for position, *row in connection.execute(query):
        yield position, examples.built(*row)


def shape(connection: sa.Connection, version_id: str) -> tuple[set[str], bool]:
    """Names of the inputs of a version's first examples, and whether these have references; empty where it is."""
    some = [one for _, one in load(connection, version_id, SPLITS, limit=_LOOKED_AT)]
    return {name for one in some for name in one.inputs}, any(one.reference is not None for one in some)


def standing(connection: sa.Connection, dataset_id: str, digests: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Digest -> (id, whether it has been erased), of those examples that the dataset knows."""
    table = tables.example
    found: dict[str, tuple[str, bool]] = {}
    for some in _some(digests):
        query = sa.select(table.c.digest, table.c.id, table.c.erased_at).where(
            table.c.dataset_id == dataset_id, table.c.digest.in_(some)
        )
        found.update({digest: (name, erased is not None) for digest, name, erased in connection.execute(query)})
    return found


def said(connection: sa.Connection, version_id: str, keys: Sequence[str]) -> set[tuple[str, str]]:
    """(inputs key, answer key) of those examples of a version that ask one of ``keys``."""
    member, one = tables.dataset_member, tables.example
    found: set[tuple[str, str]] = set()
    for some in _some(keys):
        query = (
            sa.select(one.c.inputs_key, one.c.answer_key)
            .join(member, one.c.id == member.c.example_id)
            .where(member.c.version_id == version_id, one.c.inputs_key.in_(some))
        )
        found.update((inputs, answer) for inputs, answer in connection.execute(query))
    return found


def insert(connection: sa.Connection, dataset_id: str, new: Sequence[Prepared], now: int) -> dict[str, str]:
    """Write examples that are not there yet; gives digest -> id."""
    made = {one.digest: ids.new(now) for one in new}
    rows = [
        {
            "id": made[one.digest],
            "dataset_id": dataset_id,
            "digest": one.digest,
            "inputs_key": one.inputs_key,
            "answer_key": one.answer_key,
            "stratum": one.stratum,
            "subject": one.subject,
            "source": one.source,
            "body": one.body,
            "created_at": now,
            "erased_at": None,
        }
        for one in new
    ]
    if rows:
        connection.execute(tables.example.insert(), rows)
    return made


def join(connection: sa.Connection, version_id: str, at: int, pairs: Sequence[tuple[str, str]]) -> None:
    """Put (example id, split) into a version, from position ``at`` on."""
    rows = [
        {"version_id": version_id, "position": at + number, "example_id": name, "split": split}
        for number, (name, split) in enumerate(pairs)
    ]
    if rows:
        connection.execute(tables.dataset_member.insert(), rows)


def last_position(connection: sa.Connection, version_id: str) -> int:
    table = tables.dataset_member
    query = sa.select(sa.func.max(table.c.position)).where(table.c.version_id == version_id)
    return connection.execute(query).scalar() or 0


def version_row(dataset_id: str, value: DatasetVersion) -> dict[str, object]:
    names = {column.name for column in tables.dataset_version.columns} - {"dataset_id", "findings"}
    row = {name: value_ for name, value_ in msgspec.structs.asdict(value).items() if name in names}
    return {**row, "dataset_id": dataset_id, "findings": msgspec.to_builtins(value.findings)}


def dataset(row: Mapping[Any, Any]) -> Dataset:
    values: dict[str, Any] = {name: row[name] for name in Dataset.__struct_fields__}
    values["shares"] = msgspec.convert(values["shares"], Shares)
    return Dataset(**values)


def version(of: Dataset, row: Mapping[Any, Any]) -> DatasetVersion:
    values = {name: row[name] for name in DatasetVersion.__struct_fields__ if name in row}
    values["findings"] = msgspec.convert(values["findings"], tuple[Finding, ...])
    return DatasetVersion(**values, dataset=of.name, org=of.org, project=of.project)


def look(row: Mapping[Any, Any]) -> Look:
    return Look(**{name: row[name] for name in Look.__struct_fields__})


def _some(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]


def ids_of(connection: sa.Connection, query: sa.Select[Any]) -> list[str]:
    """The one column of a query."""
    return [cast("str", value) for (value,) in connection.execute(query)]
