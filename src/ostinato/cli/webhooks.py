"""``webhooks``: where messages go."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, table, when

_reason = click.option("--reason", default="", help="Goes into the audit log.")
_version = click.option("--version", type=int, help="The version that you saw; refused if it moved on.")


@click.group()
def webhooks() -> None:
    """Where messages go: webhooks, Slack, e-mail; deliveries and dead letters."""


@webhooks.command("list")
@json_option
def list_webhooks(as_json: bool) -> None:
    """List where messages go."""
    show(call("GET", "/webhooks", query={"limit": 500}), as_json, lambda found: _endpoints(found["items"]))


@webhooks.command("show")
@click.argument("name")
@json_option
def show_webhook(name: str, as_json: bool) -> None:
    """Show one, by name or id, with how it fares."""
    show(call("GET", f"/webhooks/{part(name)}"), as_json, _facts)


@webhooks.command("create")
@click.argument("name")
@click.argument("address")
@click.option(
    "--event",
    "events",
    multiple=True,
    required=True,
    help="resource:verb, resource:* or * for everything; several times.",
)
@click.option("--kind", type=click.Choice(["webhook", "slack", "email"]), default="webhook", show_default=True)
@click.option("--project", help="Id or short name; the key's own if left out.")
@click.option("--organization", is_flag=True, help="Messages of every project of the organization.")
@_reason
@json_option
def create(name: str, address: str, events: tuple[str, ...], as_json: bool, **more: Any) -> None:
    """Have messages sent to ADDRESS: a URL, or e-mail addresses with commas."""
    made = call("POST", "/webhooks", {"name": name, "address": address, "events": events, **more})
    show(made, as_json, _secret)


@webhooks.command("update")
@click.argument("name")
@click.option("--address", help="Another URL, or other e-mail addresses.")
@click.option("--event", "events", multiple=True, help="In the place of the events that there are.")
@click.option("--enable/--disable", "enabled", default=None, help="What waits is sent when it is enabled again.")
@_version
@_reason
@json_option
def update(
    name: str,
    address: str | None,
    events: tuple[str, ...],
    enabled: bool | None,
    version: int | None,
    reason: str,
    as_json: bool,
) -> None:
    """Change one."""
    wish: dict[str, Any] = {"address": address, "events": events or None, "enabled": enabled}
    wish = {key: value for key, value in wish.items() if value is not None}
    query = {"version": version, "reason": reason}
    show(call("PATCH", f"/webhooks/{part(name)}", wish, query=query), as_json, _facts)


@webhooks.command("remove")
@click.argument("name")
@_reason
@json_option
def remove(name: str, reason: str, as_json: bool) -> None:
    """Send nothing there any more."""
    gone = call("DELETE", f"/webhooks/{part(name)}", query={"reason": reason})
    show(gone, as_json, lambda one: click.echo(f"{one['name']} is told nothing any more."))


@webhooks.command("rotate")
@click.argument("name")
@_version
@_reason
@json_option
def rotate(name: str, version: int | None, reason: str, as_json: bool) -> None:
    """Give it a new secret; for a day the old one signs beside it."""
    made = call("POST", f"/webhooks/{part(name)}/rotate", {"reason": reason}, query={"version": version})
    show(made, as_json, _secret)


@webhooks.command("test")
@click.argument("name")
@json_option
def test(name: str, as_json: bool) -> None:
    """Send it a message webhooks:test."""
    made = call("POST", f"/webhooks/{part(name)}/test")
    show(made, as_json, lambda one: click.echo(f"{one['event']} is on its way as {one['message']}."))


@webhooks.command("deliveries")
@click.argument("name")
@click.option("--state", type=click.Choice(["waiting", "delivered", "dead"]), help="In this state only.")
@click.option("--after", default="", help="From behind this cursor on.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
def deliveries(name: str, as_json: bool, **query: Any) -> None:
    """List what was sent, or is to be, the newest first."""
    show(call("GET", f"/webhooks/{part(name)}/deliveries", query=query), as_json, _page)


@webhooks.command("dead")
@click.argument("name")
@json_option
def dead(name: str, as_json: bool) -> None:
    """List dead letters: what could not be delivered."""
    query = {"state": "dead", "limit": 500}
    show(call("GET", f"/webhooks/{part(name)}/deliveries", query=query), as_json, _page)


@webhooks.command("resend")
@click.argument("name")
@click.argument("messages", nargs=-1)
@json_option
def resend(name: str, messages: tuple[str, ...], as_json: bool) -> None:
    """Send dead letters again: those of these ids, or all."""
    made = call("POST", f"/webhooks/{part(name)}/resend", {"messages": messages})
    show(made, as_json, lambda one: click.echo(f"{one['resent']} on their way again."))


def _endpoints(found: Any) -> None:
    table(
        ("name", "kind", "to", "events", "of", "state", "id"),
        [
            (
                one["name"],
                one["kind"],
                one["address"],
                ", ".join(one["events"]),
                one["project"] or "the organization",
                _state(one),
                one["id"],
            )
            for one in found
        ],
        "Nobody is told anything.",
        spare=("id", "of"),
    )


def _facts(one: Any) -> None:
    facts(
        [
            ("name", one["name"]),
            ("id", one["id"]),
            ("kind", one["kind"]),
            ("to", one["address"]),
            ("events", ", ".join(one["events"])),
            ("of", one["project"] or "the organization"),
            ("state", _state(one)),
            ("refused", one["refused"]),
            ("version", one["version"]),
            ("created", f"{when(one['created_at'])} by {one['created_by']}"),
        ]
    )


def _state(one: Any) -> str:
    if not one["enabled"]:
        return f"disabled: {one['why']}"
    if one["failing_since"]:
        return f"failing since {when(one['failing_since'])}, {one['failures']} times"
    return "well"


def _secret(made: Any) -> None:
    _facts(made["endpoint"])
    if made["secret"]:
        click.echo(f"\n{made['secret']}\nThis secret is shown once.")


def _page(found: Any) -> None:
    table(
        ("message", "at", "event", "about", "state", ">tries", ">status", "next", "said"),
        [
            (
                one["message"],
                when(one["at"]),
                one["event"],
                one["subject"],
                one["state"],
                one["tries"],
                one["status"] or "-",
                when(one["next_at"]),
                one["said"] or "-",
            )
            for one in found["items"]
        ],
        "None.",
        spare=("next", "status"),
    )
    if found["next"] and len(found["items"]) > 1:
        click.echo(f"There may be more: --after {found['next']}")
