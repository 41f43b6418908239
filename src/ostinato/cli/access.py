"""``projects`` and ``keys``."""

import time
from typing import Any

import click

from ostinato.cli.client import Refused, call, json_option, own, part, show
from ostinato.cli.tables import dollars, facts, table, when
from ostinato.core import money
from ostinato.core.errors import Conflict, Invalid

_PREFIX = 12
"""Characters of a secret that are its key's public prefix."""


@click.group()
def projects() -> None:
    """What shares a cache and a ledger."""


@projects.command("list")
@json_option
def list_projects(as_json: bool) -> None:
    """List projects."""
    show(
        call("GET", "/projects"),
        as_json,
        lambda found: table(
            ("project", "name", "keeps text", "budget", "id"),
            [(p["key"], p["name"], "yes" if p["store_text"] else "no", _budget(p["budget"]), p["id"]) for p in found],
        ),
    )


@projects.command("create")
@click.argument("key")
@click.option("--name", help="For people; the short name if left out.")
@click.option("--store-text", is_flag=True, help="Let the ledger keep prompt and answer text.")
@click.option("--budget", help="Dollars per month that all of its keys may spend.")
@json_option
def create_project(key: str, name: str | None, store_text: bool, budget: str | None, as_json: bool) -> None:
    """Create a project."""
    body = {"key": key, "name": name or key, "store_text": store_text, "budget": _new_budget(budget, "month")}
    show(call("POST", "/projects", body), as_json, lambda p: click.echo(f"Created project {p['key']} ({p['id']})."))


@projects.command("show")
@click.argument("ref")
@json_option
def show_project(ref: str, as_json: bool) -> None:
    """Show a project, by short name or id."""
    show(call("GET", f"/projects/{part(ref)}"), as_json, lambda p: facts(p.items()))


@click.group()
def keys() -> None:
    """API keys: shown once, stored as digests."""


@keys.command("list")
@click.option("--project", help="Of this project only.")
@json_option
def list_keys(project: str | None, as_json: bool) -> None:
    """List keys; never their secrets."""
    found: list[Any] = []
    after = None
    while True:
        page = call("GET", "/keys", query={"project": project, "after": after})
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    show(
        found,
        as_json,
        lambda items: table(
            ("key", "name", "state", "models", "budget", "expires", "last used"),
            [
                (
                    key["prefix"],
                    key["name"],
                    _state(key),
                    ", ".join(key["allowed_models"]) if key["allowed_models"] is not None else "all",
                    _budget(key["budget"]),
                    when(key["expires_at"]),
                    when(key["last_used_at"]),
                )
                for key in items
            ],
            spare=("last used", "budget", "expires", "models"),
        ),
    )


@keys.command("create")
@click.argument("name")
@click.option("--project", help="The key's project; your own if left out.")
@click.option("--role", help="One of `ostinato roles list`; a service if left out.")
@click.option("--permission", "permissions", multiple=True, help="Instead of a role; repeat.")
@click.option("--principal", help="Whom it is issued for; who stands behind your own key if left out.")
@click.option("--intent", "intents", multiple=True, help="An intent whose prompts it may use; repeat. All if left out.")
@click.option("--model", "models", multiple=True, help="An alias that it may use; repeat. All if left out.")
@click.option("--rate", type=click.IntRange(1), help="Requests per minute.")
@click.option("--budget", help="Dollars per period.")
@click.option("--period", type=click.Choice(["day", "month", "total"]), default="month", show_default=True)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Expires after so many days.")
@click.option("--end-user-required", is_flag=True, help="Never answer from cache without a named end user.")
@json_option
def create_key(
    name: str,
    project: str | None,
    role: str | None,
    permissions: tuple[str, ...],
    principal: str | None,
    intents: tuple[str, ...],
    models: tuple[str, ...],
    rate: int | None,
    budget: str | None,
    period: str,
    days: float | None,
    end_user_required: bool,
    as_json: bool,
) -> None:
    """Create a key and print its secret, once."""
    body = {
        "name": name,
        "project": project,
        "role": role,
        "permissions": list(permissions) or None,
        "principal": principal,
        "allowed_intents": list(intents) or None,
        "allowed_models": list(models) or None,
        "rate": {"requests": rate, "seconds": 60.0} if rate else None,
        "budget": _new_budget(budget, period),
        "expires_at": int((time.time() + days * 86_400) * 1_000_000) if days else None,
        "end_user_required": end_user_required,
    }
    made = call("POST", "/keys", body)
    show(made, as_json, _print_secret)
    _warn_of_unknown(models)


