"""``targets``, and the declarations: ``models``, ``prices``, ``policies``, ``rules``."""

from typing import Any

import click
import msgspec

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import table, when


@click.group()
def targets() -> None:
    """Providers, the models that they serve, and the state of their breakers."""


@targets.command("list")
@json_option
def list_targets(as_json: bool) -> None:
    """List targets with their state."""
    found = call("GET", "/targets")
    aliases: dict[str, list[str]] = {}
    for model in found["models"]:
        for target in model["targets"]:
            aliases.setdefault(target, []).append(model["alias"])
    show(
        found,
        as_json,
        lambda value: table(
            ("target", "as", "breaker", ">calls", ">failures", ">in flight", "last failure"),
            [
                (
                    state["target"],
                    ", ".join(aliases.get(state["target"], [])),
                    state["breaker"],
                    state["calls"],
                    state["failures"],
                    state["in_flight"],
                    state["last_failure"] or "-",
                )
                for state in value["states"]
            ],
        ),
    )


def _group(kind: str, what: str, example: str) -> click.Group:
    """``list``, ``show``, ``set`` and ``remove`` for one kind of declaration."""

    @click.group(kind, help=f"{what} What the configuration file declares is read-only here.")
    def group() -> None:
        """Replaced by ``help``."""

    @group.command("list", help="List what is declared.")
    @json_option
    def list_all(as_json: bool) -> None:
        show(call("GET", f"/{kind}"), as_json, _print_declared)

    @group.command("show", help="Show one, or with --history every version of it.")
    @click.argument("name")
    @click.option("--history", is_flag=True)
    @json_option
    def show_one(name: str, history: bool, as_json: bool) -> None:
        found = call("GET", f"/{kind}/{part(name)}", query={"history": history})
        show(found, as_json, _print_history if history else lambda one: _print_declared([one]))

    @group.command("set", help=f"Declare or change one. BODY is JSON or @FILE, e.g. '{example}'.")
    @click.argument("name")
    @click.argument("body")
    @json_option
    def set_one(name: str, body: str, as_json: bool) -> None:
        found = call("PUT", f"/{kind}/{part(name)}", read_json(body))
        show(found, as_json, lambda d: click.echo(f"{kind} {d['name']} is now version {d['version']}."))

    @group.command("remove", help="Withdraw one; its history stays.")
    @click.argument("name")
    @json_option
    def remove(name: str, as_json: bool) -> None:
        call("DELETE", f"/{kind}/{part(name)}")
        show({"removed": name}, as_json, lambda _: click.echo(f"{kind} {name} is withdrawn."))

    for command in (list_all, show_one, set_one, remove):
        group.add_command(command)
    return group


def _print_declared(found: Any) -> None:
    table(
        ("name", "version", "from", "changed", "body"),
        [(d["name"], d["version"], d["source"], when(d["changed_at"]), _body(d["body"])) for d in found],
    )


def _print_history(found: Any) -> None:
    table(
        ("version", "changed", "by", "body"),
        [(c["version"], when(c["changed_at"]), c["actor"], _body(c["body"])) for c in found],
    )


def _body(body: Any) -> str:
    return "withdrawn" if body is None else msgspec.json.encode(body).decode()


models = _group("models", "Model aliases and the targets they stand for.", '{"targets": ["openai/gpt-4o-mini"]}')
prices = _group("prices", "Dollars per million tokens.", '{"input": 0.15, "output": 0.6}')
policies = _group("policies", "What may be cached, for how long.", '{"alias": "support", "ttl": 3600}')
rules = _group("rules", "Check rules.", '{"kind": "pii", "action": "redact"}')
