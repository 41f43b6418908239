"""``principals``, ``roles`` and ``breakglass``."""

import time
from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, table, when


def _pages(path: str, **query: Any) -> list[Any]:
    """Every item of a list."""
    found: list[Any] = []
    after = None
    while True:
        got = call("GET", path, query={**query, "after": after, "limit": 500})
        found += got["items"]
        after = got["next"]
        if after is None:
            return found


@click.group()
def principals() -> None:
    """People and services that keys are issued for."""


@principals.command("list")
@click.option("--kind", type=click.Choice(["person", "service"]), help="Only these.")
@json_option
def list_principals(kind: str | None, as_json: bool) -> None:
    """List people and services."""
    show(
        _pages("/principals", kind=kind),
        as_json,
        lambda found: table(
            ("principal", "kind", "name", "state", "id"),
            [(p["key"], p["kind"], p["name"], _state(p), p["id"]) for p in found],
            spare=("id",),
        ),
    )


@principals.command("create")
@click.argument("key")
@click.option("--name", help="For people; the short name if left out.")
@click.option("--service", is_flag=True, help="A service, not a person.")
@json_option
def create_principal(key: str, name: str | None, service: bool, as_json: bool) -> None:
    """Register a person or a service; issue keys for it with `keys create --principal`."""
    body = {"key": key, "name": name or key, "kind": "service" if service else "person"}
    show(call("POST", "/principals", body), as_json, lambda p: click.echo(f"Created {p['kind']} {p['key']}."))


@principals.command("show")
@click.argument("ref")
@json_option
def show_principal(ref: str, as_json: bool) -> None:
    """Show a person or service, by short name or id."""
    show(call("GET", f"/principals/{part(ref)}"), as_json, lambda p: facts(p.items()))


@principals.command("disable")
@click.argument("ref")
@json_option
def disable(ref: str, as_json: bool) -> None:
    """Refuse all keys of a person or service, within two seconds everywhere."""
    changed = call("PATCH", f"/principals/{part(ref)}", {"disabled": True})
    show(changed, as_json, lambda p: click.echo(f"Disabled {p['key']}: its keys are refused."))


@principals.command("enable")
@click.argument("ref")
@json_option
def enable(ref: str, as_json: bool) -> None:
    """Accept the keys of a person or service again."""
    changed = call("PATCH", f"/principals/{part(ref)}", {"disabled": False})
    show(changed, as_json, lambda p: click.echo(f"Enabled {p['key']}."))


@click.group()
def roles() -> None:
    """Who may do what: roles and permissions, bound to people and services."""


@roles.command("list")
@json_option
def list_roles(as_json: bool) -> None:
    """List the roles."""
    show(
        call("GET", "/roles"),
        as_json,
        lambda found: table(
            ("role", ">permissions", "such as"),
            [(r["name"], len(r["permissions"]), ", ".join(_telling(r["permissions"]))) for r in found["roles"]],
        ),
    )


@roles.command("show")
@click.argument("name")
@json_option
def show_role(name: str, as_json: bool) -> None:
    """Show the permissions of a role."""
    page = call("GET", "/roles")
    for role in page["roles"]:
        if role["name"] == name:
            show(role, as_json, lambda r: facts((held, page["permissions"].get(held, "")) for held in r["permissions"]))
            return
    known = ", ".join(role["name"] for role in page["roles"])
    raise click.BadParameter(f"there is no role {name!r}; there are: {known}.")


@roles.command("bindings")
@click.option("--principal", help="Of this person or service only.")
@json_option
def list_bindings(principal: str | None, as_json: bool) -> None:
    """List what is bound to whom."""
    found = _pages("/bindings", principal=principal)

    def draw(items: list[Any]) -> None:
        names = {p["id"]: p["key"] for p in _pages("/principals")} if items else {}
        table(
            ("principal", "effect", "what", "on", "until", "binding"),
            [
                (
                    names.get(b["principal_id"], b["principal_id"]),
                    b["effect"],
                    _what(b),
                    _on(b["on"]),
                    when(b["expires_at"]),
                    b["id"],
                )
                for b in items
            ],
        )

    show(found, as_json, draw)


