"""``retention``: rules, sweeps, legal holds, erasures and their receipts."""

import json
from pathlib import Path
from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, table, when
from ostinato.core.errors import Conflict, Invalid

_project = click.option("--project", help="Id or short name.")
_reason = click.option("--reason", default="", help="Why; it goes into the audit log as a commitment.")

_KINDS = ("rows", "texts", "signals", "datasets", "reviews", "journal")


@click.group()
def retention() -> None:
    """How long things are kept, what must be kept longer, and how somebody is forgotten."""


# -- rules -----------------------------------------------------------------------------------------------------------


@retention.group()
def rules() -> None:
    """Rules: how many days of what are kept. The strictest holds."""


@rules.command("list")
@_project
@click.option("--after", default="", help="From behind this name on.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@json_option
def list_rules(as_json: bool, **query: Any) -> None:
    """List the rules that stand."""
    show(call("GET", "/retention/rules", query=query), as_json, lambda found: _print_rules(found["items"]))


def _print_rules(found: Any) -> None:
    rows = [
        (
            one["name"],
            one["project"] or "all",
            one["intent"] or one["data_class"] or "-",
            ", ".join(f"{kind} {days:g} d" for kind, days in one["keep"].items() if days is not None),
            one["version"],
        )
        for one in found
    ]
    table(("name", "project", "of", "keep", ">version"), rows, "No rules: everything is kept.")


@rules.command("show")
@click.argument("name")
@json_option
def show_rule(name: str, as_json: bool) -> None:
    """Show one rule."""
    show(call("GET", f"/retention/rules/{part(name)}"), as_json, lambda one: _print_rules([one]))


@rules.command("create")
@click.argument("name")
@click.option("--keep", multiple=True, required=True, metavar="KIND=DAYS", help=f"Of {', '.join(_KINDS)}; repeat.")
@_project
@click.option("--intent", default="", help="Only what is of this intent.")
@click.option("--data-class", help="Only what is of intents with this class of data, such as personal.")
@_reason
@json_option
def declare_rule(
    name: str,
    keep: tuple[str, ...],
    project: str | None,
    intent: str,
    data_class: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Declare the rule NAME, or declare it anew."""
    body = {"keep": dict(map(_period, keep)), "project": project or "", "intent": intent, "reason": reason}
    if data_class:
        body["data_class"] = data_class
    show(call("PUT", f"/retention/rules/{part(name)}", body), as_json, lambda one: _print_rules([one]))


def _period(text: str) -> tuple[str, float]:
    kind, _, days = text.partition("=")
    if kind not in _KINDS:
        raise Invalid(
            f"There is no class {kind[:40]!r} of what is kept.",
            param="keep",
            hint=f"Of {', '.join(_KINDS)}, in days: --keep texts=30.",
        )
    try:
        return kind, float(days)
    except ValueError:
        raise Invalid(f"{text!r} is not KIND=DAYS.", hint="Such as --keep texts=30.") from None


@rules.command("remove")
@click.argument("name")
@_reason
@json_option
def remove_rule(name: str, reason: str, as_json: bool) -> None:
    """Take a rule away."""
    found = call("DELETE", f"/retention/rules/{part(name)}", query={"reason": reason})
    show(found, as_json, lambda one: click.echo(f"Removed {one['name']}."))


# -- sweeps ----------------------------------------------------------------------------------------------------------


@retention.command("sweep")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_project
@_reason
@json_option
def sweep(dry_run: bool, project: str | None, reason: str, as_json: bool) -> None:
    """Delete now what has been kept long enough, or say what that would be."""
    if dry_run:
        found = call("GET", "/retention/preview", query={"project": project})
    else:
        found = call("POST", "/retention/sweeps", {"project": project or "", "reason": reason})
    show(found, as_json, _print_sweep)


def _print_sweep(one: Any) -> None:
    rows = [
        (each["store"], each["kind"], each["due"], each["done"], each["held"], when(each["oldest"]))
        for each in one["stores"]
    ]
    table(("store", "kind", ">due", ">gone", ">held", "oldest"), rows, "No rule speaks of anything.")
    if one["dry_run"]:
        click.echo("A dry run: nothing was changed.")
    for name in one["failed"]:
        click.echo(f"{name} could not be swept; the next sweep tries again.")


@retention.command("sweeps")
@_project
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_sweeps(as_json: bool, **query: Any) -> None:
    """List reports of sweeps, newest first."""
    show(call("GET", "/retention/sweeps", query=query), as_json, _print_sweeps)


def _print_sweeps(found: Any) -> None:
    rows = [
        (
            when(one["started_at"]),
            one["project"] or "all",
            sum(each["done"] for each in one["stores"]),
            sum(each["held"] for each in one["stores"]),
            ", ".join(one["failed"]) or "-",
            one["by"],
        )
        for one in found["items"]
    ]
    table(("at", "project", ">gone", ">held", "failed", "by"), rows, "Nothing was swept yet.")


# -- holds -----------------------------------------------------------------------------------------------------------


@retention.group()
def holds() -> None:
    """Legal holds: what is kept whatever rules and erasures say."""


@holds.command("list")
@_project
@click.option("--lifted", is_flag=True, help="Those that were lifted, too.")
@json_option
def list_holds(as_json: bool, **query: Any) -> None:
    """List the holds that stand."""
    show(call("GET", "/retention/holds", query=query), as_json, lambda found: _print_holds(found["items"]))


def _print_holds(found: Any) -> None:
    rows = [
        (
            one["id"],
            one["matter"],
            one["project"] or "all",
            one["intent"] or "-",
            "a user" if one["subject"] else "-",
            f"{when(one['since'])} to {when(one['until'])}",
            "lifted" if one["lifted_at"] else "stands",
        )
        for one in found
    ]
    table(("id", "matter", "project", "intent", "of", "made", "state"), rows, "No holds.", spare=("made", "intent"))


@holds.command("create")
@click.argument("matter")
@_project
@click.option("--user", default="", help="An end user, by the id that callers send. Needs --project.")
@click.option("--intent", default="", help="Only what is of this intent.")
@click.option("--since", type=int, help="Made at this time or later, UTC microseconds.")
@click.option("--until", type=int, help="Made before this time.")
@_reason
@json_option
def place_hold(matter: str, project: str | None, as_json: bool, **body: Any) -> None:
    """Place a hold, called MATTER: the number of a case, and no person's name."""
    told = {"matter": matter, "project": project or "", **body}
    show(call("POST", "/retention/holds", told), as_json, lambda one: _print_holds([one]))


@holds.command("lift")
@click.argument("hold")
@_reason
@json_option
def lift_hold(hold: str, reason: str, as_json: bool) -> None:
    """Lift a hold; what waited for it is swept and erased."""
    found = call("POST", f"/retention/holds/{part(hold)}/lift", {"reason": reason})
    show(found, as_json, lambda one: click.echo(f"Lifted {one['matter']}."))


# -- erasures --------------------------------------------------------------------------------------------------------


@retention.command("erase")
@click.option("--user", default="", help="An end user, by the id that callers send.")
@click.option("--session", "sessions", multiple=True, help="A conversation; repeat.")
@click.option("--request", "requests", multiple=True, help="The x-request-id of an answer; repeat.")
@_project
@click.option("--reference", default="", help="The number of a ticket, say; the receipt tells it.")
@click.option("--reason", default="", help="Destroyed with the erasure.")
@json_option
def erase(project: str | None, as_json: bool, **wish: Any) -> None:
    """Forget somebody in every store. Goes on in the background, through crashes too."""
    show(call("POST", "/retention/erasures", {"project": project or "", **wish}), as_json, _print_begun)


def _print_begun(begun: Any) -> None:
    one = begun["erasure"]
    click.echo(f"The erasure {one['id']} has begun.")
    click.echo(f"Its opening, told this once: {begun['opening']}")
    click.echo("Whoever has it and knows whom it is about can show that the receipt is theirs.")
    click.echo(f"How far it is: ostinato retention erasures show {one['id']}")


@retention.group()
def erasures() -> None:
    """Erasures: what was found, what is left."""


@erasures.command("list")
@_project
@click.option("--state", type=click.Choice(["running", "done", "held"]), help="Of this state only.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
def list_erasures(as_json: bool, **query: Any) -> None:
    """List erasures, newest first."""
    show(call("GET", "/retention/erasures", query=query), as_json, _print_erasures)


def _print_erasures(found: Any) -> None:
    rows = [
        (one["id"], one["state"], one["reference"] or "-", when(one["requested_at"]), when(one["done_at"]))
        for one in found["items"]
    ]
    table(("id", "state", "reference", "asked", "done"), rows, "Nobody was forgotten yet.")


@erasures.command("show")
@click.argument("erasure")
@json_option
def show_erasure(erasure: str, as_json: bool) -> None:
    """Show one erasure, store by store."""
    show(call("GET", f"/retention/erasures/{part(erasure)}"), as_json, _print_erasure)


def _print_erasure(one: Any) -> None:
    facts([
        ("state", one["state"]),
        ("reference", one["reference"] or "-"),
        ("asked", when(one["requested_at"])),
        ("done", when(one["done_at"])),
        ("holds", ", ".join(one["holds"]) or "-"),
        ("quoted by", ", ".join(one["quoted"]) or "-"),
    ])  # fmt: skip
    rows = [(each["store"], each["found"], each["held"], each["left"], each["note"] or "-") for each in one["stores"]]
    table(("store", ">found", ">held", ">left", "note"), rows, "Nothing was looked for yet.")


@retention.command("receipt")
@click.argument("erasure")
@click.option("--verify", is_flag=True, help="Check signature, leaf and proof here, offline.")
@click.option("--key", "keys", multiple=True, help="A public key of the log that you trust; repeat.")
@click.option("--opening", default="", help="What the erasure's asker was told: checks whose receipt it is.")
@click.option("--user", default="", help="With --opening: the user.")
@click.option("--session", "sessions", multiple=True, help="With --opening: a conversation that was named; repeat.")
@click.option("--request", "requests", multiple=True, help="With --opening: a request that was named; repeat.")
@json_option
def receipt(
    erasure: str,
    verify: bool,
    keys: tuple[str, ...],
    opening: str,
    user: str,
    sessions: tuple[str, ...],
    requests: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the receipt of ERASURE: its id, or a file that holds the receipt."""
    from ostinato.verify import receipts  # noqa: PLC0415 - only where it is checked

    if Path(erasure).is_file():
        found = json.loads(Path(erasure).read_text(encoding="utf-8"))
    else:
        found = call("GET", f"/retention/erasures/{part(erasure)}/receipt")
    if not verify:
        show(found, as_json, _print_receipt)
        return
    wrong = receipts.check_receipt(found, keys)
    if opening and not receipts.commits(found, opening, user=user, sessions=sessions, requests=requests):
        wrong.append("it is about somebody else, or the opening is another erasure's")
    if wrong:
        raise Conflict(f"The receipt does not hold: {'; '.join(wrong)}.", code="receipt_broken")
    show({"valid": True, "trusted_key": bool(keys), "digest": found["digest"]}, as_json, _print_verified)


def _print_receipt(found: Any) -> None:
    _print_erasure(found["erasure"])
    facts([("digest", found["digest"]), ("key", found["key"]), ("leaf", found["proof"]["index"])])


def _print_verified(told: Any) -> None:
    click.echo("The receipt holds: signature, leaf, proof and checkpoint agree.")
    if not told["trusted_key"]:
        click.echo("Its key came with it: give the one that you know as --key.")
