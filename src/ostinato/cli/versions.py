"""Commands of ``prompts`` about what a version says."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when
from ostinato.core.errors import Invalid

F = TypeVar("F", bound=Callable[..., Any])

KINDS = click.Choice(["text", "chat", "partial"])
project_option = click.option("--project", help="Of this project; the key's own if left out.")


def content_options(command: F) -> F:
    """What a version says, on the command line."""
    for option in (
        click.option(
            "--format", "form", type=click.Choice(["plain", "jinja2"]), default=None, help="Plain if left out."
        ),
        click.option("--model", help="The alias to call."),
        click.option("--user", help="A chat prompt's message of the user, or @FILE."),
        click.option("--system", help="A chat prompt's system message, or @FILE."),
        click.option("--text", help="The template of a text prompt or partial, or @FILE."),
        click.option("--body", help="All of it as JSON, or @FILE: messages, variables, tools, params ..."),
    ):
        command = option(command)
    return command


def content_of(
    body: str | None, text: str | None, system: str | None, user: str | None, model: str | None, form: str | None
) -> dict[str, Any]:
    read: object = read_json(body) if body else {}
    if not isinstance(read, dict):
        raise Invalid("A version is a JSON object.")
    made = cast("dict[str, Any]", read)
    messages = [
        {"role": role, "template": _read(template)}
        for role, template in (("system", system), ("user", user))
        if template
    ]
    if messages:
        made["messages"] = messages
    if text:
        made["text"] = _read(text)
    if model:
        made["params"] = {**made.get("params", {}), "model": model}
    if form:
        made["format"] = form
    return made


def _read(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        with click.open_file(text[1:], encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{text[1:]} cannot be read: {error}.") from None


@click.command("save")
@click.argument("name")
@project_option
@click.option("--message", default="", help="What changes, and why.")
@click.option("--latest", type=int, help="The newest version that you saw; refused if there is a newer one.")
@content_options
@json_option
def save_version(
    name: str, project: str | None, message: str, latest: int | None, as_json: bool, **content: Any
) -> None:
    """Save a version. One that says the same already is not saved again."""
    made = {**content_of(**content), "message": message}
    query = {"project": project, "latest": latest}
    show(call("POST", f"/prompts/{part(name)}/versions", made, query=query), as_json, print_saved)


def print_saved(saved: Any) -> None:
    version = saved["version"]
    if saved["created"]:
        click.echo(f"Saved version {version['number']} of {version['prompt']} ({version['digest'][:12]}).")
    else:
        click.echo(f"Version {version['number']} of {version['prompt']} says the same; nothing was saved.")
    _print_findings(saved["findings"])


def _print_findings(findings: Any) -> None:
    for one in findings:
        place = f"{one['where']}, line {one['line']}, column {one['column']}" if one["line"] else one["where"]
        click.echo(f"{one['level']}: {place}: {one['message']} [{one['code']}]")


def print_version(v: Any) -> None:
    content = v["content"]
    facts(
        [
            ("version", f"{v['number']} of {v['prompt']}"),
            ("digest", v["digest"]),
            ("written", f"{when(v['created_at'])} by {v['author']} ({v['source']})"),
            ("message", v["message"] or "-"),
            ("variables", ", ".join(content.get("variables", {}).get("properties", {})) or "-"),
            ("params", ", ".join(f"{k}={val}" for k, val in content.get("params", {}).items()) or "-"),
            ("partials", ", ".join(f"{k}@{val}" for k, val in content.get("partials", {}).items()) or "-"),
        ]
    )
    for turn in content.get("messages", [{"role": content["kind"], "template": content.get("text", "")}]):
        click.echo(f"\n[{turn['role']}]\n{turn['template']}")
    _print_findings(v["findings"])


@click.command("versions")
@click.argument("name")
@project_option
@click.option("--after", default="", help="Those older than this number.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_versions(name: str, as_json: bool, **query: Any) -> None:
    """List versions, newest first."""
    show(
        call("GET", f"/prompts/{part(name)}/versions", query=query),
        as_json,
        lambda found: table(
            (">version", "digest", "written", "author", "source", ">findings", "message"),
            [
                (
                    v["number"],
                    v["digest"][:12],
                    when(v["created_at"]),
                    v["author"],
                    v["source"],
                    len(v["findings"]),
                    v["message"],
                )
                for v in found["items"]
            ],
            "No versions.",
            spare=("source", "author"),
        ),
    )


@click.command("diff")
@click.argument("name")
@click.argument("old", type=click.IntRange(1))
@click.argument("new", type=click.IntRange(1))
@project_option
@json_option
def diff_versions(name: str, old: int, new: int, project: str | None, as_json: bool) -> None:
    """Show what changed from one version to another."""
    query = {"old": old, "new": new, "project": project}
    show(call("GET", f"/prompts/{part(name)}/diff", query=query), as_json, _print_diff)


def _print_diff(diff: Any) -> None:
    if diff["same"]:
        click.echo(f"Versions {diff['old']} and {diff['new']} of {diff['prompt']} say the same.")
        return
    for text in (diff["text"], diff["response_schema"]):
        if text:
            click.echo(text)
    rows = [
        (what, change["name"], _value(change["old"]), _value(change["new"]))
        for what in ("variables", "params", "tools", "partials", "other")
        for change in diff[what]
    ]
    if rows:
        table(("what", "name", "old", "new"), rows)


def _value(value: Any) -> str:
    return "-" if value is None else str(value)


@click.command("lint")
@click.option("--kind", type=KINDS, default="chat", show_default=True)
@project_option
@content_options
@json_option
def lint_prompt(kind: str, project: str | None, as_json: bool, **content: Any) -> None:
    """Look at a version before it is saved: what would keep caches from working."""
    found = call("POST", "/prompts/lint", {**content_of(**content), "kind": kind}, query={"project": project})
    show(found, as_json, lambda told: _print_findings(told) if told else click.echo("Nothing to say against it."))


@click.command("render")
@click.argument("name")
@project_option
@click.option("--label", help="production if left out.")
@click.option("--version", type=click.IntRange(1))
@click.option("--var", "values", multiple=True, metavar="NAME=TEXT", help="A variable's text; repeat.")
@click.option("--variables", help="Variables as a JSON object, or @FILE.")
@json_option
def render_prompt(
    name: str,
    project: str | None,
    label: str | None,
    version: int | None,
    values: tuple[str, ...],
    variables: str | None,
    as_json: bool,
) -> None:
    """Show the messages that a version comes to. No model is called. NAME may be NAME@LABEL or NAME@VERSION."""
    name, _, pointer = name.partition("@")
    if pointer.isdecimal():
        version = version or int(pointer)
    else:
        label = label or pointer or None
    given: dict[str, Any] = read_json(variables) if variables else {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise Invalid(f"{value!r} is no variable.", hint="Write --var NAME=TEXT.")
        given[key] = text
    body = {"variables": given, "label": label, "version": version}
    show(call("POST", f"/prompts/{part(name)}/render", body, query={"project": project}), as_json, _print_rendered)


def _print_rendered(found: Any) -> None:
    for message in found["messages"]:
        click.echo(f"[{message['role']}]\n{message['content']}\n")
    named = f"version {found['number']} of {found['prompt']}"
    click.echo(f"{named}, for {found['model'] or 'no model'}", err=True)


COMMANDS = (save_version, list_versions, diff_versions, lint_prompt, render_prompt)