@roles.command("bind")
@click.argument("principal")
@click.argument("role", required=False)
@click.option("--permission", "permissions", multiple=True, help="Instead of a role; repeat.")
@click.option("--deny", is_flag=True, help="Deny it instead: a denial always wins.")
@click.option("--project", help="Only in this project.")
@click.option("--label", help="Only on this label; `v*` for all that begin so.")
@click.option("--intent", help="Only on prompts of this intent.")
@click.option("--prompt", help="Only on this prompt.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Ends by itself after so many hours.")
@json_option
def bind(
    principal: str,
    role: str | None,
    permissions: tuple[str, ...],
    deny: bool,
    project: str | None,
    label: str | None,
    intent: str | None,
    prompt: str | None,
    hours: float | None,
    as_json: bool,
) -> None:
    """Bind ROLE (or permissions) to PRINCIPAL, or deny it."""
    body = {
        "principal": principal,
        "role": role or "",
        "permissions": list(permissions),
        "effect": "deny" if deny else "allow",
        "project": project or "",
        "label": label or "",
        "intent": intent or "",
        "prompt": prompt or "",
        "expires_at": int((time.time() + hours * 3600) * 1_000_000) if hours else None,
    }
    show(
        call("POST", "/bindings", body),
        as_json,
        lambda b: click.echo(
            f"{'Denied' if deny else 'Bound'} {_what(b)} {'to' if not deny else 'for'} {principal} on {_on(b['on'])} "
            f"({b['id']})."
        ),
    )


@roles.command("unbind")
@click.argument("binding")
@json_option
def unbind(binding: str, as_json: bool) -> None:
    """Take a binding away, by its id."""
    show(call("DELETE", f"/bindings/{part(binding)}"), as_json, lambda b: click.echo(f"Unbound {_what(b)}."))


@click.group()
def breakglass() -> None:
    """Every right for a short time, with a reason that everybody sees."""


@breakglass.command("begin")
@click.argument("reason")
@click.option("--minutes", type=click.IntRange(1, 60), default=15, show_default=True)
@json_option
def begin(reason: str, minutes: int, as_json: bool) -> None:
    """Take every right of the organization for the key in use. Everybody is told."""
    show(
        call("POST", "/breakglass", {"reason": reason, "minutes": minutes}),
        as_json,
        lambda b: click.echo(f"Broken until {when(b['ends_at'])}. End it: ostinato breakglass end {b['id']}"),
    )


@breakglass.command("list")
@json_option
def list_breakglass(as_json: bool) -> None:
    """List every time it was done."""
    show(
        _pages("/breakglass"),
        as_json,
        lambda found: table(
            ("key", "began", "until", "reason", "id"),
            [
                (b["key_prefix"], when(b["began_at"]), when(b["ended_at"] or b["ends_at"]), b["reason"], b["id"])
                for b in found
            ],
        ),
    )


@breakglass.command("end")
@click.argument("ref")
@json_option
def end(ref: str, as_json: bool) -> None:
    """End it before its time, by its id."""
    show(call("DELETE", f"/breakglass/{part(ref)}"), as_json, lambda b: click.echo(f"Ended {b['id']}."))


def _state(principal: Any) -> str:
    return "active" if principal["disabled_at"] is None else "disabled"


def _what(binding: Any) -> str:
    return binding["role"] or ", ".join(sorted(binding["permissions"]))


def _on(on: Any) -> str:
    return ", ".join(f"{field} {value}" for field, value in on.items() if value) or "everything"


def _telling(permissions: list[str]) -> list[str]:
    """A few that tell most: what changes something before what only looks."""
    return sorted(permissions, key=lambda name: (name.endswith(":read"), name))[:4]
