"""``detectors``."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when

_project = click.option("--project", default="", help="Of this project; left out: the key's own.")
_intent = click.option("--intent", default=None, help="Of this intent; left out: of all.")
_reason = click.option("--reason", default="", help="Goes into the audit log.")


@click.group()
def detectors() -> None:
    """Detectors: what watches for drift, what it knows, and its alarms."""


@detectors.command("kinds")
@json_option
def kinds(as_json: bool) -> None:
    """List the kinds that there are, and what each can be told."""
    show(
        call("GET", "/detectors/kinds"),
        as_json,
        lambda found: table(
            ("kind", "what it tells", "options"),
            [(one["name"], one["title"], ", ".join(one["options"])) for one in found],
        ),
    )


@detectors.command("list")
@_intent
@_project
@json_option
def list_detectors(intent: str | None, project: str, as_json: bool) -> None:
    """List what watches: brought along by stakes, or declared."""
    query = {"project": project, "intent": intent, "limit": 500}
    show(call("GET", "/detectors", query=query), as_json, lambda page: _detectors(page["items"]))


def _detectors(found: Any) -> None:
    table(
        ("name", "kind", "intent", "prompt", "on", "origin", ">version"),
        [
            (
                one["name"],
                one["declared"]["kind"],
                one["declared"].get("intent") or "every",
                one["declared"].get("prompt") or "every",
                "yes" if one["declared"].get("enabled", True) else "no",
                one["origin"],
                one["version"] or "-",
            )
            for one in found
        ],
        "No detector.",
        spare=("prompt", "intent"),
    )


@detectors.command("show")
@click.argument("name")
@_project
@json_option
def show_detector(name: str, project: str, as_json: bool) -> None:
    """Show one detector."""

    def told(one: Any) -> None:
        declared = one["declared"]
        facts(
            [
                ("name", one["name"]),
                ("kind", declared["kind"]),
                ("intent", declared.get("intent") or "every"),
                ("prompt", declared.get("prompt") or "every"),
                ("on", "yes" if declared.get("enabled", True) else "no"),
                ("origin", one["origin"]),
                ("version", one["version"]),
                *((name, str(value)) for name, value in sorted(declared.get("config", {}).items())),
            ]
        )

    show(call("GET", f"/detectors/{part(name)}", query={"project": project}), as_json, told)


@detectors.command("declare")
@click.argument("name")
@click.option("--kind", required=True, help="One of `ostinato detectors kinds`.")
@click.option("--intent", default="", help="Of this intent alone.")
@click.option("--prompt", default="", help="Of this prompt alone.")
@click.option("--replaces", default="", help="The default detector whose place it takes, where it has another name.")
@click.option("--off", is_flag=True, help="Declared, and switched off: takes the place of a default one.")
@click.option("--config", "body", default="{}", help="Its options as JSON, or @FILE with them.")
@_reason
@_project
@json_option
def declare(
    name: str,
    kind: str,
    intent: str,
    prompt: str,
    replaces: str,
    off: bool,
    body: str,
    reason: str,
    project: str,
    as_json: bool,
) -> None:
    """Declare a detector, or change it: it learns anew what is usual."""
    wish = {
        "kind": kind,
        "intent": intent,
        "prompt": prompt,
        "replaces": replaces,
        "enabled": not off,
        "config": read_json(body),
        "reason": reason,
    }
    made = call("PUT", f"/detectors/{part(name)}", wish, query={"project": project})
    show(made, as_json, lambda one: _detectors([one]))


@detectors.command("remove")
@click.argument("name")
@_reason
@_project
@json_option
def remove(name: str, reason: str, project: str, as_json: bool) -> None:
    """Watch by a declaration no more; a default whose place it took comes back."""
    gone = call("DELETE", f"/detectors/{part(name)}", query={"project": project, "reason": reason})
    show(gone, as_json, lambda one: click.echo(f"{one['name']} is declared no more."))


@detectors.command("state")
@click.option("--detector", default="", help="Of this one only.")
@_intent
@_project
@json_option
def state(detector: str, intent: str | None, project: str, as_json: bool) -> None:
    """Show what detectors know: statistic, threshold, samples."""
    query = {"project": project, "intent": intent, "detector": detector, "limit": 500}
    show(call("GET", "/detectors/state", query=query), as_json, lambda page: _states(page["items"]))


def _states(found: Any) -> None:
    table(
        ("detector", "intent", "of", "status", ">index", ">samples", ">days", "last", ">alarms"),
        [
            (
                one["detector"],
                one["series"]["intent"] or "-",
                one["series"]["part"] or one["series"]["prompt"] or one["series"]["release"] or "-",
                one["status"],
                f"{one['index']:.2f}",
                one["samples"],
                f"{one['days_between_false_alarms']:.0f}",
                when(one["last"]) if one["last"] else "-",
                one["alarms"],
            )
            for one in found
        ],
        "Nothing has been watched yet.",
        spare=("last", "of"),
    )


@detectors.command("alarms")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@_project
@json_option
def alarms(limit: int, project: str, as_json: bool) -> None:
    """List the alarms that detectors have raised, newest first."""
    show(
        call("GET", "/detectors/alarms", query={"project": project, "limit": limit}),
        as_json,
        lambda page: table(
            ("at", "kind", "detector", "intent", ">statistic", ">threshold", ">samples"),
            [
                (
                    when(one["at"]),
                    one["kind"],
                    one["detector"],
                    one["intent"] or "-",
                    "-" if one["statistic"] is None else f"{one['statistic']:.2f}",
                    "-" if one["threshold"] is None else f"{one['threshold']:.2f}",
                    one["samples"],
                )
                for one in page["items"]
            ],
            "No alarm.",
        ),
    )


@detectors.command("gold")
@click.argument("name")
@click.option("--scorer", required=True, help="The declared judge.")
@click.option("--dataset", required=True, help="NAME@VERSION: answers that people have judged; versions never change.")
@click.option("--items", type=click.IntRange(10, 500), default=50, show_default=True, help="Judged anew every night.")
@click.option("--bound", type=click.FloatRange(0, 0.99), default=0.6, show_default=True, help="Least kappa.")
@_reason
@_project
@json_option
def gold(
    name: str, scorer: str, dataset: str, items: int, bound: float, reason: str, project: str, as_json: bool
) -> None:
    """Hold a judge against a frozen gold set, every night."""
    named, _, number = dataset.partition("@")
    if not number.isdecimal():
        raise click.UsageError("Name the version: --dataset NAME@VERSION.")
    config = {"scorer": scorer, "dataset": named, "number": int(number), "items": items, "bound": bound}
    wish = {"kind": "judge", "config": config, "reason": reason}
    made = call("PUT", f"/detectors/{part(name)}", wish, query={"project": project})
    show(made, as_json, lambda one: _detectors([one]))
