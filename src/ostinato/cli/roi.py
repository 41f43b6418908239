"""``roi``."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, show
from ostinato.cli.savings import print_account, print_holdout
from ostinato.cli.spans import since_option
from ostinato.cli.tables import dollars, facts, figure, milliseconds, percent, table


@click.command()
@since_option
@click.option("--project", default="")
@click.option("--intent", default="")
@click.option("--prompt", default="")
@json_option
def roi(since: int, as_json: bool, **chosen: str) -> None:
    """Show what caching and optimization brought, and what they cost."""
    show(call("GET", "/savings/roi", query={"since": since, **chosen}), as_json, _print)


def _print(found: Any) -> None:
    print_account(found["account"])
    click.echo()
    print_holdout(found["holdout"])
    for title, levels in (("caching", found["caching"]), ("optimization", found["levels"])):
        click.echo()
        table(
            (title, ">n", ">cost a request", ">tokens", ">latency, ms", "quality", "how"),
            [
                (
                    one["name"],
                    one["n"],
                    "-" if one["cost"] is None else dollars(round(one["cost"])),
                    "-" if one["tokens"] is None else f"{one['tokens']:.0f}",
                    "-" if one["latency_us"] is None else milliseconds(round(one["latency_us"])),
                    _quality(one["quality"]),
                    one["note"],
                )
                for one in levels
            ],
            "No prompt was released anew in this time.",
            spare=("how", "tokens"),
        )
    click.echo()
    table(
        ("workflow", ">value", ">n"),
        [(name, _value(one), one["n"]) for name, one in found["workflow"].items()],
    )
    payback = found["payback"]
    facts(
        [
            ("hit rate", percent(found["hit_rate"])),
            ("errors", percent(found["error_rate"])),
            ("spent on optimization", dollars(payback["spent"])),
            ("released prompts save a day", dollars(round(payback["saved_per_day"]))),
            ("paid back after", _days(payback)),
        ]
    )


def _quality(one: Any) -> str:
    if one is None:
        return "-"
    return f"{one['mean']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


def _value(one: Any) -> str:
    return "missing" if one["value"] is None else figure(one["value"], one["unit"]).strip()


def _days(payback: Any) -> str:
    if not payback["spent"]:
        return "nothing was spent"
    return "never at this rate" if payback["days"] is None else f"{payback['days']:.1f} days"
