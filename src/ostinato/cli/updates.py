"""``updates``."""

from pathlib import Path
from typing import Any

import click

from ostinato.cli import naming
from ostinato.cli.client import call, json_option, page, part, read_json, show
from ostinato.cli.tables import dollars, facts, milliseconds, percent, table, when
from ostinato.core import money


@click.group()
def updates() -> None:
    """Changes of models: who gains, who loses; canaries by intent.

    UPDATE is the id that `plan` gives.
    """


@updates.command("plan")
@click.argument("alias")
@click.argument("targets", nargs=-1, required=True)
@click.option("--project", help="Whose traffic; your own project if left out.")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def plan(alias: str, targets: tuple[str, ...], project: str | None, reason: str, as_json: bool) -> None:
    """Say who uses ALIAS, and what comparing with TARGETS (provider/model, or JSON) would cost. Asks no model."""
    named = [read_json(one) if one.lstrip()[:1] in "{@" else one for one in targets]
    body = {"alias": alias, "targets": named, "project": project, "reason": reason}
    show(call("POST", "/updates", body), as_json, _print)


@updates.command("run")
@click.argument("update")
@click.option("--prompt", "prompts", multiple=True, help="Only this prompt; repeat.")
@click.option("--examples", type=int, help="At most so many of each dataset.")
@click.option("--max-calls", type=int, help="Calls that each prompt's comparison may make.")
@click.option("--max-cost", help="Dollars that each prompt's comparison may spend.")
@json_option
def run(
    update: str,
    prompts: tuple[str, ...],
    examples: int | None,
    max_calls: int | None,
    max_cost: str | None,
    as_json: bool,
) -> None:
    """Compare old and new on every prompt that has a dataset. The comparisons go on by themselves: see `show`."""
    limits: dict[str, Any] = {}
    if max_calls is not None:
        limits["calls"] = max_calls
    if max_cost is not None:
        limits["nano"] = money.from_dollars(max_cost)
    body = {"prompts": list(prompts), "examples": examples, "limits": limits}
    show(call("POST", f"/updates/{part(update)}/run", body), as_json, _compared)


@updates.command("show")
@click.argument("update")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, as a page.")
@json_option
def show_update(update: str, html: Path | None, as_json: bool) -> None:
    """Show who gains and who loses, and how far each canary is."""
    if html is not None:
        html.write_text(page(f"/updates/{part(update)}/page"), encoding="utf-8")
        click.echo(f"The report is in {html}.")
        return
    show(call("GET", f"/updates/{part(update)}/report"), as_json, _report)


@updates.command("list")
@click.option("--project", help="Of this project; your own if left out.")
@click.option("--state", help="planned, waiting, canary, done or abandoned.")
@json_option
def list_updates(project: str | None, state: str | None, as_json: bool) -> None:
    """List changes of models, the newest first."""
    found: list[Any] = []
    after = None
    while True:
        got = call("GET", "/updates", query={"project": project, "state": state, "after": after, "limit": 500})
        found += got["items"]
        after = got["next"]
        if after is None:
            break
    show(found, as_json, _print_list)


@updates.command("start")
@click.argument("update")
@click.option("--intent", "intents", multiple=True, help="Only this intent's traffic; repeat.")
@click.option("--rollout", help="Steps and guardrails as JSON, or @FILE with it.")
@click.option("--accept", default="", help="Why it may begin although a prompt loses or is not compared.")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def start(update: str, intents: tuple[str, ...], rollout: str | None, accept: str, reason: str, as_json: bool) -> None:
    """Begin a canary for each intent: 5, 25, 50, 100 % unless --rollout says otherwise."""
    body: dict[str, Any] = {"intents": list(intents) or None, "accept": accept, "reason": reason}
    if rollout:
        body["rollout"] = read_json(rollout)
    show(call("POST", f"/updates/{part(update)}/start", body), as_json, _say)


@updates.command("approve")
@click.argument("update")
@click.option("--comment", default="", help="What you looked at.")
@json_option
def approve(update: str, comment: str, as_json: bool) -> None:
    """Agree to a change that waits, as it stands now."""
    digest = call("GET", f"/updates/{part(update)}")["digest"]
    show(call("POST", f"/updates/{part(update)}/approve", {"digest": digest, "comment": comment}), as_json, _say)


