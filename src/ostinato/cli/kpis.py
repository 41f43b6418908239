"""``kpis``: figures with their intervals, what there is of them, and outcomes out of files."""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ostinato.cli.client import call, json_option, show
from ostinato.cli.spans import since_option
from ostinato.cli.tables import figure, table, when
from ostinato.core.errors import Invalid

_PART = 500
_COLUMNS = ("request_id", "client_request_id", "session", "type", "value", "at", "id")
_REFUSED_SHOWN = 20

_filters = (
    click.option("--project", help="Id or short name; the key's own if left out."),
    click.option("--intent", help="Of this intent only."),
    click.option("--prompt", help="Of this prompt only."),
    click.option("--release", help="Of this release only."),
    click.option("--arm", help="Of this arm only."),
    click.option("--tier", type=click.Choice(["hit", "miss"]), help="Answered from cache, or not."),
    click.option("--by", default="", help="Cut by intent, prompt, release, arm, tier; with commas."),
)

_OF_MARKERS = ("since", "until", "project", "intent", "prompt", "release")


def _filtered(command: Any) -> Any:
    for option in reversed(_filters):
        command = option(command)
    return command


@click.group()
def kpis() -> None:
    """KPIs: what use cases are judged by, with n and intervals."""


@kpis.command("show")
@click.argument("names", nargs=-1)
@since_option
@click.option("--preset", type=click.Choice(["support", "developer", "search", "compliance"]), help="A use case's own.")
@_filtered
@json_option
def show_kpis(names: tuple[str, ...], as_json: bool, **query: Any) -> None:
    """Show figures: those named, those of a preset, or all."""
    show(call("GET", "/kpis", query={"names": ",".join(names), **query}), as_json, _print_page)


def _print_page(found: Any) -> None:
    rows = [
        (
            one["name"],
            " ".join(value or "-" for value in one["by"].values()) or "all",
            figure(one["value"], one["unit"]),
            "-" if one["low"] is None else f"{figure(one['low'], one['unit'])} .. {figure(one['high'], one['unit'])}",
            one["n"] or "-",
            _target(one["target"]),
            one["missing"] or _aside(one["detail"]),
        )
        for one in found["figures"]
    ]
    headers = ("figure", "of", ">value", "interval", ">n", "target", "")
    table(headers, rows, "No figures.", spare=("",))
    if found["figures"]:
        window = found["figures"][0]["window"]
        ages = [one["freshness"] for one in found["figures"] if one["freshness"] is not None]
        newest = f"; newest data {min(ages):,.0f} s old" if ages else "; no data"
        click.echo(f"{when(window['since'])} to {when(window['until'])}{newest}")
    if found["left_out"]:
        click.echo(f"{found['left_out']} smaller groups are not shown.")
    for one in found["unknown"]:
        click.echo(f"No figure has the name of this target - {one}: see ostinato kpis list", err=True)


def _target(found: Any) -> str:
    if found is None:
        return "-"
    sign = ">=" if found["direction"] == "at-least" else "<="
    return f"{sign} {found['target']:g}: {found['verdict']}"


def _aside(detail: Any) -> str:
    plain = ((name, value) for name, value in detail.items() if isinstance(value, int | float | str))
    return ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in plain)


@kpis.command("list")
@json_option
def list_kpis(as_json: bool) -> None:
    """List every figure: name, unit, and how it is made."""
    show(call("GET", "/kpis/catalogue"), as_json, _print_catalogue)


def _print_catalogue(found: Any) -> None:
    rows = [(one["name"], one["group"], one["unit"], one["better"] or "-", one["formula"]) for one in found]
    table(("figure", "group", "unit", "better", "formula"), rows, "No figures.", spare=("formula",))


