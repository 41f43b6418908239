"""``breakers``."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, table, when
from ostinato.core import ids
from ostinato.core.errors import NotFound


@click.group()
def breakers() -> None:
    """Intents that answer by their safe behaviour, and targets that are not asked.

    BREAKER is an intent, a target (provider/model), or the id of a trip.
    """


@breakers.command("list")
@click.option("--project", help="Of this project only.")
@click.option("--intent", help="Of this intent only.")
@click.option("--state", default="open", show_default=True, help="open, tripped, half-open, closed, or all.")
@json_option
def list_breakers(project: str | None, intent: str | None, state: str, as_json: bool) -> None:
    """List trips, the newest first."""
    show(
        _all({"project": project, "intent": intent, "state": None if state == "all" else state}),
        as_json,
        lambda found: table(
            ("of", "state", "way", "since", "cause", "why", ">good", ">bad"),
            [
                (
                    one["intent"] or one["target"],
                    one["state"] + (", held" if one["held"] and one["state"] != "closed" else ""),
                    one["safety"]["on_trip"] if one["intent"] else "not asked",
                    when(one["since"]),
                    one["cause"],
                    one["reason"] or one["code"],
                    f"{one['good']:g}",
                    f"{one['bad']:g}",
                )
                for one in found
            ],
            empty="Nothing is tripped.",
            spare=("good", "bad", "cause"),
        ),
    )


@breakers.command("show")
@click.argument("breaker")
@json_option
def show_breaker(breaker: str, as_json: bool) -> None:
    """Show a trip."""
    show(call("GET", f"/breakers/{part(_id(breaker))}"), as_json, _print)


@breakers.command("trip")
@click.argument("breaker")
@click.option("--project", help="The intent's; your own if left out.")
@click.option("--code", default="by-hand", show_default=True, help="Why, in one word that callers see.")
@click.option("--reason", default="", help="Why; it stays in the history, and callers do not see it.")
@click.option("--try-again", is_flag=True, help="Begin trials after the cool-down; else it stays until it is closed.")
@json_option
def trip(breaker: str, project: str | None, code: str, reason: str, try_again: bool, as_json: bool) -> None:
    """Have an intent answer by its safe behaviour, or a target not asked, from the next request on."""
    what = "target" if "/" in breaker else "intent"
    body = {what: breaker, "project": project, "code": code, "reason": reason, "held": not try_again}
    show(call("POST", "/breakers", body), as_json, _say)


@breakers.command("close")
@click.argument("breaker")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def close(breaker: str, reason: str, as_json: bool) -> None:
    """Let an intent or a target go on as usual."""
    show(call("POST", f"/breakers/{part(_id(breaker))}/close", {"reason": reason}), as_json, _say)


def _say(one: Any) -> None:
    click.echo(f"The breaker of {one['intent'] or one['target']} is {one['state']}.")


def _print(one: Any) -> None:
    safety = one["safety"]
    facts(
        [
            ("trip", one["id"]),
            ("of", one["intent"] or one["target"]),
            ("state", one["state"] + (", held" if one["held"] else "")),
            ("way", safety["on_trip"] if one["intent"] else "not asked"),
            ("since", f"{when(one['since'])} by {one['by']}"),
            ("cause", f"{one['cause']}, {one['code']}: {one['reason'] or '-'}"),
            ("case", one["case"] or "-"),
            ("trials", f"{one['good']:g} good, {one['bad']:g} bad; failed {one['reopened']} times before"),
            ("next", when(one["cool_until"]) if one["state"] == "tripped" and not one["held"] else "-"),
            ("closed", _closed(one)),
        ]
    )


def _closed(one: Any) -> str:
    return f"{when(one['closed_at'])} by {one['closed_by']}: {one['closed_why']}" if one["closed_at"] else "-"


def _all(query: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = call("GET", "/breakers", query={**query, "after": after, "limit": 500})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def _id(ref: str) -> str:
    """The id of a trip, given so or as what is tripped."""
    if ids.is_id(ref):
        return ref
    for one in _all({"state": "open"}):
        if ref in (one["intent"], one["target"]) and ref:
            return str(one["id"])
    raise NotFound(f"The breaker of {ref!r} is not open.", hint="`ostinato breakers list --state all` shows all.")
