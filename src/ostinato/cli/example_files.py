"""Examples out of files: CSV, JSONL, Parquet; and their way to the server, in parts that fit."""

import csv
import datetime
import decimal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ostinato.cli.client import call, part
from ostinato.core.errors import Invalid, OstinatoError

PART, PART_BYTES = 500, 800_000
"""Most examples, and bytes of them, in one request."""
_FIELDS = frozenset({"inputs", "reference", "metadata", "passages", "group", "stratum", "source"})
_encode = msgspec.json.Encoder(enc_hook=str).encode

Columns = Mapping[str, Any]
"""Option -> column or columns of the file."""


def read(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    """The examples of a file, one after another. Raises ``Invalid`` naming the line that cannot be used.

    A line of JSON that has ``inputs`` is an example as it is. Of any other row the columns that are named become its
    fields; where no input is named, all others do.
    """
    rows = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet}
    reader = rows.get(path.suffix.lower())
    if reader is None:
        raise Invalid(f"{path.name}: this kind of file cannot be read.", hint=f"These can: {', '.join(rows)}.")
    for line, row in reader(path):
        source = f"{path.name}:{line}"[-255:]
        if isinstance(row.get("inputs"), dict) and not columns.get("input"):
            unknown = sorted(set(row) - _FIELDS - {"id", "digest", "split", "erased"})
            if unknown:
                raise Invalid(f"{source}: an example has no field {unknown[0][:40]!r}.")
            if not row.get("erased"):
                yield {**{name: row[name] for name in _FIELDS & set(row)}, "source": row.get("source") or source}
        else:
            yield _mapped(row, columns, source)


def _mapped(row: Mapping[str, Any], columns: Columns, source: str) -> dict[str, Any]:
    single = {name: columns.get(name) for name in ("reference", "group", "stratum")}
    named = [*single.values(), *columns.get("metadata", ())]
    inputs: dict[str, str] = {}
    for text in columns.get("input", ()):
        column, _, variable = text.partition("=")
        inputs[variable or column] = column
    if not inputs:
        inputs = {name: name for name in row if name not in named}
    missing = [name for name in (*inputs.values(), *named) if name is not None and name not in row]
    if missing:
        there = ", ".join(repr(name) for name in list(row)[:20])
        raise Invalid(f"{source}: there is no column {missing[0][:80]!r}.", hint=f"There are: {there}.")
    example: dict[str, Any] = {"inputs": {name: row[column] for name, column in inputs.items()}, "source": source}
    if single["reference"] is not None:
        example["reference"] = row[single["reference"]]
    for name in ("group", "stratum"):
        column = single[name]
        if column is not None and row[column] is not None:
            example[name] = str(row[column])
    if columns.get("metadata"):
        example["metadata"] = {name: row[name] for name in columns["metadata"]}
    return example


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(1_000_000)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise Invalid(f"{path.name}:{reader.line_num}: the row has not as many cells as the first line.")
                yield reader.line_num, dict(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} cannot be read as CSV in UTF-8: {error}.") from None


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Invalid(f"{path.name}:{number} is no JSON object: {error}.") from None


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise Invalid(
            "Parquet takes another package.", code="missing_extra", hint="In a clone: pip install '.[parquet]'"
        ) from None
    library = cast("Any", parquet)
    number = 0
    try:
        with library.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: _plain(value) for name, value in row.items()}
    except (OSError, ValueError) as error:
        raise Invalid(f"{path.name} cannot be read as Parquet: {error}.") from None


def _plain(value: Any) -> Any:
    """What JSON has a form for."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value


def parts(examples: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Examples in lists that fit into one request each."""
    some: list[dict[str, Any]] = []
    size = 0
    for one in examples:
        length = len(_encode(one))
        if some and (len(some) >= PART or size + length > PART_BYTES):
            yield some
            some, size = [], 0
        some.append(msgspec.json.decode(_encode(one)))
        size += length
    if some:
        yield some


def upload(name: str, examples: list[dict[str, Any]], query: Mapping[str, object], **version: object) -> Any:
    """A new version of a dataset, whole or in parts; gives it as the server tells it. What fails leaves none."""
    path = f"/datasets/{part(name)}/versions"
    lists = list(parts(examples)) or [[]]
    if len(lists) == 1:
        return call("POST", path, {**version, "examples": lists[0]}, query=query)
    made = call("POST", path, {**version, "open": True}, query=query)
    at = f"{path}/{made['number']}"
    try:
        with _progress() as progress:
            task = progress.add_task(f"{name} version {made['number']}", total=len(examples))
            for some in lists:
                call("POST", f"{at}/examples", {"examples": some}, query=query)
                progress.advance(task, len(some))
        return call("POST", f"{at}/seal", query=query)
    except (OstinatoError, KeyboardInterrupt):
        call("DELETE", at, query=query)
        raise


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def write(file: Any, examples: Iterable[Any]) -> int:
    """Examples as lines of JSON; gives how many."""
    count = 0
    for one in examples:
        click.echo(msgspec.json.encode(one), file=file)
        count += 1
    return count
