"""``datasets from-traffic``, and how every command of datasets shows a version."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import facts, when
from ostinato.cli.versions import project_option
from ostinato.core.errors import Invalid

_SPLITS = ("train", "dev", "holdout")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def print_version(one: Any) -> None:
    """A version with its counts and findings."""
    counts = ", ".join(f"{one['counts'][split]:,} {split}" for split in _SPLITS if split in one["counts"])
    strata = sorted(one["strata"].items(), key=lambda pair: -pair[1])
    classes = ", ".join(f"{name} ({count:,})" for name, count in strata[:8])
    facts(
        [
            ("version", f"{one['dataset']} {one['number']}" + (" (open)" if one["open"] else "")),
            ("examples", counts or "-"),
            ("classes", classes + (f" and {len(strata) - 8} more" if len(strata) > 8 else "") or "-"),
            ("digest", one["digest"] or "-"),
            ("note", one["note"] or "-"),
            ("used", when(one["used_at"])),
            ("id", one["id"]),
        ]
    )
    print_findings(one["findings"])


def print_findings(found: Any) -> None:
    """What somebody should know, one a line."""
    for one in found:
        some = one.get("examples", [])
        named = f" ({', '.join(some[:3])}{' ...' if len(some) > 3 else ''})" if some else ""
        click.echo(f"{one['severity']}: {one['message']}{named}")


def based_on(text: str | None) -> int | str | None:
    """The base that an option names: a version's number, or ``latest``."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


@click.command("from-traffic")
@click.argument("name")
@click.option("--since", default="7d", show_default=True, help="`7d`, `12h`, or a date and time in UTC.")
@click.option("--until", default="", help="The same; now if left out.")
@click.option("--intent", default="")
@click.option("--prompt", default="")
@click.option("--model", "alias", default="", help="Alias of the model.")
@click.option("--release", default="", help="Id of a release.")
@click.option("--signal", help="Only with this signal: SOURCE or SOURCE:NAME, such as feedback or scorer:judge.")
@click.option("--least", type=float, help="... and its value at least.")
@click.option("--most", type=float, help="... and its value at most.")
@click.option(
    "--reference",
    type=click.Choice(["none", "answer", "label"]),
    default="none",
    show_default=True,
    help="What is taken for right: nothing, the answer given, or the label of the signal.",
)
@click.option(
    "--stratum",
    type=click.Choice(["reference", "intent", "prompt", "label"]),
    default="reference",
    show_default=True,
    help="What --per-stratum goes by.",
)
@click.option("--per-stratum", type=click.IntRange(1), help="Most examples of each stratum.")
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="Most examples in all.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which are drawn where there are more.")
@click.option("--base", help="Begin with the examples of this version: its number, or `latest`.")
@click.option("--note", default="", help="What the version is about.")
@project_option
@json_option
def from_traffic(
    name: str,
    since: str,
    until: str,
    signal: str | None,
    least: float | None,
    most: float | None,
    base: str | None,
    note: str,
    project: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Add a version of recorded requests; the project must keep texts.

    Each question comes once, redacted. Of a prompt's calls the variables are the inputs, else the text that was asked.
    """
    now = datetime.now(UTC)
    traffic = {**chosen, "since": _moment(since, now), "until": _moment(until, now) if until else _micros(now)}
    if signal is not None or least is not None or most is not None:
        source, _, named = (signal or "").partition(":")
        traffic["quality"] = {"source": source, "name": named, "least": least, "most": most}
    body = {"traffic": traffic, "base": based_on(base), "note": note}
    show(call("POST", f"/datasets/{part(name)}/traffic", body, query={"project": project}), as_json, print_version)


def _moment(text: str, now: datetime) -> int:
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if ago:
        return _micros(now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is no time.", hint="Such as 7d, 12h, 30m, or 2026-03-01T12:00.") from None
    return _micros(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)
