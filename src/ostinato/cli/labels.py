"""``labels``, and the commands of ``prompts`` about where labels point."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import table, when
from ostinato.cli.versions import project_option


@click.command("label")
@click.argument("name")
@click.argument("label")
@click.argument("version", type=click.IntRange(1))
@project_option
@click.option("--reason", default="", help="Why; goes into the history.")
@click.option("--seen", type=int, help="The move that you saw (0: none); refused if there was another.")
@json_option
def move_label(
    name: str, label: str, version: int, project: str | None, reason: str, seen: int | None, as_json: bool
) -> None:
    """Let a label point at a version. A protected one is moved by a release."""
    body = {"version": version, "reason": reason}
    query = {"project": project, "version": seen}
    show(call("PUT", f"/prompts/{part(name)}/labels/{part(label)}", body, query=query), as_json, _print_move)


@click.command("unlabel")
@click.argument("name")
@click.argument("label")
@project_option
@click.option("--reason", default="", help="Why; goes into the history.")
@json_option
def clear_label(name: str, label: str, project: str | None, reason: str, as_json: bool) -> None:
    """Take a label away from a prompt."""
    query = {"project": project, "reason": reason}
    show(call("DELETE", f"/prompts/{part(name)}/labels/{part(label)}", query=query), as_json, _print_move)


def _print_move(move: Any) -> None:
    before = f", before {move['from_number']}" if move["from_number"] else ""
    now = f"points at version {move['number']}" if move["number"] else "points nowhere"
    click.echo(f"{move['label']} of {move['prompt']} now {now}{before}.")


@click.command("history")
@click.argument("name")
@project_option
@click.option("--label", help="Of this label only.")
@click.option("--after", default="", help="Those before this move.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def history(name: str, as_json: bool, **query: Any) -> None:
    """List the moves of a prompt's labels, newest first."""
    show(
        call("GET", f"/prompts/{part(name)}/history", query=query),
        as_json,
        lambda found: table(
            (">move", "when", "label", ">from", ">to", "release", "by", "reason"),
            [
                (
                    m["seq"],
                    when(m["at"]),
                    m["label"],
                    m["from_number"] or "-",
                    m["number"] or "-",
                    m["release"] or "-",
                    m["principal"],
                    m["reason"] or "-",
                )
                for m in found["items"]
            ],
            "Its labels were never moved.",
            spare=("release", "by"),
        ),
    )


def print_assignments(found: Any) -> None:
    table(
        ("label", ">version", "release", "canary", "since", "by"),
        [
            (
                a["label"],
                a["number"],
                a["release"] or "-",
                f"{a['canary']['number']} at {100 * a['canary']['share']:g} %" if a["canary"] else "-",
                when(a["assigned_at"]),
                a["assigned_by"],
            )
            for a in found
        ],
        "Nothing depends on it.",
    )


@click.group()
def labels() -> None:
    """Labels: declared per project, with what a move of them takes."""


@labels.command("list")
@project_option
@json_option
def list_labels(project: str | None, as_json: bool) -> None:
    """List labels. Those like v1.2.3 need no declaration."""
    show(
        call("GET", "/labels", query={"project": project}),
        as_json,
        lambda found: table(
            ("label", "moved", ">approvals", "gates", "declared", "description"),
            [
                (
                    one["name"],
                    _moved(one),
                    one["protection"]["approvals"],
                    ", ".join(one["protection"]["gates"]) or "-",
                    "built in" if one["builtin"] else when(one["created_at"]),
                    one["description"] or "-",
                )
                for one in found
            ],
            spare=("description", "declared"),
        ),
    )


def _moved(one: Any) -> str:
    protection = one["protection"]
    if protection["release_required"] or protection["approvals"] or protection["gates"]:
        return "by releases"
    return "once" if one["immutable"] else "freely"


@labels.command("declare")
@click.argument("name")
@project_option
@click.option("--description", default="")
@click.option("--release-required", is_flag=True, help="Only releases may move it.")
@click.option("--approvals", type=click.IntRange(0, 10), default=0, help="Approvals that a release needs at least.")
@click.option("--gate", "gates", multiple=True, help="A gate that a release must pass; repeat.")
@click.option("--immutable", is_flag=True, help="Set once on a prompt, and never moved there.")
@click.option("--version", type=int, help="The version that you saw (0: none); refused if it moved on.")
@json_option
def declare_label(
    name: str,
    project: str | None,
    description: str,
    release_required: bool,
    approvals: int,
    gates: tuple[str, ...],
    immutable: bool,
    version: int | None,
    as_json: bool,
) -> None:
    """Declare a label, or declare it anew."""
    body = {
        "description": description,
        "protection": {"release_required": release_required, "approvals": approvals, "gates": gates},
        "immutable": immutable,
    }
    query = {"project": project, "version": version}
    show(
        call("PUT", f"/labels/{part(name)}", body, query=query),
        as_json,
        lambda one: click.echo(f"The label {one['name']} is declared (version {one['version']}): moved {_moved(one)}."),
    )


COMMANDS = (move_label, clear_label, history)
