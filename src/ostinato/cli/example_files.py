"""Examples out of files: CSV, JSONL, Parquet; and their way to the server, in parts that fit."""

import codecs
import csv
import datetime
import decimal
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_LONGEST = 1_000_000
"""Characters of a cell, bytes of an example: what is longer fits into no request."""
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
        if (size := len(_encode(row))) > _LONGEST:
            raise _too_long(source, f"the row takes {size:,} bytes")
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
        # No prompt can name a column without a name, such as the row numbers that a data frame writes first.
        inputs = {name: name for name in row if name.strip() and name not in named}
    missing = [name for name in (*inputs.values(), *named) if name is not None and name not in row]
    if missing:
        there = ", ".join(repr(name) for name in list(row)[:20])
        raise Invalid(f"{source}: there is no column {missing[0][:80]!r}.", hint=f"There are: {there}.")
    example: dict[str, Any] = {"inputs": {name: row[column] for name, column in inputs.items()}, "source": source}
    if single["reference"] is not None:
        # An empty cell: not known. As a text, nothing would be the only right answer.
        known = row[single["reference"]]
        example["reference"] = None if known == "" else known
    for name in ("group", "stratum"):
        column = single[name]
        if column is not None and row[column] is not None:
            example[name] = str(row[column])
    if columns.get("metadata"):
        example["metadata"] = {name: row[name] for name in columns["metadata"]}
    return example


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_LONGEST)
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            filled = (row for row in rows if row)
            for names in itertools.islice(filled, 1):
                _distinct(names, f"{path.name}:{rows.line_num}")
                for row in filled:
                    line = rows.line_num + 1
                    if len(row) != len(names):
                        raise Invalid(f"{path.name}:{rows.line_num}: the row has not as many cells as the first line.")
                    yield rows.line_num, dict(zip(names, row, strict=True))
    except UnicodeDecodeError as error:
        raise _not_utf8(path.name, error) from None
    except csv.Error as error:
        if "field larger" in str(error):
            raise _too_long(f"{path.name}:{line}", f"a cell has more than {_LONGEST:,} characters") from None
        raise Invalid(f"{path.name}:{line} cannot be read as CSV: {error}.") from None


def _distinct(names: Sequence[str], where: str) -> None:
    """Two columns of one name would be one: the last, without a word."""
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        hint = "A column without a name is one, too." if not twice else ""
        raise Invalid(f"{where}: two columns are called {twice[:80]!r}.", hint=f"Rename one of them. {hint}".strip())


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            # As for CSV: some editors and spreadsheets begin a file so.
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not text.strip():
                continue
            try:
                text.decode()
                yield number, msgspec.json.decode(text, type=dict[str, Any])
            except UnicodeDecodeError as error:
                raise _not_utf8(f"{path.name}:{number}", error) from None
            except RecursionError:
                raise Invalid(f"{path.name}:{number} is nested too deeply.") from None
            except msgspec.DecodeError as error:
                hint = "Each line is one object: NaN and Infinity are no JSON, and null stands for what is not known."
                raise Invalid(f"{path.name}:{number} is no JSON object: {error}.", hint=hint) from None


def _not_utf8(where: str, error: UnicodeDecodeError) -> Invalid:
    return Invalid(
        f"{where} is not in UTF-8: {error.reason} at byte {error.start}.",
        hint="Save it in UTF-8, for example with: iconv -f WINDOWS-1252 -t UTF-8 (or -f UTF-16).",
    )


def _too_long(where: str, what: str) -> Invalid:
    return Invalid(
        f"{where}: {what}; no request takes so much.",
        code="example_too_large",
        hint="Shorten it, or leave it out. Is a quotation mark missing?"
        if what.startswith("a cell")
        else "Shorten it.",
    )


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
            _distinct(cast("list[str]", file.schema_arrow.names), path.name)
            for batch in file.iter_batches(batch_size=1_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: _plain(value, f"{path.name}:{number}", name) for name, value in row.items()}
    except (OSError, ValueError) as error:
        raise Invalid(f"{path.name} cannot be read as Parquet: {str(error).rstrip('.')}.") from None


def _plain(value: Any, where: str, column: str) -> Any:
    """What JSON has a form for. NaN is how tables without nulls write that a value is missing."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float) and math.isinf(value):
        raise Invalid(f"{where}: the column {column[:80]!r} is infinite, which JSON has no form for.")
    return None if isinstance(value, float) and math.isnan(value) else value


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
