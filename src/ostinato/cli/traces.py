"""``traces`` and ``stats``."""

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import clock, dollars, facts, milliseconds, percent, table, when
from ostinato.core.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _purposes(command: _Command) -> _Command:
    """Options that choose rows by what was asked."""
    for name, what in (
        ("release", "Id of a release."),
        ("prompt", "Name of a prompt."),
        ("intent", "Key of an intent."),
    ):
        command = click.option(f"--{name}", default="", help=what)(command)
    return command


@click.group()
def traces() -> None:
    """The ledger's rows."""


@traces.command("tail")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--alias", default="")
@click.option("--project", default="")
@_purposes
@json_option
def tail(limit: int, follow: bool, as_json: bool, **chosen: str) -> None:
    """Show the last requests, and with -f those to come."""
    after = ""
    while True:
        page = call("GET", "/traces", query={"after": after, "limit": limit, **chosen})
        if as_json:
            for row in page["items"]:
                click.echo(msgspec.json.encode(row).decode())
        elif page["items"] or not after:
            _print_rows(page["items"])
        after = page["next"]
        if not follow:
            return
        if not page["items"]:
            time.sleep(0.5)


def _print_rows(rows: list[Any]) -> None:
    table(
        ("time", "request", "model", "prompt", "cache", "status", ">ms", ">cost", ">saved", "target"),
        [
            (
                clock(row["at"]),
                row["request_id"],
                row["alias"],
                _prompt(row),
                f"{row['cache']} {row['kind'] or row['reason']}".strip(),
                row["status"],
                milliseconds(row["total_us"]),
                dollars(row["cost"]),
                dollars(row["saved"]),
                row["target"],
            )
            for row in rows
        ],
        "No request yet.",
        spare=("target", "prompt", "saved", "cost", "model"),
    )


def _prompt(row: Any) -> str:
    if not row["prompt"]:
        return "-"
    return f"{row['prompt']}@{row['prompt_version']}" + (f" {row['arm']}" if row["arm"] else "")


@traces.command("show")
@click.argument("request_id")
@json_option
def show_trace(request_id: str, as_json: bool) -> None:
    """Show one request, by its id or by the x-request-id that the client gave."""

    def told(rows: list[Any]) -> None:
        for row in rows:
            facts([(name, _readable(name, value)) for name, value in row.items() if value not in (None, "", [], {})])

    show(call("GET", f"/traces/{part(request_id)}"), as_json, told)


def _readable(name: str, value: Any) -> object:
    if name == "at":
        return when(value)
    if name in ("cost", "saved", "counterfactual"):
        return dollars(value)
    if name.endswith("_us"):
        return f"{milliseconds(value)} ms"
    return value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()


@click.command()
@click.option("--since", default="24h", show_default=True, help="How far back: 90s, 15m, 24h, 7d.")
@click.option("--alias", default="")
@click.option("--project", default="")
@_purposes
@json_option
def stats(since: str, as_json: bool, **chosen: str) -> None:
    """Show hit rates by requests and tokens, latency, cost and savings."""
    matched = re.fullmatch(r"(\d+)([smhd])", since)
    if matched is None:
        raise Invalid(f"--since {since!r} is no length of time.", hint="Write 90s, 15m, 24h or 7d.")
    now = int(time.time() * 1_000_000)
    begin = now - int(matched[1]) * _UNITS[matched[2]] * 1_000_000
    found = call("GET", "/stats", query={"since": begin, "until": now, **chosen})
    show(found, as_json, _print_stats)


def _print_stats(found: Any) -> None:
    facts(
        [
            (
                "requests",
                f"{found['requests']}  (hits {found['hits']}, misses {found['misses']}, "
                f"bypasses {found['bypasses']}, refused {found['refused']}); asked beside answers: {found['asides']}",
            ),
            ("hit rate", f"{percent(found['hit_rate'])} of requests, {percent(found['token_hit_rate'])} of tokens"),
            (
                "cost",
                f"{dollars(found['cost'])}  (saved {dollars(found['saved'])}, "
                f"without the cache {dollars(found['counterfactual'])})",
            ),
            ("our own calls", f"{found['own']['calls']}, {dollars(found['own']['cost'])}; in no figure above or below"),
            ("pricing coverage", percent(found["pricing_coverage"])),
            ("errors", found["errors"]),
            ("ledger", f"{found['rows_dropped']} rows shed, {found['rows_lost']} lost in crashes"),
        ]
    )
    table(
        ("latency, ms", ">n", ">p50", ">p95", ">p99"),
        [
            (name, d["count"], milliseconds(d["p50"]), milliseconds(d["p95"]), milliseconds(d["p99"]))
            for name, d in found["latency"].items()
        ],
    )
