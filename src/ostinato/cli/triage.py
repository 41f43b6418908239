"""``triage``: families of requests, what is to be done with them, and the inventory of prompts."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when
from ostinato.core.errors import Invalid

_project = click.option("--project", help="Id or short name; the key's own if left out.")
_choice = click.option(
    "--choice", type=click.Choice(["cache", "optimize", "both", "review", "leave"]), help="Of this decision only."
)


@click.group()
def triage() -> None:
    """Which requests to cache, which to improve, which to leave alone; and why."""


@triage.command("list")
@_choice
@_project
@click.option("--after", default="", help="From behind this family on.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
def list_families(as_json: bool, **query: Any) -> None:
    """List families of requests, those that cost most first."""
    show(call("GET", "/triage", query=query), as_json, _print_page)


@triage.command("show")
@click.argument("family")
@_project
@json_option
def show_family(family: str, project: str | None, as_json: bool) -> None:
    """Show one family (or the id of a decision on it): what is known, and why it was decided so."""
    found = call("GET", f"/triage/families/{part(family)}", query={"project": project})
    show(found, as_json, _print_family)


@triage.command("look")
@_project
@json_option
def look(project: str | None, as_json: bool) -> None:
    """Decide anew now, without waiting for the next round."""
    show(call("POST", "/triage/look", {"project": project}), as_json, _print_decisions)


@triage.command("decide")
@click.argument("decision")
@click.option("--approve", "word", flag_value="approve", help="Carry it out.")
@click.option("--reject", "word", flag_value="reject", help="Say that it is not to be carried out.")
@click.option("--comment", default="", help="Why; it stays in the audit log.")
@click.option("--optimize", default="", metavar="JSON", help="Dataset, scorers, limits of the run; or @FILE.")
@json_option
def decide(decision: str, word: str | None, comment: str, optimize: str, as_json: bool) -> None:
    """Approve a proposal, which carries it out, or reject it."""
    if word is None:
        raise Invalid("Say whether to --approve or to --reject.", hint="`ostinato triage show FAMILY` tells why.")
    body: dict[str, Any] = {"comment": comment}
    if optimize:
        body["optimize"] = read_json(optimize)
    done = call("POST", f"/triage/decisions/{part(decision)}/{word}", body)
    show(done, as_json, lambda one: click.echo(f"{one['choice']} for {one['family']}: {one['state']}{_done(one)}."))


@triage.command("inventory")
@click.option("--look", is_flag=True, help="Look at all prompts now.")
@_project
@json_option
def inventory(look: bool, project: str | None, as_json: bool) -> None:
    """List prompts that somebody is asked to look at: stale, unowned, unused or drifting."""
    if look:
        found = call("POST", "/triage/inventory/look", {"project": project})
    else:
        found = call("GET", "/triage/inventory", query={"project": project})
    show(found, as_json, _print_items)


@triage.command("attest")
@click.argument("prompt")
@click.option("--comment", required=True, help="What is to become of it; it stays in the audit log.")
@_project
@json_option
def attest(prompt: str, comment: str, project: str | None, as_json: bool) -> None:
    """Say that you have looked at a prompt."""
    body = {"prompt": prompt, "comment": comment, "project": project}
    done = call("POST", "/triage/inventory/attest", body)
    show(done, as_json, lambda one: click.echo(f"{one['prompt']}: attested by {one['attested_by']}."))


def _done(one: Any) -> str:
    told = [f"{name} {value}" for part in one["effects"].values() for name, value in part.items()]
    return f" ({', '.join(told)})" if told else ""


def _print_page(found: Any) -> None:
    rows: list[tuple[object, ...]] = []
    for one in found["items"]:
        figures, decision = one["figures"], one["decision"]
        rows.append(
            (
                figures["family"],
                figures["alias"] or "-",
                figures["intent"] or "-",
                f"{figures['per_month']:,.0f}",
                f"{100 * figures['cost_share']:.1f} %",
                _share(figures["repetition"]),
                _share(figures["stability"]),
                _share(one["quality"]),
                one["stakes"],
                decision["choice"] if decision else "-",
                decision["state"] if decision else "-",
                f"${decision['saving']['expected']:.2f}" if decision else "-",
            )
        )
    columns = (
        "family",
        "model",
        "intent",
        ">a month",
        ">of cost",
        ">repeats",
        ">stable",
        ">quality",
        "stakes",
        "decision",
        "state",
        ">worth a month",
    )
    table(
        columns, rows, "No families yet: nothing was asked.", spare=("stakes", "quality", "of cost", "model", "intent")
    )
    if found["next"]:
        click.echo(f"There are more: --after {found['next']}")


def _print_family(found: Any) -> None:
    row = found["now"]
    if row is not None:
        figures = row["figures"]
        facts(
            [
                ("family", figures["family"]),
                ("model", figures["alias"]),
                ("intent", figures["intent"] or "-"),
                ("stakes", row["stakes"]),
                ("requests a month", f"{figures['per_month']:,.0f}"),
                ("cost a month", f"${figures['per_month_cost'] / 1e9:.2f} without a cache"),
                ("from the cache now", _share(figures["hits"])),
                ("repeats", _span(figures["repetition"])),
                ("nearly repeats", _span(figures["near"]) + (f" by {figures['near_by']}" if figures["near"] else "")),
                ("most frequent tenth", _percent(figures["concentration"])),
                ("stable", _span(figures["stability"])),
                ("less stable a day", _percent(figures["volatility"])),
                ("personal data", _span(figures["personal"])),
                ("quality", _span(row["quality"])),
                ("headroom", _percent(row["headroom"])),
            ]
        )
    for one in found["decisions"]:
        click.echo(f"\n{when(one['decided_at'])}  {one['choice']}  {one['state']}  {one['id']}")
        saving, wrong = one["saving"], one["wrong"]
        click.echo(
            f"  worth ${saving['expected']:.2f} a month (${saving['low']:.2f} to ${saving['high']:.2f}); "
            f"{wrong['expected']:.0f} wrong answers a month, ${one['risk']:.2f}"
        )
        for reason in one["reasons"]:
            click.echo(f"  - {reason['text']}")
        for name, proposed in one["policy"].items():
            click.echo(f"  proposed: {name} " + ", ".join(f"{key} {value}" for key, value in proposed.items()))


def _print_decisions(found: Any) -> None:
    rows = [
        (
            one["family"],
            one["figures"].get("alias") or "-",
            one["intent"] or "-",
            one["choice"],
            one["state"],
            f"${one['saving']['expected']:.2f}",
            one["id"],
        )
        for one in found
    ]
    columns = ("family", "model", "intent", "decision", "state", ">worth a month", "id")
    table(columns, rows, "Nothing new: what stands, stands.", spare=("model", "intent"))


def _print_items(found: Any) -> None:
    rows = [
        (one["prompt"], ", ".join(one["findings"]), one["owner"] or "-", one["state"], when(one["due_at"]))
        for one in found
    ]
    table(("prompt", "findings", "owner", "state", "due"), rows, "Nothing to look at.")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _share(value: Any) -> str:
    return "-" if value is None else _percent(value["value"])


def _span(value: Any) -> str:
    if value is None:
        return "-"
    return f"{_percent(value['value'])} ({_percent(value['low'])} to {_percent(value['high'])}, n = {value['n']:.0f})"
