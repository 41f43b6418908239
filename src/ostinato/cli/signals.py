"""``signals``: feedback, outcomes, scores and verdicts."""

from typing import Any

import click

from ostinato.cli import naming
from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import table, when

_source = click.option(
    "--source", type=click.Choice(["feedback", "outcome", "scorer", "review"]), help="Of this source only."
)
_name = click.option("--name", help="Of this name only.")
_prompt = click.option("--prompt", help="Of this prompt only.")
_release = click.option("--release", help="Of this release only.")
_intent = click.option("--intent", help="Of this intent only.")
_project = click.option("--project", help="Id or short name; the key's own if left out.")


@click.group()
def signals() -> None:
    """What is known of answers: feedback, outcomes, scores, verdicts."""


@signals.command("list")
@_source
@_name
@_prompt
@_release
@_intent
@_project
@click.option("--after", default="", help="From behind this cursor on.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--oldest", is_flag=True, help="In the order of writing.")
@json_option
def list_signals(as_json: bool, oldest: bool, **query: Any) -> None:
    """List signals, newest first."""
    show(call("GET", "/signals", query={**query, "newest": not oldest}), as_json, _print_page)


def _print_page(found: Any) -> None:
    print_signals(found["items"])
    if found["next"]:
        click.echo(f"There are more: --after {found['next']}")


def print_signals(found: Any) -> None:
    """Signals, one a row."""
    rows = [
        (
            when(one["at"]),
            one["request_id"],
            one["source"],
            one["name"],
            "-" if one["value"] is None else f"{one['value']:.2f}",
            one["label"] or "-",
            _prompt_of(one),
            one["intent"] or "-",
            one["arm"] or "-",
            one["comment"] or "-",
        )
        for one in found
    ]
    headers = ("at", "request", "source", "name", ">value", "label", "prompt", "intent", "arm", "comment")
    headers, rows = naming.with_project(headers, rows, found)
    table(headers, rows, "No signals.", spare=("comment", "arm", "intent", "prompt"))


def _prompt_of(one: Any) -> str:
    version = f"@{one['prompt_version']}" if one["prompt_version"] else ""
    return f"{one['prompt']}{version}" if one["prompt"] else "-"


@signals.command("show")
@click.argument("request_id")
@json_option
def show_request(request_id: str, as_json: bool) -> None:
    """Show all that is known of one request."""
    show(call("GET", f"/signals/{part(request_id)}"), as_json, print_signals)


@signals.command("summary")
@_source
@_name
@_prompt
@_release
@_intent
@_project
@click.option("--by", default="", help="Told apart by these, too: prompt, release, arm; with commas.")
@json_option
def summary(as_json: bool, **query: Any) -> None:
    """Add up signals: counts, the weighted mean, labels."""
    show(call("GET", "/signals/summary", query=query), as_json, _print_summary)


def _print_summary(found: Any) -> None:
    rows = [
        (
            one["source"],
            one["name"],
            one["prompt"] or "-",
            one["arm"] or "-",
            one["count"],
            "-" if one["mean"] is None else f"{one['mean']:.3f}",
            ", ".join(f"{label} {count}" for label, count in list(one["labels"].items())[:5]) or "-",
        )
        for one in found
    ]
    table(("source", "name", "prompt", "arm", ">count", ">mean", "labels"), rows, "No signals.", spare=("labels",))
