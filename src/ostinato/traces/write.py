"""Rows into the database, as plain tuples through the driver: a third of what SQLAlchemy's dictionaries cost.

All functions run inside a transaction of the writer. Values are always bound parameters; the statements are built from
the names in ``tables`` alone.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeAlias, cast

import msgspec
import sqlalchemy as sa
import sqlalchemy.exc as sa_errors

from ostinato import checks
from ostinato.traces import rollup, tables
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import Origin
from ostinato.wire.model import Json

Values: TypeAlias = tuple[Any, ...]

_HIT = tuple(column.name for column in tables.hit.columns)[1:]
_CALL = tuple(column.name for column in tables.call.columns)[1:]
_ORIGIN = (
    "request_id, org, project, alias, target, intent, wire, provider, model, "
    "coalesce(input, 0) + coalesce(cache_read, 0) + coalesce(cache_write, 0), "
    "coalesce(output, 0) + coalesce(reasoning, 0), cost IS NOT NULL, prompt, release, fingerprint, family"
)
_LOOKED_UP = 500
"""Ids in one ``IN`` list."""
_LARGEST = 2**63 - 1

_ROW_FAULTS = (
    sa_errors.IntegrityError,
    sa_errors.DataError,
    sa_errors.InterfaceError,
    sa_errors.ProgrammingError,
    sa_errors.StatementError,
    ValueError,
    OverflowError,
    TypeError,
)
"""What one bad row raises, whatever the driver. A failing disk or server raises ``OperationalError``."""


def hit_values(row: HitRow) -> Values:
    return msgspec.structs.astuple(row)


def call_values(row: CallRow, text_chars: int) -> Values:
    """The columns of ``call``. Texts are redacted here, in the writer's thread, and cut to ``text_chars``."""
    usage = row.usage
    return (
        row.request_id,
        row.at,
        row.client_request_id,
        row.org,
        row.project,
        row.key_id,
        row.wire,
        row.stream,
        row.alias,
        row.provider,
        row.model,
        row.target,
        _json(row.attempts),
        row.cache,
        row.reason,
        row.stored,
        row.generation,
        row.fingerprint,
        row.input_digest,
        row.user_digest,
        row.session,
        row.tags,
        row.intent,
        *((usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning) if usage else (None,) * 5),
        _json(usage.raw) if usage and usage.raw is not None else None,
        row.cost,
        row.counterfactual,
        row.saved,
        row.status,
        row.error,
        row.finish,
        row.auth_us,
        row.lookup_us,
        row.upstream_us,
        row.first_token_us,
        row.total_us,
        row.system_fingerprint,
        _text(row.input_text, text_chars),
        _text(row.output_text, text_chars),
        _json(_extra(row.extra, text_chars)) if row.extra is not None else None,
        row.prompt,
        row.prompt_version,
        row.release,
        row.arm,
        row.family,
        row.trial,
        row.answered_by,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _extra(extra: Json, most: int) -> Json:
    """``extra`` with the prompt's variables redacted; without them where they are longer than ``most`` characters."""
    if "variables" not in extra:
        return extra
    variables = _redacted(extra["variables"])
    kept = {name: value for name, value in extra.items() if name != "variables"}
    return kept if len(_json(variables)) > most else {**kept, "variables": variables}


def _redacted(value: Any) -> Any:
    """A JSON value with every text in it redacted, names of fields included."""
    if isinstance(value, str):
        return checks.redact(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {checks.redact(name): _redacted(item) for name, item in items}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in cast("list[Any]", value)]
    return value


def _text(text: str | None, most: int) -> str | None:
    if text is None:
        return None
    # Some more than is kept is redacted, so that what straddles the cut is seen whole.
    return checks.redact(text[: 2 * most])[:most]


def insert_hits(connection: sa.Connection, rows: Iterable[HitRow], *, careful: bool = False) -> int:
    """Write hits; gives how many no database would take (0 unless ``careful``)."""
    return _insert(connection, "hit", _HIT, [hit_values(row) for row in rows], careful=careful)


def insert_calls(connection: sa.Connection, rows: Iterable[CallRow], text_chars: int, *, careful: bool = False) -> int:
    """Write calls; gives how many no database would take (0 unless ``careful``)."""
    values: list[Values] = []
    refused = 0
    for row in rows:
        try:
            values.append(call_values(row, text_chars))
        except (TypeError, ValueError):  # an ``extra`` that is no JSON
            if not careful:
                raise
            refused += 1
    return refused + _insert(connection, "call", _CALL, values, careful=careful)


def _insert(connection: sa.Connection, table: str, names: Sequence[str], rows: list[Values], *, careful: bool) -> int:
    if not rows:
        return 0
    # ``table`` and ``names`` are constants of this module.
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places(connection, len(names))})"  # noqa: S608
    if careful:
        return _insert_one_by_one(connection, statement, rows)
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {table} ({', '.join(names)}) FROM STDIN", rows)
    else:
        connection.exec_driver_sql(statement, rows)
    return 0


def _copy(connection: sa.Connection, statement: str, rows: Iterable[Values]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        write: Callable[[Values], None] = copy.write_row
        for row in rows:
            write(row)


def _insert_one_by_one(connection: sa.Connection, statement: str, rows: Iterable[Values]) -> int:
    refused = 0
    for row in rows:
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(statement, tuple(clean(value) for value in row))
        except _ROW_FAULTS as error:
            # SQLAlchemy's OperationalError is a StatementError too: that one is the disk's or the server's.
            if isinstance(error, sa_errors.OperationalError):
                raise
            refused += 1
    return refused


def clean(value: Any) -> Any:
    """What any database takes: no NUL, no half of a surrogate pair, no integer beyond 64 bits."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, int) and abs(value) > _LARGEST:
        return _LARGEST if value > 0 else -_LARGEST
    return value


def find_origins(connection: sa.Connection, request_ids: Collection[str]) -> dict[str, Origin]:
    """What is known of these calls; those that are not there are left out."""
    found: dict[str, Origin] = {}
    wanted = list(request_ids)
    for start in range(0, len(wanted), _LOOKED_UP):
        some = tuple(clean(name) for name in wanted[start : start + _LOOKED_UP])
        statement = f"SELECT {_ORIGIN} FROM call WHERE request_id IN ({places(connection, len(some))})"  # noqa: S608
        for row in connection.exec_driver_sql(statement, some):
            name, *known, priced, prompt, release, fingerprint, family = row
            found[name] = Origin(
                *known,
                priced=bool(priced),
                prompt=prompt,
                release=release,
                asked=fingerprint[: rollup.ASKED],
                chat=known[5] in rollup.CHAT,
                family=family,
            )
    return found


def places(connection: sa.Connection, count: int) -> str:
    """Marks of that many bound parameters, as the driver wants them."""
    return ", ".join(["%s" if connection.dialect.name == "postgresql" else "?"] * count)
