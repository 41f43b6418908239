"""``alerts``."""

from typing import Any

import click

from ostinato.cases.model import KINDS, SEVERITIES
from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, table, when
from ostinato.core import ids
from ostinato.core.errors import NotFound


@click.group()
def alerts() -> None:
    """Thresholds that raise alarms. ALERT is a name, or an id."""


@alerts.command("declare")
@click.argument("name")
@click.argument("metric")
@click.argument("operator", type=click.Choice([">", ">=", "<", "<="]))
@click.argument("threshold", type=float)
@click.option("--project", help="Whose it is; your own if left out.")
@click.option("--intent", default="", help="Of this intent's traffic only.")
@click.option("--prompt", default="", help="Of this prompt's traffic only.")
@click.option("--release", default="", help="Of this release's traffic only.")
@click.option("--window", type=float, default=3_600.0, show_default=True, help="Seconds that the figure is of.")
@click.option("--for", "lasting", type=float, default=0.0, show_default=True, help="Seconds that it must last.")
@click.option("--min-samples", type=int, default=0, show_default=True, help="Fewer are taken as no data.")
@click.option("--missing", type=click.Choice(["ok", "alarm"]), default="ok", show_default=True, help="No data are ...")
@click.option("--severity", type=click.Choice(SEVERITIES), help="The stakes of the intent, if left out.")
@click.option("--cool-down", type=float, default=900.0, show_default=True, help="Seconds before it is raised again.")
@click.option("--kind", type=click.Choice(KINDS), default="threshold", show_default=True, help="Whose playbook.")
@click.option("--title", default="", help="One sentence for people.")
@click.option("--off", is_flag=True, help="Keep it, and do not look.")
@json_option
def declare(
    name: str,
    metric: str,
    operator: str,
    threshold: float,
    project: str | None,
    intent: str,
    prompt: str,
    release: str,
    window: float,
    lasting: float,
    min_samples: int,
    missing: str,
    severity: str | None,
    cool_down: float,
    kind: str,
    title: str,
    off: bool,
    as_json: bool,
) -> None:
    """Raise an alarm while METRIC is OPERATOR THRESHOLD, such as: errors error_rate '>' 0.05."""
    body = {
        "name": name,
        "project": project,
        "metric": metric,
        "operator": operator,
        "threshold": threshold,
        "intent": intent,
        "prompt": prompt,
        "release": release,
        "window_seconds": window,
        "for_seconds": lasting,
        "min_samples": min_samples,
        "missing": missing,
        "severity": severity,
        "cool_down_seconds": cool_down,
        "kind": kind,
        "title": title,
        "enabled": not off,
    }
    show(call("POST", "/alerts", body), as_json, lambda one: click.echo(f"Declared {one['name']}."))


@alerts.command("list")
@click.option("--project", help="Of this project only.")
@click.option("--state", help="ok, pending, alarm or missing.")
@json_option
def list_alerts(project: str | None, state: str | None, as_json: bool) -> None:
    """List alerts with what each has seen last."""
    show(
        _all({"project": project, "state": state}),
        as_json,
        lambda found: table(
            ("alert", "state", "metric", ">value", ">threshold", ">alarms", "looked at"),
            [
                (
                    one["name"],
                    one["state"] if one["alert"]["enabled"] else "off",
                    one["alert"]["metric"],
                    "-" if one["value"] is None else f"{one['value']:.4g}",
                    f"{one['alert']['operator']} {one['alert']['threshold']:g}",
                    one["alarms"],
                    when(one["looked_at"]),
                )
                for one in found
            ],
            empty="No alert is declared.",
            spare=("looked at",),
        ),
    )


@alerts.command("show")
@click.argument("alert")
@json_option
def show_alert(alert: str, as_json: bool) -> None:
    """Show an alert."""
    show(call("GET", f"/alerts/{part(_id(alert))}"), as_json, _print)


@alerts.command("remove")
@click.argument("alert")
@json_option
def remove(alert: str, as_json: bool) -> None:
    """Forget an alert. Its cases stay."""
    answer = call("DELETE", f"/alerts/{part(_id(alert))}")
    show(answer, as_json, lambda _: click.echo(f"Removed {alert}."))


def _print(one: Any) -> None:
    told = one["alert"]
    facts(
        [
            ("alert", one["name"]),
            ("id", one["id"]),
            ("state", one["state"]),
            ("metric", f"{told['metric']} {told['operator']} {told['threshold']:g}"),
            ("of", told["intent"] or told["prompt"] or told["release"] or "all traffic"),
            ("window", f"{told['window_seconds']:g} s, for {told['for_seconds']:g} s"),
            ("value", "-" if one["value"] is None else f"{one['value']:.6g} of {one['samples']}"),
            ("beyond since", when(one["beyond_since"])),
            ("alarms", f"{one['alarms']}, the last {when(one['raised_at'])}"),
            ("declared", f"{when(one['declared_at'])} by {one['declared_by']}"),
        ]
    )


def _all(query: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = call("GET", "/alerts", query={**query, "after": after, "limit": 500})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def _id(ref: str) -> str:
    if ids.is_id(ref):
        return ref
    for one in _all({}):
        if one["name"] == ref:
            return str(one["id"])
    raise NotFound(f"There is no alert {ref!r}.", hint="`ostinato alerts list` shows all.")
