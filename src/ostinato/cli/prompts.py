"""``prompts``: what there is, and what is said about it. Versions, labels and files have modules of their own."""

from typing import Any

import click

from ostinato.cli import labels, prompt_files, versions
from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, table, when
from ostinato.cli.versions import KINDS, content_of, content_options, print_saved, print_version, project_option


@click.group()
def prompts() -> None:
    """Prompts: immutable versions, and labels that point at them."""


@prompts.command("list")
@project_option
@click.option("--kind", type=KINDS, help="Of this kind only.")
@click.option("--intent", help="Of this intent only.")
@click.option("--tag", help="With this tag only.")
@click.option("--prefix", help="Names that begin so only.")
@click.option("--archived", is_flag=True, help="Those out of use instead.")
@click.option("--after", default="", help="From behind this name on.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@json_option
def list_prompts(as_json: bool, **query: Any) -> None:
    """List prompts by name."""
    show(call("GET", "/prompts", query=query), as_json, _print_list)


def _print_list(found: Any) -> None:
    table(
        ("name", "kind", ">versions", "labels", "intent", "tags", "description"),
        [
            (
                p["name"],
                p["kind"],
                p["latest"],
                _labels(p["labels"]),
                p["intent"] or "-",
                ", ".join(p["tags"]) or "-",
                p["description"],
            )
            for p in found["items"]
        ],
        "No prompts.",
        spare=("description", "tags", "intent"),
    )
    if found["next"]:
        click.echo(f"There are more: --after {found['next']}")


def _labels(labels: Any) -> str:
    return ", ".join(f"{name} -> {number}" for name, number in labels.items()) or "-"


@prompts.command("create")
@click.argument("name")
@project_option
@click.option("--kind", type=KINDS, default="chat", show_default=True)
@click.option("--description", default="")
@click.option("--tag", "tags", multiple=True, help="Repeat for more.")
@click.option("--intent", default="", help="Key of the intent that it serves.")
@click.option("--message", default="", help="What the first version is about.")
@content_options
@json_option
def create_prompt(
    name: str,
    project: str | None,
    kind: str,
    description: str,
    tags: tuple[str, ...],
    intent: str,
    message: str,
    as_json: bool,
    **content: Any,
) -> None:
    """Create a prompt, with its first version where a content is given.

    For example: ostinato prompts create support/answer --system 'You help.' --user '{{question}}' --model small
    """
    version = content_of(**content)
    made: dict[str, Any] = {"name": name, "kind": kind, "description": description, "tags": tags, "intent": intent}
    if version:
        made["version"] = {**version, "message": message}
    show(call("POST", "/prompts", made, query={"project": project}), as_json, _print_made)


def _print_made(made: Any) -> None:
    click.echo(f"Created {made['prompt']['name']} ({made['prompt']['kind']}).")
    if made["saved"]:
        print_saved(made["saved"])


@prompts.command("show")
@click.argument("name")
@project_option
@click.option("--version", type=click.IntRange(1), help="This version's content.")
@json_option
def show_prompt(name: str, project: str | None, version: int | None, as_json: bool) -> None:
    """Show a prompt and where its labels point; or what one of its versions says."""
    query = {"project": project}
    if version is not None:
        show(call("GET", f"/prompts/{part(name)}/versions/{version}", query=query), as_json, print_version)
        return
    found = call("GET", f"/prompts/{part(name)}", query=query)
    show(found, as_json, _print_prompt)


def _print_prompt(p: Any) -> None:
    facts(
        [
            ("name", p["name"]),
            ("kind", p["kind"]),
            ("description", p["description"] or "-"),
            ("tags", ", ".join(p["tags"]) or "-"),
            ("intent", p["intent"] or "-"),
            ("newest version", p["latest"] or "-"),
            ("labels", _labels(p["labels"])),
            ("created", f"{when(p['created_at'])} by {p['created_by']}"),
            *([("archived", when(p["archived_at"]))] if p["archived_at"] else []),
            ("id", p["id"]),
        ]
    )


@prompts.command("dependants")
@click.argument("name")
@project_option
@json_option
def dependants(name: str, project: str | None, as_json: bool) -> None:
    """Show what would feel a change: prompts that take a partial, labels that point at a prompt."""
    show(call("GET", f"/prompts/{part(name)}/dependants", query={"project": project}), as_json, _print_dependants)


def _print_dependants(found: Any) -> None:
    if found["prompts"]:
        table(
            ("prompt", ">version", "newest", "labels", "takes"),
            [
                (
                    d["prompt"],
                    d["number"],
                    "yes" if d["latest"] else "no",
                    ", ".join(d["labels"]) or "-",
                    f"{d['partial']}@{d['partial_number']}",
                )
                for d in found["prompts"]
            ],
        )
    if found["labels"] or not found["prompts"]:
        labels.print_assignments(found["labels"])


@prompts.command("edit")
@click.argument("name")
@project_option
@click.option("--description")
@click.option("--tag", "tags", multiple=True, help="All of its tags; repeat.")
@click.option("--intent", help="Key of the intent that it serves; '' for none.")
@json_option
def edit_prompt(
    name: str,
    project: str | None,
    description: str | None,
    tags: tuple[str, ...],
    intent: str | None,
    as_json: bool,
) -> None:
    """Change what is said about a prompt. Its content changes by another version."""
    given = {"description": description, "tags": tags or None, "intent": intent}
    body = {key: value for key, value in given.items() if value is not None}
    show(call("PATCH", f"/prompts/{part(name)}", body, query={"project": project}), as_json, _print_prompt)


@prompts.command("archive")
@click.argument("name")
@project_option
@json_option
def archive_prompt(name: str, project: str | None, as_json: bool) -> None:
    """Take a prompt out of use; it can be restored."""
    found = call("POST", f"/prompts/{part(name)}/archive", query={"project": project})
    show(found, as_json, lambda p: click.echo(f"Archived {p['name']}."))


@prompts.command("restore")
@click.argument("name")
@project_option
@json_option
def restore_prompt(name: str, project: str | None, as_json: bool) -> None:
    """Take an archived prompt back into use."""
    found = call("POST", f"/prompts/{part(name)}/restore", query={"project": project})
    show(found, as_json, lambda p: click.echo(f"Restored {p['name']}."))


for _command in (*versions.COMMANDS, *labels.COMMANDS, *prompt_files.COMMANDS):
    prompts.add_command(_command)
