"""``cache``."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, show
from ostinato.cli.tables import dollars, facts, table, when


@click.group()
def cache() -> None:
    """Cached entries: list, count, withdraw."""


def _selecting(command: Any) -> Any:
    """The options that choose entries."""
    for name, text in (
        ("--generation", "Of this generation."),
        ("--context", "Made under this context digest."),
        ("--tag", "Bearing this tag."),
        ("--alias", "Of this model alias."),
        ("--target", "Answered by this provider/model."),
        ("--user", "Of this end user."),
        ("--project", "Of this project."),
    ):
        command = click.option(name, default="", help=text)(command)
    return command


@cache.command("list")
@_selecting
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def list_entries(limit: int, as_json: bool, **selector: str) -> None:
    """List entries, newest first."""
    show(
        call("GET", "/cache/entries", query={**selector, "limit": limit}),
        as_json,
        lambda page: table(
            ("entry", "model", "target", "created", "expires", ">hits", "last hit", ">cost", ">bytes"),
            [
                (
                    e["entry"],
                    e["meta"]["alias"],
                    e["meta"]["target"],
                    when(e["meta"]["created"]),
                    when(e["meta"]["expires"]),
                    e["hits"],
                    when(e["last_hit"]),
                    dollars(e["meta"]["cost"]),
                    e["bytes"],
                )
                for e in page["items"]
            ],
            "No entry.",
            spare=("last hit", "bytes", "expires", "cost", "target"),
        ),
    )


@cache.command("stats")
@json_option
def stats(as_json: bool) -> None:
    """Show the counters of all tiers."""
    show(call("GET", "/cache/stats"), as_json, lambda numbers: facts(sorted(numbers.items())))


@cache.command("invalidate")
@_selecting
@click.option("--entry", default="", help="This one, by its opaque name.")
@click.option("--everything", is_flag=True, help="All of the organization, or of --project.")
@click.option("--yes", is_flag=True, help="Do it; without, the entries are only counted.")
@json_option
def invalidate(yes: bool, as_json: bool, **selector: Any) -> None:
    """Withdraw entries that match every option given; only counts them unless --yes is given."""
    body = {**selector, "dry_run": not yes}

    def told(report: Any) -> None:
        entries = "1 entry" if report["total"] == 1 else f"{report['total']} entries"
        if report["dry_run"]:
            click.echo(f"{entries} would be withdrawn. Repeat with --yes to do it.")
        else:
            click.echo(f"{entries} withdrawn.")

    show(call("POST", "/cache/invalidations", body), as_json, told)
