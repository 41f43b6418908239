"""``cases``."""

from typing import Any

import click

from ostinato.cases.model import ACTIONS, KINDS, SEVERITIES
from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when


@click.group()
def cases() -> None:
    """What somebody must look into: opened by alarms, moved on by people. CASE is a case's id."""


@cases.command("list")
@click.option("--project", help="Of this project only.")
@click.option("--state", default="open", show_default=True, help="open, detected, proposed, closed ..., or all.")
@click.option("--kind", type=click.Choice(KINDS), help="Of this kind only.")
@click.option("--intent", help="Of this intent only.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Of this severity only.")
@click.option("--overdue", is_flag=True, help="Only those that nobody came to in time.")
@json_option
def list_cases(
    project: str | None,
    state: str,
    kind: str | None,
    intent: str | None,
    severity: str | None,
    overdue: bool,
    as_json: bool,
) -> None:
    """List cases, the newest first."""
    query = {
        "project": project,
        "state": None if state == "all" else state,
        "kind": kind,
        "intent": intent,
        "severity": severity,
        "overdue": True if overdue else None,
    }
    show(
        _all(query),
        as_json,
        lambda found: table(
            ("case", "severity", "state", "what", "owner", ">alarms", "due"),
            [
                (
                    one["id"],
                    one["severity"],
                    one["state"] + (", late" if one["overdue"] else ""),
                    one["title"],
                    one["owner"],
                    one["alarms"],
                    when(one["due_at"]) if one["closed_at"] is None else "-",
                )
                for one in found
            ],
            empty="No case.",
            spare=("due", "owner"),
        ),
    )


@cases.command("show")
@click.argument("case")
@json_option
def show_case(case: str, as_json: bool) -> None:
    """Show a case: its evidence, what helps, what was proposed, its history."""
    show(call("GET", f"/cases/{part(case)}"), as_json, _print)


@cases.command("open")
@click.argument("title")
@click.option("--kind", type=click.Choice(KINDS), default="other", show_default=True)
@click.option("--project", help="Whose it is; your own if left out.")
@click.option("--intent", default="", help="What it is about.")
@click.option("--prompt", default="")
@click.option("--release", default="")
@click.option("--severity", type=click.Choice(SEVERITIES), help="The stakes of the intent, if left out.")
@json_option
def open_case(
    title: str,
    kind: str,
    project: str | None,
    intent: str,
    prompt: str,
    release: str,
    severity: str | None,
    as_json: bool,
) -> None:
    """Open a case that no alarm has opened."""
    body = {
        "title": title,
        "kind": kind,
        "project": project,
        "intent": intent,
        "prompt": prompt,
        "release": release,
        "severity": severity,
    }
    show(call("POST", "/cases", body), as_json, lambda one: click.echo(f"Opened the case {one['id']}."))


