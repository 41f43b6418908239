"""``intents``: business purposes, the rules that hold for them, and changes that wait for others to agree."""

from typing import Any

import click
import msgspec

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when

_NAMES = {"review.change_approvals": "approvals of a change of the intent"}


@click.group()
def intents() -> None:
    """Business purposes: owner, stakes, value, and what they allow. Those of the configuration file are read-only."""


@intents.command("list")
@click.option("--stakes", type=click.Choice(["low", "medium", "high", "critical"]), help="Only these.")
@click.option("--after", default="", help="From behind this name on.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@json_option
def list_intents(stakes: str | None, after: str, limit: int, as_json: bool) -> None:
    """List intents by name."""
    found = call("GET", "/intents", query={"stakes": stakes or "", "after": after, "limit": limit})
    show(found, as_json, _print_list)


def _print_list(found: Any) -> None:
    table(
        ("name", "key", "stakes", "owner", ">version", "from", "changed", "title"),
        [
            (i["name"], i["key"], i["stakes"], i["owner"], i["version"], i["source"], when(i["changed_at"]), i["title"])
            for i in found["items"]
        ],
        "No intent is declared.",
        spare=("title", "changed", "from"),
    )
    if found["next"]:
        click.echo(f"There are more: --after {found['next']}")


@intents.command("show")
@click.argument("name")
@click.option(
    "--alias", default="", help="Whose cache policy lies behind the rules; by default the intent's own alias."
)
@click.option("--history", is_flag=True, help="Every version instead.")
@json_option
def show_intent(name: str, alias: str, history: bool, as_json: bool) -> None:
    """Show an intent with every rule that holds for it, and where each rule comes from."""
    if history:
        show(call("GET", f"/intents/{part(name)}/history"), as_json, _print_history)
        return
    show(call("GET", f"/intents/{part(name)}", query={"alias": alias}), as_json, _print_intent)


def _print_intent(found: Any) -> None:
    declared = found["declared"]["body"]
    plain = ("title", "description", "owner", "data_classes", "slices", "kpi_targets", "match", "retention")
    facts(
        [
            ("name", found["name"]),
            ("key", found["key"]),
            ("project", found["project"] or "everybody's"),
            ("stakes", found["stakes"]),
            *((field.replace("_", " "), _text(declared[field])) for field in plain if declared.get(field)),
            *([("value per success", f"${found['value_per_success']}")] if found["value_per_success"] else []),
            ("version", f"{found['declared']['version']}, from {found['declared']['source']}"),
        ]
    )
    click.echo()
    table(
        ("rule", "value", "from"),
        [(_NAMES.get(rule["rule"], rule["rule"]), _text(rule["value"]), rule["origin"]) for rule in found["rules"]],
    )
    if found["waiting"]:
        click.echo()
        click.echo("A change waits for approval:")
        _print_waiting(found["waiting"])


def _print_history(found: Any) -> None:
    table(
        ("version", "changed", "by", "body"),
        [
            (c["version"], when(c["changed_at"]), c["actor"], _text(c["body"]) if c["body"] else "removed")
            for c in found
        ],
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnknownVariableType]: JSON
        return ", ".join(value) or "-"  # pyright: ignore[reportUnknownArgumentType]: the same
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@intents.command("set")
@click.argument("name")
@click.argument("body")
@click.option("--version", type=int, help="The version that you saw (0: none); refused if it moved on.")
@json_option
def set_intent(name: str, body: str, version: int | None, as_json: bool) -> None:
    """Declare or change one. BODY is JSON or @FILE. At high stakes it waits until others approve it.

    For example: '{"title": "Refunds", "owner": "care", "stakes": "high"}'
    """
    found = call("PUT", f"/intents/{part(name)}", read_json(body), query={"version": version})
    show(found, as_json, lambda told: _print_made(name, told))


@intents.command("remove")
@click.argument("name")
@json_option
def remove_intent(name: str, as_json: bool) -> None:
    """Withdraw one; its history stays. At high stakes it waits until others approve it."""
    found = call("DELETE", f"/intents/{part(name)}")
    show(found or {"removed": name}, as_json, lambda told: _print_made(name, told))


def _print_made(name: str, told: Any) -> None:
    if "digest" in told:
        click.echo(f"The change of {name} waits for {told['needed']} approval(s), by {when(told['expires_at'])}.")
        click.echo(f"Others decide with: ostinato intents approve {name} --digest {told['digest']}")
    elif "removed" in told:
        click.echo(f"The intent {name} is withdrawn.")
    else:
        click.echo(f"The intent {name} is now version {told['version']}.")


@intents.command("waiting")
@click.argument("name")
@json_option
def waiting(name: str, as_json: bool) -> None:
    """Show the change of an intent that waits for approval."""
    show(call("GET", f"/intents/{part(name)}/waiting"), as_json, _print_waiting)


def _print_waiting(found: Any) -> None:
    facts(
        [
            ("would be", "removed" if found["body"] is None else _text(found["body"])),
            ("digest", found["digest"]),
            ("needs", f"{found['needed']} approval(s), not by {found['author']}"),
            ("until", when(found["expires_at"])),
            *(
                (one["decision"], " ".join(filter(None, (one["principal"], when(one["decided_at"]), one["comment"]))))
                for one in found["decisions"]
            ),
        ]
    )


def _word(decision: str, what: str) -> click.Command:
    @click.command(decision, help=what)
    @click.argument("name")
    @click.option("--digest", required=True, help="Of the change that you looked at, as `waiting` shows it.")
    @click.option("--comment", default="")
    @json_option
    def decide(name: str, digest: str, comment: str, as_json: bool) -> None:
        found = call("POST", f"/intents/{part(name)}/{decision}", {"digest": digest, "comment": comment})
        told = {
            "open": f"Noted; the change of {name} needs {found['needed']} approval(s).",
            "done": f"The change of {name} is approved and stands.",
            "rejected": f"The change of {name} is rejected.",
        }
        show(found, as_json, lambda _: click.echo(told.get(found["state"], f"The request is {found['state']}.")))

    return decide


intents.add_command(_word("approve", "Approve the change that waits. With the last approval it needs, it stands."))
intents.add_command(_word("reject", "Reject the change that waits, which ends it."))
