"""``audit``: reading and exporting the log; ``verify`` needs no server."""

import gzip
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

import click
import msgspec

from ostinato.cli.client import call, download, json_option, show
from ostinato.cli.tables import facts, table, when
from ostinato.core.errors import Invalid, Unavailable

_FILE = click.Path(dir_okay=False, path_type=Path)
_PLACE = click.Path(path_type=Path)


@click.group()
def audit() -> None:
    """Who did what: leaves, proofs, bundles."""


@audit.command("list")
@click.option("--actor", default="", help="By this actor, key:ID or system:NAME.")
@click.option("--action", default="", help="Of this action, e.g. keys:revoke.")
@click.option("--resource", default="", help="On this resource, e.g. key:ID.")
@click.option("--outcome", type=click.Choice(["done", "denied", "intended", "failed"]), help="With this outcome.")
@click.option("--request", "request_id", default="", help="Of the request with this id.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_leaves(limit: int, as_json: bool, **wanted: str | None) -> None:
    """List leaves, newest first."""
    show(
        call("GET", "/audit/leaves", query={**wanted, "limit": limit}),
        as_json,
        lambda page: table(
            (">leaf", "when", "actor", "action", "resource", "outcome", "reason"),
            [
                (
                    one["index"],
                    when(one["leaf"]["at"]),
                    one["leaf"]["actor"],
                    one["leaf"]["action"],
                    one["leaf"]["resource"],
                    one["leaf"].get("outcome", "done"),
                    one["reason"] or "-",
                )
                for one in page["items"]
            ],
            "No leaf.",
            spare=("reason", "when"),
        ),
    )


@audit.command("show")
@click.argument("index", type=click.IntRange(0))
@json_option
def show_leaf(index: int, as_json: bool) -> None:
    """Show a leaf: commitments as they are hashed, and its reason."""

    def told(one: Any) -> None:
        facts([*one["leaf"].items(), ("hash", one["hash"]), ("why", one["reason"] or "-")])

    show(call("GET", f"/audit/leaves/{index}"), as_json, told)


@audit.command("proof")
@click.argument("index", type=click.IntRange(0))
@json_option
def prove(index: int, as_json: bool) -> None:
    """Prove that a leaf is in the log that a checkpoint signs."""

    def told(proof: Any) -> None:
        facts((name, proof[name]) for name in ("index", "leaf_hash", "size", "root"))
        facts((f"path {number}", one) for number, one in enumerate(proof["path"]))
        click.echo(f"\n{proof['checkpoint']}" if proof["checkpoint"] else "\nNo checkpoint covers it yet.")

    show(call("GET", f"/audit/leaves/{index}/proof"), as_json, told)


@audit.command("checkpoint")
@json_option
def checkpoint(as_json: bool) -> None:
    """Sign the log as it is now, and print the signed note: keep it somewhere else."""
    show(call("POST", "/audit/checkpoints"), as_json, lambda made: click.echo(made["note"], nl=False))


@audit.command("key")
@json_option
def key(as_json: bool) -> None:
    """Print the log's public key; the last line is the one in use."""
    show(call("GET", "/audit/keys"), as_json, lambda found: click.echo("\n".join(found["keys"])))


@audit.command("witnesses")
@click.option("--origin", default="", help="Of this log.")
@click.option("--notes", is_flag=True, help="Print the signed notes, as `audit verify --anchor` reads them.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def witnesses(origin: str, notes: bool, limit: int, as_json: bool) -> None:
    """List checkpoints of other installations that are kept here, the largest first."""
    found = call("GET", "/audit/witnesses", query={"origin": origin, "limit": limit})
    if notes:
        click.echo("\n".join(one["note"] for one in found["items"]), nl=False)
        return
    show(
        found,
        as_json,
        lambda page: table(
            ("log", ">leaves", "kept", "root"),
            [(one["origin"], one["size"], when(one["at"]), one["root"]) for one in page["items"]],
            "No checkpoint.",
        ),
    )


@audit.command("export")
@click.argument("file", type=_FILE)
@click.option("--from", "start", help="From this leaf, or this UTC date or time (2026-01-31, 2026-01-31T08:00).")
@click.option("--to", "end", help="Up to, not including, this leaf, date or time.")
def export(file: Path, start: str | None, end: str | None) -> None:
    """Write the log, or a part of it, into a bundle FILE (compressed where its name ends in .gz)."""
    body: dict[str, int] = {}
    for given, index, time in ((start, "start", "since"), (end, "end", "until")):
        if given is not None:
            body[index if given.isdigit() else time] = int(given) if given.isdigit() else _micros(given)
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("wb") as raw:
            packed = gzip.GzipFile("", "wb", 6, raw, 0) if file.suffix == ".gz" else None
            last = download("/audit/bundles", body, cast("IO[bytes]", packed or raw))
            if packed is not None:
                packed.close()
        if not last.startswith(b'{"end":'):
            raise Unavailable("The bundle was cut off on its way.", hint="Export again.")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    told = msgspec.json.decode(last)["end"]
    click.echo(f"Wrote {file}: {told['leaves']} leaves, {told['checkpoints']} checkpoints.")


@audit.command("verify")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--checkpoint", "checkpoints", type=_FILE, multiple=True, help="A file with a checkpoint that you trust.")
@click.option("--anchor", "anchors", type=_PLACE, multiple=True, help="A file, or a git repository, of checkpoints.")
@click.option("--public-key", help="The log's key as you know it, NAME+HASH+KEY, or a file with it.")
@click.option("--allow-older", is_flag=True, help="The bundle may end before the anchor's newest checkpoint.")
@json_option
def verify(
    bundle: Path,
    checkpoints: Sequence[Path],
    anchors: Sequence[Path],
    public_key: str | None,
    allow_older: bool,
    as_json: bool,
) -> None:
    """Verify a bundle offline; exit code 1 where it is not valid. The same as `python -m ostinato.verify`."""
    from ostinato.verify.__main__ import main  # noqa: PLC0415

    arguments = [str(bundle)]
    for name, paths in (("--checkpoint", checkpoints), ("--anchor", anchors)):
        arguments += [part for path in paths for part in (name, str(path))]
    arguments += ["--public-key", public_key] if public_key else []
    arguments += ["--allow-older"] if allow_older else []
    code = main([*arguments, *(["--json"] if as_json else [])])
    sys.stdout.flush()
    raise SystemExit(code)


def _micros(given: str) -> int:
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise Invalid(
            f"{given!r} is neither the number of a leaf nor a time.",
            hint="Such as 1200, 2026-01-31 or 2026-01-31T08:00.",
        ) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return int(at.timestamp() * 1_000_000)