@cases.command("triage")
@click.argument("case")
@click.option("--owner", help="Who answers for it; as it was, if left out.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="As it was, if left out.")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def triage(case: str, owner: str | None, severity: str | None, reason: str, as_json: bool) -> None:
    """Say that you have looked."""
    body = {"owner": owner, "severity": severity, "reason": reason}
    show(call("POST", f"/cases/{part(case)}/triage", body), as_json, _say)


@cases.command("comment")
@click.argument("case")
@click.argument("text")
@json_option
def comment(case: str, text: str, as_json: bool) -> None:
    """Write something into a case's history."""
    show(call("POST", f"/cases/{part(case)}/comments", {"text": text}), as_json, _say)


@cases.command("propose")
@click.argument("case")
@click.argument("action", type=click.Choice(ACTIONS))
@click.option("--params", default="{}", metavar="JSON", help="What the case does not say, as an object or @FILE.")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def propose(case: str, action: str, params: str, reason: str, as_json: bool) -> None:
    """Propose ACTION. It is carried out when somebody approves it."""
    body = {"action": action, "params": read_json(params), "reason": reason}
    show(call("POST", f"/cases/{part(case)}/propose", body), as_json, _say)


@cases.command("verify")
@click.argument("case")
@click.option("--helped/--did-not-help", required=True, help="What you have seen.")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def verify(case: str, helped: bool, reason: str, as_json: bool) -> None:
    """Say whether the action has helped, before Ostinato looks itself."""
    show(call("POST", f"/cases/{part(case)}/verify", {"helped": helped, "reason": reason}), as_json, _say)


@cases.command("approve")
@click.argument("case")
@click.option("--version", type=int, required=True, help="The one that you have read, as `cases show` tells it.")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def approve(case: str, version: int, reason: str, as_json: bool) -> None:
    """Approve what was proposed, and have it carried out at once."""
    told = call("POST", f"/cases/{part(case)}/approve", {"reason": reason}, query={"version": version})
    show(told, as_json, _say)


def _command(verb: str, line: str, needed: bool) -> None:
    @cases.command(verb, help=line)
    @click.argument("case")
    @click.option("--reason", default="", required=needed, help="Why; it stays in the history.")
    @json_option
    def run(case: str, reason: str, as_json: bool) -> None:  # pyright: ignore[reportUnusedFunction]: registered
        show(call("POST", f"/cases/{part(case)}/{verb}", {"reason": reason}), as_json, _say)


for _verb, _line, _needed in (
    ("reject", "Reject what was proposed; something else may be proposed.", True),
    ("close", "Close a case whose action was verified.", False),
    ("dismiss", "End a case without an action: a false alarm, or something that is accepted.", True),
):
    _command(_verb, _line, _needed)


def _all(query: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = call("GET", "/cases", query={**query, "after": after, "limit": 500})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def _say(one: Any) -> None:
    click.echo(f"The case {one['id']} is {one['state']} ({one['severity']}, {one['owner']}), version {one['version']}.")


def _print(told: Any) -> None:
    one = told["case"]
    facts(
        [
            ("case", one["id"]),
            ("what", one["title"]),
            ("kind", f"{one['kind']}, found by {one['detector']}"),
            ("about", one["intent"] or one["prompt"] or one["release"] or one["target"] or "-"),
            ("severity", f"{one['severity']} (stakes {one['stakes']})"),
            ("state", one["state"] + (", late" if one["overdue"] else "")),
            ("version", one["version"]),
            ("owner", one["owner"]),
            ("alarms", f"{one['alarms']}, the last {when(one['last_at'])}"),
            ("opened", f"{when(one['opened_at'])}, reopened {one['reopened']}, escalated {one['escalated']}"),
            ("due", when(one["due_at"]) if one["closed_at"] is None else "-"),
            ("ended", f"{when(one['closed_at'])}: {one['closed_why']}" if one["closed_at"] else "-"),
        ]
    )
    _section("Evidence", ("figure", "value"), sorted(one["evidence"].items()), _evidence)
    _section("What helps", ("action", "why"), told["playbook"], _advice)
    _section("Actions", ("action", "state", "proposed by", "what it did"), told["actions"], _action)
    _section("History", ("at", "what", "state", "by", "text"), told["history"], _event)


def _section(title: str, columns: tuple[str, ...], rows: Any, cells: Any) -> None:
    if rows:
        click.echo(f"\n{title}:")
        table(columns, [cells(row) for row in rows])


def _evidence(item: tuple[str, Any]) -> tuple[object, ...]:
    name, value = item
    if name in ("since", "until", "at") and isinstance(value, int):
        return name, when(value)
    return name, f"{value:.6g}" if isinstance(value, float) else value


def _advice(one: Any) -> tuple[object, ...]:
    return one["action"], one["why"]


def _action(one: Any) -> tuple[object, ...]:
    did = ", ".join(f"{name}={value}" for name, value in one["facts"].items())
    helped = {True: "; it helped", False: "; it did not help", None: ""}[one["helped"]]
    return one["name"], one["state"] + (", automatic" if one["automatic"] else ""), one["proposed_by"], did + helped


def _event(one: Any) -> tuple[object, ...]:
    return when(one["at"]), one["verb"], one["state"], one["actor"], one["text"] or "-"
