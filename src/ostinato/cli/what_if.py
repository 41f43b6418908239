"""``what-if``: the ledger's traffic again, under another policy."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, show
from ostinato.cli.spans import since_option
from ostinato.cli.tables import dollars, milliseconds, percent, table, when


@click.command("what-if")
@since_option
@click.option("--project", default="", help="Id or short name; the key's own if left out.")
@click.option("--alias", default="", help="Of this model only.")
@click.option("--intent", default="", help="Of this intent only.")
@click.option("--prompt", default="", help="Of this prompt only.")
@click.option("--mode", type=click.Choice(["off", "exact"]), help="Without a cache, or with one.")
@click.option("--ttl", type=float, help="Seconds that an answer is kept.")
@click.option("--scope", type=click.Choice(["user", "project"]), help="Entries of each user alone, or shared.")
@click.option("--temperature-limit", type=float, help="Requests above it are not cached.")
@click.option("--target", default="", help="PROVIDER/MODEL: at this one's prices.")
@click.option("--most", type=click.IntRange(1, 500_000), default=200_000, show_default=True, help="Rows to read.")
@json_option
def what_if(as_json: bool, **wanted: Any) -> None:
    """Replay recorded traffic under another policy, beside what really happened. Changes nothing."""
    body = {name: value for name, value in wanted.items() if value not in (None, "")}
    show(call("POST", "/what-if", body), as_json, _print)


def _print(found: Any) -> None:
    rows = [
        (
            name,
            f"{one['hits']:,}",
            percent(one["rate"]["value"]),
            dollars(one["cost"]),
            dollars(one["saved"]),
            milliseconds(one["p50_us"]),
        )
        for name, one in (
            ("as it was", found["actual"]),
            ("replayed as it is now", found["now"]),
            ("replayed with the change", found["changed"]),
        )
    ]
    table(("", ">hits", ">of requests", ">cost", ">saved", ">p50, ms"), rows)
    click.echo(
        f"{found['requests']:,} requests, {when(found['since'])} to {when(found['until'])}; "
        f"the cost of {percent(found['coverage'])} is known."
    )
    if not found["complete"]:
        click.echo("The window holds more rows than were read: --most, or a shorter --since.")
    for one in found["unknown"]:
        click.echo(f"- {one['name']} ({one['n']:,}): {one['text']}")
