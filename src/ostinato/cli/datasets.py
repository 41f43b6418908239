"""``datasets``: examples in versions, out of files and recorded traffic."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ostinato.cli import example_files
from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.dataset_traffic import based_on, from_traffic, print_findings, print_version
from ostinato.cli.tables import facts, table, when
from ostinato.cli.versions import project_option
from ostinato.core.errors import Invalid, OstinatoError

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_number = click.option("--version", "number", type=click.IntRange(1), help="Its number; the newest if left out.")


@click.group()
def datasets() -> None:
    """Datasets: examples in versions, split into train, dev and a sealed holdout."""


def columns_options(command: F) -> F:
    """Which columns of a file become what."""
    for option in (
        click.option("--metadata", multiple=True, metavar="COLUMN", help="Kept beside; repeat for more."),
        click.option("--stratum", metavar="COLUMN", help="What slices and stratified samples go by."),
        click.option("--group", metavar="COLUMN", help="Rows of one group are never split apart."),
        click.option("--reference", metavar="COLUMN", help="The right answer."),
        click.option(
            "--input", multiple=True, metavar="COLUMN[=VARIABLE]", help="An input; repeat. Left out: all other columns."
        ),
    ):
        command = option(command)
    return command


@datasets.command("list")
@project_option
@click.option("--after", default="", help="From behind this name on.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@json_option
def list_datasets(as_json: bool, **query: Any) -> None:
    """List datasets by name."""
    show(call("GET", "/datasets", query=query), as_json, _print_list)


def _print_list(found: Any) -> None:
    rows = [(one["name"], one["latest"] or "-", when(one["created_at"]), one["description"]) for one in found["items"]]
    table(("name", ">newest version", "created", "description"), rows, "No datasets.", spare=("description",))
    if found["next"]:
        click.echo(f"There are more: --after {found['next']}")


@datasets.command("show")
@click.argument("name")
@_number
@project_option
@json_option
def show_dataset(name: str, number: int | None, project: str | None, as_json: bool) -> None:
    """Show a dataset, or one of its versions with what was seen when it was sealed."""
    query = {"project": project}
    if number is not None:
        show(call("GET", f"/datasets/{part(name)}/versions/{number}", query=query), as_json, print_version)
        return
    show(call("GET", f"/datasets/{part(name)}", query=query), as_json, _print_dataset)


def _print_dataset(one: Any) -> None:
    shares = ", ".join(f"{split} {100 * share:g} %" for split, share in one["shares"].items())
    facts(
        [
            ("name", one["name"]),
            ("description", one["description"] or "-"),
            ("newest version", one["latest"] or "-"),
            ("shares", shares),
            ("created", f"{when(one['created_at'])} by {one['created_by']}"),
            ("id", one["id"]),
        ]
    )


@datasets.command("create")
@click.argument("name")
@click.argument("file", type=_FILE, required=False)
@columns_options
@click.option("--description", default="")
@click.option("--shares", default="50/20/30", show_default=True, help="Per cent of train, dev and holdout; for good.")
@click.option("--note", default="", help="What the first version is about.")
@project_option
@json_option
def create_dataset(
    name: str,
    file: Path | None,
    description: str,
    shares: str,
    note: str,
    project: str | None,
    as_json: bool,
    **columns: Any,
) -> None:
    """Create a dataset, with its first version where a file is given.

    For example: ostinato datasets create banking banking.csv --input text=question --reference label
    """
    examples = _read((file,), columns) if file is not None else []
    body = {"name": name, "description": description, "shares": _shares(shares)}
    query = {"project": project}
    made = call("POST", "/datasets", body, query=query)
    if file is None:
        show(made, as_json, lambda one: click.echo(f"Created {one['name']}."))
        return
    try:
        version = example_files.upload(name, examples, query, note=note)
    except OstinatoError:
        click.echo(f"{name} is made, without a version: `ostinato datasets add {name} FILE` gives it one.", err=True)
        raise
    show(version, as_json, print_version)


def _read(files: Sequence[Path], columns: example_files.Columns) -> list[dict[str, Any]]:
    """The examples of some files. Raises ``Invalid`` where there is none in any of them."""
    examples = [one for path in files for one in example_files.read(path, columns)]
    if files and not examples:
        names = ", ".join(path.name for path in files)
        raise Invalid(f"{names}: there are no examples, only a header or nothing at all.")
    return examples


def _shares(text: str) -> dict[str, float]:
    parts = text.split("/")
    try:
        train, dev, holdout = (float(one) / 100 for one in parts)
    except ValueError:
        raise Invalid(f"{text!r} are no shares.", hint="Such as 50/20/30: train, dev and holdout.") from None
    return {"train": train, "dev": dev, "holdout": holdout}


@datasets.command("add")
@click.argument("name")
@click.argument("file", type=_FILE, nargs=-1)
@columns_options
@click.option("--base", help="Begin with the examples of this version: its number, or `latest`.")
@click.option("--without", multiple=True, metavar="ID", help="Leave this example of the base out; repeat.")
@click.option("--note", default="", help="What the version is about.")
@project_option
@json_option
def add_version(
    name: str,
    file: tuple[Path, ...],
    base: str | None,
    without: tuple[str, ...],
    note: str,
    project: str | None,
    as_json: bool,
    **columns: Any,
) -> None:
    """Add a version, of files and of an earlier version."""
    examples = _read(file, columns)
    version = {"base": based_on(base), "without": without, "note": note}
    show(example_files.upload(name, examples, {"project": project}, **version), as_json, print_version)


@datasets.command("versions")
@click.argument("name")
@project_option
@json_option
def list_versions(name: str, project: str | None, as_json: bool) -> None:
    """List the versions of a dataset, newest first."""
    show(call("GET", f"/datasets/{part(name)}/versions", query={"project": project}), as_json, _print_versions)


def _print_versions(found: Any) -> None:
    rows = [
        (
            one["number"],
            "open" if one["open"] else one["digest"][:12],
            *(one["counts"].get(split, "-") for split in ("train", "dev", "holdout")),
            when(one["used_at"]),
            len(one["findings"]) or "-",
            one["note"],
        )
        for one in found["items"]
    ]
    headers = (">version", "digest", ">train", ">dev", ">holdout", "used", ">findings", "note")
    table(headers, rows, "No versions.", spare=("note",))


@datasets.command("examples")
@click.argument("name")
@_number
@click.option("--split", type=click.Choice(["train", "dev"]), help="This part only; the holdout is sealed.")
@click.option("--limit", type=click.IntRange(1), help="Most examples; all if left out.")
@click.option("--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write to this file.")
@project_option
def list_examples(
    name: str, number: int | None, split: str | None, limit: int | None, output: Path | None, project: str | None
) -> None:
    """Print examples as lines of JSON, as `datasets add` reads them."""
    found = _examples(name, number, split, limit, project)
    if output is None:
        example_files.write(None, found)
        return
    with output.open("wb") as file:
        click.echo(f"Wrote {example_files.write(file, found):,} examples to {output}.")


def _examples(
    name: str, number: int | None, split: str | None, limit: int | None, project: str | None
) -> Iterator[Any]:
    left = limit
    after: str | None = None
    path = f"/datasets/{part(name)}/versions/{_known(name, number, project)}/examples"
    while left is None or left > 0:
        some = 500 if left is None else min(left, 500)
        query = {"project": project, "split": split, "after": after, "limit": some}
        found = call("GET", path, query=query)
        yield from found["items"]
        left = None if left is None else left - len(found["items"])
        after = found["next"]
        if after is None:
            return


def _known(name: str, number: int | None, project: str | None) -> int:
    """The number, or that of the newest version."""
    if number is not None:
        return number
    latest: int = call("GET", f"/datasets/{part(name)}", query={"project": project})["latest"]
    if not latest:
        raise Invalid(f"The dataset {name!r} has no sealed version yet.")
    return latest


@datasets.command("leakage")
@click.argument("name")
@_number
@project_option
@json_option
def leakage(name: str, number: int | None, project: str | None, as_json: bool) -> None:
    """Report what of one split can be known from another: equal and nearly equal examples."""
    path = f"/datasets/{part(name)}/versions/{_known(name, number, project)}/leakage"
    show(call("GET", path, query={"project": project}), as_json, _print_leakage)


def _print_leakage(found: Any) -> None:
    if not found:
        click.echo("Nothing leaks from one split into another.")
    print_findings(found)


@datasets.command("looks")
@click.argument("name")
@_number
@project_option
@json_option
def looks(name: str, number: int | None, project: str | None, as_json: bool) -> None:
    """List every look at the sealed holdout, and what it spent."""
    path = f"/datasets/{part(name)}/versions/{_known(name, number, project)}/looks"
    show(call("GET", path, query={"project": project}), as_json, _print_looks)


def _print_looks(found: Any) -> None:
    rows = [
        (when(one["at"]), one["prompt"], one["run"], f"{one['alpha']:.4g}", f"{one['spent']:.4g}", one["examples"])
        for one in found
    ]
    headers = ("at", "prompt", "run", ">alpha", ">spent", ">examples")
    table(headers, rows, "Nobody has looked at the holdout.")


@datasets.command("discard")
@click.argument("name")
@click.argument("number", type=click.IntRange(1))
@project_option
@json_option
def discard(name: str, number: int, project: str | None, as_json: bool) -> None:
    """Throw away a version that was never used."""
    gone = call("DELETE", f"/datasets/{part(name)}/versions/{number}", query={"project": project})
    show(gone, as_json, lambda one: click.echo(f"Threw away version {one['number']} of {one['dataset']}."))


@datasets.command("erase")
@click.argument("name")
@click.option("--example", "examples", multiple=True, metavar="ID", help="This example; repeat.")
@click.option("--subject", default="", help="All examples of this subject.")
@click.option("--source", default="", help="All examples of this source, such as request:ID.")
@click.option("--reason", default="", help="Why; goes into the audit log.")
@project_option
@json_option
def erase(project: str | None, as_json: bool, name: str, **what: Any) -> None:
    """Erase the texts of examples in every version; tombstones stay, with digests."""
    gone = call("POST", f"/datasets/{part(name)}/erasures", what, query={"project": project})
    show(gone, as_json, _print_erased)


def _print_erased(told: Any) -> None:
    click.echo(f"Erased {len(told['examples']):,} examples.")
    for one in told["quoted_by"]:
        run = f"a candidate of the run {one['run']}, which can be deleted"
        where = f"version {one['number']} of {one['prompt']}, which can be replaced" if one["number"] else run
        click.echo(f"Still in {where}: {', '.join(one['examples'])}.")


datasets.add_command(from_traffic)