@keys.command("show")
@click.argument("ref")
@json_option
def show_key(ref: str, as_json: bool) -> None:
    """Show a key, by prefix or id."""
    show(call("GET", f"/keys/{part(ref)}"), as_json, lambda key: facts(key.items()))


@keys.command("revoke")
@click.argument("ref")
@click.option("--yes", is_flag=True, help="Even the key that this command itself uses.")
@json_option
def revoke_key(ref: str, yes: bool, as_json: bool) -> None:
    """Revoke a key: it stops within two seconds everywhere."""
    if not yes and own(ref[:_PREFIX] if ref.startswith("ost_") else call("GET", f"/keys/{part(ref)}")["prefix"]):
        raise Conflict(
            "This is the key that you are using: without it you may be locked out.",
            hint="Repeat with --yes to do it; `ostinato init --recover` makes a new administrator key.",
        )
    show(
        call("DELETE", f"/keys/{part(ref)}"),
        as_json,
        lambda key: click.echo(f"Revoked {key['prefix']}, {key['name']}."),
    )


@keys.command("rotate")
@click.argument("ref")
@click.option("--grace", type=float, default=0.0, show_default=True, help="Seconds that the old secret still works.")
@json_option
def rotate_key(ref: str, grace: float, as_json: bool) -> None:
    """Give a key a new secret and print it, once."""
    show(call("POST", f"/keys/{part(ref)}/rotate", {"grace_seconds": grace}), as_json, _print_secret)


@keys.command("budget")
@click.argument("ref")
@json_option
def key_budget(ref: str, as_json: bool) -> None:
    """Show what a key has spent of its budget."""
    show(
        call("GET", f"/keys/{part(ref)}/budget"),
        as_json,
        lambda state: facts(
            [
                ("period", state["period"]),
                ("limit", dollars(state["limit"])),
                ("spent", dollars(state["spent"])),
                ("held", dollars(state["held"])),
                ("left", dollars(state["left"])),
                ("resets", when(state["resets_at"])),
            ]
        ),
    )


def _warn_of_unknown(models: tuple[str, ...]) -> None:
    """Say which aliases are declared nowhere: allowed, as one may come, but mostly a slip of the pen."""
    if not models:
        return
    try:
        declared = call("GET", "/models")
    except Refused:
        # Who may make keys need not be allowed to see models.
        return
    known = {one["body"].get("alias") or one["name"] for one in declared}
    there = ", ".join(sorted(known)) or "none"
    for alias in models:
        if alias not in known:
            click.echo(f"Note: no model {alias!r} is declared yet; there are: {there}.", err=True)


def _print_secret(made: Any) -> None:
    click.echo(f"Key {made['key']['name']}, shown this once:\n\n    {made['secret']}\n")


def _state(key: Any) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    expires = key["expires_at"]
    return "expired" if expires is not None and expires <= time.time() * 1_000_000 else "active"


def _budget(budget: Any) -> str:
    return f"{dollars(budget['nano'])} / {budget['period']}" if budget else "-"


def _new_budget(amount: str | None, period: str) -> Any:
    if amount is None:
        return None
    try:
        return {"nano": money.from_dollars(amount), "period": period}
    except ValueError as error:
        raise Invalid(f"{error}.", hint="Write dollars, such as 25 or 0.50.") from None