@kpis.command("series")
@click.argument("name")
@since_option
@click.option("--step", type=click.Choice(["10", "60", "3600", "86400"]), default="3600", show_default=True)
@_filtered
@json_option
def show_series(name: str, as_json: bool, **query: Any) -> None:
    """Show the course of one figure, and where releases began and ended in it; --step: seconds of a bucket."""
    asked = {name: value for name, value in query.items() if name in _OF_MARKERS}
    points = call("GET", "/kpis/series", query={"name": name, **query})
    markers: Any = () if as_json else call("GET", "/kpis/markers", query=asked)
    show(points, as_json, lambda found: _print_series(found, markers))


def _print_series(found: Any, markers: Any) -> None:
    told = [
        (
            one["at"],
            when(one["at"]),
            " ".join(value or "-" for value in one["by"].values()) or "all",
            *("-" if one[name] is None else f"{one[name]:.4g}" for name in ("value", "low", "high")),
            str(one["n"]),
            "",
        )
        for one in found
    ]
    if told:
        told += [
            (
                one["at"],
                when(one["at"]),
                *("",) * 5,
                f"{one['prompt']} {one['number']} at {one['label']}: {one['what'].replace('_', ' ')}",
            )
            for one in markers
        ]
    rows = [row[1:] for row in sorted(told, key=lambda row: row[0])]
    table(("from", "of", ">value", ">low", ">high", ">n", "release"), rows, "No data in this window.")


@kpis.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--project", default="", help="Id or short name; the key's own if left out.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
@json_option
def import_outcomes(file: Path, project: str, dry_run: bool, as_json: bool) -> None:
    """Tell outcomes out of a CSV file: columns request_id, client_request_id or session; type, value, at, id.

    With commas, semicolons or tabs between them. Ends with 1 where some were refused; a file may be imported again,
    what is known counts once.
    """
    total: dict[str, Any] = {"accepted": 0, "duplicates": 0, "refused": []}
    for lines, part in _parts(file):
        told = call("POST", "/outcomes", {"outcomes": part, "project": project, "dry_run": dry_run})
        total["accepted"] += told["accepted"]
        total["duplicates"] += told["duplicates"]
        total["refused"] += [{**one, "line": lines[one["line"] - 1]} for one in told["refused"]]
    show(total, as_json, lambda found: _print_import(found, dry_run))
    if total["refused"]:
        raise SystemExit(1)


def _print_import(found: Any, dry_run: bool) -> None:
    verb = "would be taken" if dry_run else "taken"
    click.echo(
        f"{found['accepted']:,} outcomes {verb}, {found['duplicates']:,} known already, "
        f"{len(found['refused']):,} refused."
    )
    for one in found["refused"][:_REFUSED_SHOWN]:
        click.echo(f"  line {one['line']}: {one['message']}", err=True)
    if len(found["refused"]) > _REFUSED_SHOWN:
        click.echo(f"  and {len(found['refused']) - _REFUSED_SHOWN:,} more: --json tells all", err=True)


def _parts(file: Path) -> Iterator[tuple[list[int], list[dict[str, str]]]]:
    """The file's outcomes in parts that fit, with their lines. Raises ``Invalid`` for columns that are none."""
    lines: list[int] = []
    part: list[dict[str, str]] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            head = stream.readline()
            # Spreadsheets write what their country does: commas, semicolons or tabs.
            mark = max(",;\t", key=head.count)
            reader = csv.DictReader(itertools.chain([head], stream), delimiter=mark)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            _check(file, reader.fieldnames)
            for row in reader:
                lines.append(reader.line_num)
                part.append({name: value for name, value in row.items() if name in _COLUMNS and value})
                if len(part) == _PART:
                    yield lines, part
                    lines, part = [], []
    except (UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"{file.name} cannot be read as CSV: {error}.", hint="Save it as UTF-8.") from None
    if part:
        yield lines, part


def _check(file: Path, columns: Any) -> None:
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown or "type" not in columns:
        told = f"has a column {unknown[0][:40]!r}" if unknown else "has no column 'type'"
        raise Invalid(f"{file.name} {told}.", hint=f"Columns: {', '.join(_COLUMNS)}.")