@updates.command("reject")
@click.argument("update")
@click.option("--comment", required=True, help="Why not.")
@json_option
def reject(update: str, comment: str, as_json: bool) -> None:
    """Say no to a change that waits: it is planned again, as before it was asked for."""
    digest = call("GET", f"/updates/{part(update)}")["digest"]
    show(call("POST", f"/updates/{part(update)}/reject", {"digest": digest, "comment": comment}), as_json, _say)


@updates.command("abandon")
@click.argument("update")
@click.option("--reason", default="", help="Why; it stays in the history.")
@json_option
def abandon(update: str, reason: str, as_json: bool) -> None:
    """Take everything back to the old targets, wherever the update stands."""
    show(call("POST", f"/updates/{part(update)}/abandon", {"reason": reason}), as_json, _say)


def _print_list(found: Any) -> None:
    rows = [
        (
            one["id"],
            one["alias"],
            one["kind"],
            one["state"],
            ", ".join(name or "(none)" for name in one["intents"]) or "-",
            _names(one),
            when(one["created_at"]),
            one["created_by"],
        )
        for one in found
    ]
    columns = ("id", "alias", "kind", "state", "intents", "new", "since", "by")
    columns, rows = naming.with_project(columns, rows, found)
    table(columns, rows, "No change of models yet.", spare=("by", "kind", "intents"))


def _say(one: Any) -> None:
    told = {
        "waiting": f"Somebody else must agree first: `ostinato updates approve {one['id']}`; then start it again.",
        "canary": f"The canaries have begun: `ostinato updates show {one['id']}` tells how they do.",
    }
    click.echo(f"The update {one['id']} is {one['state']}. {told.get(one['state'], one['hint'])}".rstrip())


def _compared(one: Any) -> None:
    click.echo(f"{len(one['trials'])} prompts are compared: `ostinato updates show {one['id']}` tells what came of it.")


def _head(one: Any) -> None:
    facts(
        [
            ("update", one["id"]),
            ("alias", one["alias"]),
            ("state", one["state"] + (f": {one['why']}" if one["why"] else "")),
            ("old", ", ".join(one["old"])),
            ("new", _names(one)),
            ("since", f"{when(one['created_at'])} by {one['created_by']}"),
            ("hint", one["hint"] or "-"),
        ]
    )


def _print(one: Any) -> None:
    _head(one)
    table(
        ("prompt", "intent", ">calls", "dataset", ">examples", ">to ask", ">estimate", "unknown"),
        [
            (
                f"{use['prompt']}@{use['number']}",
                use["intent"] or "-",
                use["calls"],
                use["dataset"] or "-",
                use["examples"],
                use["calls_needed"],
                dollars(use["cost_estimated"]),
                use["unknown"],
            )
            for use in one["uses"]
        ],
        empty="No prompt uses it; what is asked of it without a prompt cannot be judged beforehand.",
        spare=("intent",),
    )
    other = sum(some["calls"] for some in one["traffic"] if not some["prompt"])
    if other:
        click.echo(f"{other} calls came without a prompt of ours: nothing is known of what they expect.")


def _report(found: Any) -> None:
    one = found["update"]
    _head(one)
    table(
        ("prompt", "verdict", ">old", ">new", ">difference", ">w/l/t", ">p", ">cost", ">latency", "why"),
        [
            (
                f"{line['prompt']}@{line['number']}",
                line["verdict"],
                _mean(line["old"]),
                _mean(line["new"]),
                _span(line["difference"]),
                f"{line['wins']}/{line['losses']}/{line['ties']}",
                "-" if line["p"] is None else f"{line['p']:.3g}",
                dollars(line["cost"]),
                f"{milliseconds(line['latency_old_us'])} -> {milliseconds(line['latency_new_us'])}",
                line["why"],
            )
            for line in found["lines"]
        ],
        empty="No prompt uses it.",
        spare=("latency", "cost"),
    )
    if one["arms"]:
        steps = one["rollout"]["steps"]
        table(
            ("intent", "state", ">share", "since", "why"),
            [
                (
                    arm["intent"] or "(none)",
                    arm["state"],
                    percent(steps[arm["step"]]["share"]),
                    when(arm["step_since"]),
                    arm["why"],
                )
                for arm in one["arms"]
            ],
        )


def _names(one: Any) -> str:
    return ", ".join(
        name if isinstance(name, str) else f"{name['provider']}/{name['model']}" for name in one["targets"]
    )


def _mean(one: Any) -> str:
    return "-" if one is None else f"{one['mean']:.3f}"


def _span(one: Any) -> str:
    return "-" if one is None else f"{one['mean']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
