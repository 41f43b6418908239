"""``scorers``."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import dollars, facts, percent, table, when

_project = click.option("--project", default="", help="Of this project; left out: the key's own.")
_reason = click.option("--reason", default="", help="Goes into the audit log.")


@click.group()
def scorers() -> None:
    """Scorers: what says how good answers are, and which share of the traffic it looks at."""


@scorers.command("kinds")
@json_option
def kinds(as_json: bool) -> None:
    """List the kinds that there are, and what each can be told."""
    show(
        call("GET", "/scorers/kinds"),
        as_json,
        lambda found: table(
            ("kind", "what it says", "options"),
            [(one["name"], one["title"], ", ".join(one["options"])) for one in found],
        ),
    )


@scorers.command("list")
@_project
@json_option
def list_scorers(project: str, as_json: bool) -> None:
    """List the scorers that are used now."""
    show(
        call("GET", "/scorers", query={"project": project, "limit": 500}),
        as_json,
        lambda page: table(
            ("name", "kind", ">number", "version", ">weight", "declared"),
            [
                (
                    one["name"],
                    one["spec"]["kind"],
                    one["number"],
                    one["version"],
                    one["spec"].get("weight", 1.0),
                    when(one["created_at"]),
                )
                for one in page["items"]
            ],
            "No scorer.",
        ),
    )


@scorers.command("show")
@click.argument("name")
@click.option("--versions", is_flag=True, help="Every version, newest first.")
@_project
@json_option
def show_scorer(name: str, versions: bool, project: str, as_json: bool) -> None:
    """Show one scorer."""
    path = f"/scorers/{part(name)}" + ("/versions" if versions else "")

    def told(found: Any) -> None:
        several: list[dict[str, Any]] = found if versions else [found]
        for one in several:
            facts(
                [
                    ("name", f"{one['name']}@{one['version']}"),
                    ("kind", one["spec"]["kind"]),
                    ("number", one["number"]),
                    ("used now", "yes" if one["standing"] else "no"),
                    ("declared", f"{when(one['created_at'])} by {one['created_by']}"),
                    *sorted(one["spec"].get("config", {}).items()),
                ]
            )

    show(call("GET", path, query={"project": project}), as_json, told)


@scorers.command("declare")
@click.argument("name")
@click.option("--kind", required=True, help="One of `ostinato scorers kinds`.")
@click.option("--config", "body", default="{}", help="Its options as JSON, or @FILE with them.")
@click.option("--weight", type=float, default=1.0, show_default=True, help="In the mean; 0: shown, not counted.")
@click.option("--note", default="", help="Goes into the audit log.")
@_project
@json_option
def declare(name: str, kind: str, body: str, weight: float, note: str, project: str, as_json: bool) -> None:
    """Declare a scorer, or another version of one."""
    wish = {"name": name, "kind": kind, "config": read_json(body), "weight": weight, "note": note}
    show(
        call("POST", "/scorers", wish, query={"project": project}),
        as_json,
        lambda made: click.echo(f"{made['name']}@{made['version']}, number {made['number']}"),
    )


@scorers.command("remove")
@click.argument("name")
@_reason
@_project
@json_option
def remove(name: str, reason: str, project: str, as_json: bool) -> None:
    """Use a scorer no more; its versions stay for the scores that name them."""
    gone = call("DELETE", f"/scorers/{part(name)}", query={"project": project, "reason": reason})
    show(gone, as_json, lambda one: click.echo(f"{one['name']} is used no more."))


@scorers.command("calibrate")
@click.argument("name")
@click.option("--dataset", help="NAME, or NAME@VERSION: answers that people have judged; the judge is asked.")
@click.option("--queue", help="In its place a review queue: verdicts on sampled answers that the judge has judged.")
@click.option("--limit", type=click.IntRange(1, 500), default=200, show_default=True)
@_project
@json_option
def calibrate(name: str, dataset: str | None, queue: str | None, limit: int, project: str, as_json: bool) -> None:
    """Hold a judge against people, who have judged the same answers."""
    if bool(dataset) == bool(queue):
        raise click.UsageError("Give --dataset or --queue: one of them.")
    named, _, number = (dataset or "").partition("@")
    wish: dict[str, Any] = {"queue": queue} if queue else {"dataset": named, "limit": limit}
    if number.isdecimal():
        wish["number"] = int(number)
    made = call("POST", f"/scorers/{part(name)}/calibration", wish, query={"project": project})
    show(made, as_json, lambda one: _calibrations([one]))


@scorers.command("calibrations")
@click.argument("name")
@_project
@json_option
def calibrations(name: str, project: str, as_json: bool) -> None:
    """Show how versions of a judge agreed with people."""
    show(call("GET", f"/scorers/{part(name)}/calibration", query={"project": project}), as_json, _calibrations)


def _calibrations(found: Any) -> None:
    table(
        ("judge", "held against", ">n", ">unscored", ">kappa", "95 %", ">agrees", ">cost", "may promote"),
        [
            (
                f"{one['scorer']}@{one['version']}",
                f"reviews in {one['queue']}" if one["queue"] else f"{one['dataset']}@{one['number']}",
                one["result"]["n"],
                one["result"]["unscored"],
                f"{one['result']['kappa']:.2f}",
                f"{one['result']['low']:.2f} to {one['result']['high']:.2f}",
                percent(one["result"]["agreement"]),
                dollars(one["cost"]),
                "yes" if one["result"]["passed"] else f"no: {one['result']['why']}",
            )
            for one in found
        ],
        "Never calibrated.",
    )


@scorers.command("sampling")
@_project
@json_option
def sampling(project: str, as_json: bool) -> None:
    """List which share of the traffic is scored, and by what."""
    show(call("GET", "/sampling", query={"project": project}), as_json, _rules)


@scorers.command("sample")
@click.argument("name")
@click.option("--share", type=click.FloatRange(0, 1), required=True, help="From 0 (off) to 1 (every answer).")
@click.option("--scorer", "names", multiple=True, required=True, help="A declared one; several times.")
@click.option("--intent", default="", help="Of requests of this intent alone.")
@click.option("--prompt", default="", help="Of requests of this prompt alone.")
@click.option("--quarantine", type=click.FloatRange(0, 1), help="Withdraw stored answers whose mean is below this.")
@click.option("--review", default="", help="Have people look at some: the review queue, whose sampling says which.")
@_reason
@_project
@json_option
def sample(
    name: str,
    share: float,
    names: tuple[str, ...],
    intent: str,
    prompt: str,
    quarantine: float | None,
    review: str,
    reason: str,
    project: str,
    as_json: bool,
) -> None:
    """Score a share of the traffic by a rule of this name."""
    wish: dict[str, Any] = {"share": share, "scorers": names, "intent": intent, "prompt": prompt, "reason": reason}
    wish["review"] = review
    if quarantine is not None:
        wish["quarantine"] = quarantine
    made = call("PUT", f"/sampling/{part(name)}", wish, query={"project": project})
    show(made, as_json, lambda one: _rules([one]))


@scorers.command("unsample")
@click.argument("name")
@_reason
@_project
@json_option
def unsample(name: str, reason: str, project: str, as_json: bool) -> None:
    """Sample by a rule no more."""
    gone = call("DELETE", f"/sampling/{part(name)}", query={"project": project, "reason": reason})
    show(gone, as_json, lambda one: click.echo(f"{one['name']} samples no more."))


def _rules(found: Any) -> None:
    table(
        ("rule", ">share", "scorers", "intent", "prompt", ">quarantine", "review"),
        [
            (
                one["name"],
                percent(one["share"]),
                ", ".join(one["scorers"]),
                one["intent"] or "every",
                one["prompt"] or "every",
                "-" if one["quarantine"] is None else one["quarantine"],
                one["review"] or "-",
            )
            for one in found
        ],
        "Nothing is sampled.",
    )
