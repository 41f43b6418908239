"""``assess``: what Ostinato would be worth, from traffic that was recorded elsewhere. Needs no server."""

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ostinato.cli.client import json_option
from ostinato.cli.tables import facts, percent, table, when
from ostinato.core.errors import Invalid

if TYPE_CHECKING:
    from ostinato.assessing import Assessment, Rules, Simulated

_FILE = click.Path(dir_okay=False, path_type=Path)
_FORMATS = ("openai", "anthropic", "responses", "openai-batch", "langfuse", "otlp")
_PATIENCE = 2.0


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--config", type=_FILE, help="Replay under this configuration; left out: the defaults.")
@click.option("--prices", type=_FILE, help='TOML with [prices."PROVIDER/MODEL"] beside those that are shipped.')
@click.option("--project", default="", help="Replay as this project's, as declarations name it.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="What the files are, where looking is wrong.")
@click.option("--top", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Families to show.")
@click.option("--samples", is_flag=True, help="Show a question of each family, without secrets and personal data.")
@click.option("--html", type=_FILE, help="Write a page that needs nothing else.")
@json_option
def assess(
    files: tuple[Path, ...],
    config: Path | None,
    prices: Path | None,
    project: str,
    form: str | None,
    top: int,
    samples: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Tell what caching and optimization would be worth, from recorded traffic. Needs no server, sends nothing.

    FILES hold requests (with their answers, where they were kept): JSON lines of OpenAI or Anthropic, OpenAI batches,
    exports of Langfuse, OTLP spans; also compressed by gzip. Which it is, is seen by looking.
    """
    from ostinato.assessing import assess as assessed  # noqa: PLC0415
    from ostinato.assessing import page  # noqa: PLC0415
    from ostinato.core.clock import SystemClock  # noqa: PLC0415

    rules = _rules(config, prices, project)
    bar = _Bar(quiet=as_json)
    found = assessed(files, rules, SystemClock(), form=form or "", samples=samples, top=top, progress=bar.tell)
    bar.end()
    if html is not None:
        html.write_text(page(found), encoding="utf-8")
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _print(found, samples=samples)
        if html is not None:
            click.echo(f"\nThe page is in {html}.")
    if not found.requests:
        raise SystemExit(1)


def _rules(config: Path | None, prices: Path | None, project: str) -> "Rules":
    """What the gateway of this configuration would obey; without one, a gateway with nothing declared."""
    from ostinato.assessing import Rules  # noqa: PLC0415
    from ostinato.cache.policy import compile_policies  # noqa: PLC0415
    from ostinato.config import Config, load  # noqa: PLC0415
    from ostinato.gateway.inspecting import compile_checkers  # noqa: PLC0415
    from ostinato.intents import compile_intents  # noqa: PLC0415
    from ostinato.routing import compile_routes  # noqa: PLC0415
    from ostinato.traces import PriceBook, read_tariffs  # noqa: PLC0415

    found = Config() if config is None else load(config, calls=False)
    kinds = {name: settings.kind for name, settings in found.providers.items()}
    declared = {**found.prices, **(_prices(prices) if prices is not None else {})}
    return Rules(
        policies=compile_policies(found.policies, found.rules),
        intents=compile_intents(found.intents, found.rules),
        checkers=compile_checkers(found.rules, found.checks),
        prices=PriceBook.load(read_tariffs(declared), kinds),
        catalog=compile_routes(found.models, dict.fromkeys(kinds, b"")) if found.models else None,
        triage=found.triage,
        families=found.families,
        project=project,
        epoch=found.cache.epoch,
    )


def _prices(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} is no file of prices: {error}.", code="invalid_price") from None
    told: dict[str, Any] = msgspec.to_builtins(found.get("prices", found))
    return told


class _Bar:
    """How far it is, on standard error, once that takes longer than two seconds and somebody looks."""

    def __init__(self, *, quiet: bool) -> None:
        from ostinato.core.clock import SystemClock  # noqa: PLC0415

        self._now = SystemClock().monotonic
        self._since = self._told = self._now()
        self._on = sys.stderr.isatty() and not quiet
        self._shown = False

    def tell(self, what: str, share: float) -> None:
        now = self._now()
        if not self._on or now - self._since < _PATIENCE or now - self._told < 0.2:
            return
        self._told, self._shown = now, True
        full = round(30 * min(1.0, share))
        click.echo(f"\r{what:>10} [{'#' * full}{'.' * (30 - full)}] {share:4.0%}", nl=False, err=True)

    def end(self) -> None:
        if self._shown:
            click.echo("\r" + " " * 60 + "\r", nl=False, err=True)


# -- what is printed -----------------------------------------------------------------------------------------------


def _print(found: "Assessment", *, samples: bool) -> None:
    _print_files(found)
    if not found.requests:
        click.echo("\nNothing could be replayed.")
        return
    click.echo()
    _print_rates(found)
    click.echo()
    _print_money(found)
    click.echo()
    _print_families(found, samples=samples)
    click.echo("\nWhat these files do not tell:")
    for one in found.unknown:
        click.echo(f"- {one.name} ({one.n:,} of {found.requests:,}): {one.text}")


def _print_files(found: "Assessment") -> None:
    table(
        ("file", "format", ">requests", ">skipped", ">without answer"),
        [
            (one.name, ", ".join(one.formats) or "-", f"{one.read:,}", f"{one.skipped:,}", f"{one.without_answer:,}")
            for one in found.files
        ],
    )
    for one in found.files:
        if one.note:
            click.echo(f"{one.name}: {one.note}")
        for reason in one.reasons:
            click.echo(f"{one.name}:{reason.line}: skipped, {reason.why}")
        if one.skipped > len(one.reasons):
            click.echo(f"{one.name}: and {one.skipped - len(one.reasons):,} more")


def _print_rates(found: "Assessment") -> None:
    rates = found.rates
    table(
        ("hit rate to expect", ">hits", ">of requests", "interval", ">saves"),
        [_rate(one) for one in (rates.declared, *rates.others)],
    )
    pairs = [
        ("asked before, by the same end user", percent(rates.ever.value)),
        ("asked before, by anybody", percent(rates.ever_anybody.value)),
        ("new, but much like another", "-" if rates.near is None else f"{percent(rates.near.value)} at most"),
    ]
    pairs += [(f"never cached: {why}", f"{n:,}") for why, n in found.not_eligible.items()]
    pairs += [(f"answer not kept: {why}", f"{n:,}") for why, n in found.not_kept.items()]
    if found.forgotten:
        pairs.append(("requests forgotten for want of room", f"{found.forgotten:,}"))
    facts(pairs)


def _rate(one: "Simulated") -> tuple[object, ...]:
    name = {"user": "each user alone", "project": "shared by all"}.get(one.scope, "")
    told = one.name if one.ttl is None else f"{name}, kept {one.name.partition(', ')[2]}"
    interval = f"{100 * one.rate.low:.1f} to {percent(one.rate.high)}"
    return told, f"{one.hits:,}", percent(one.rate.value), interval, _dollars(one.saved)


def _print_money(found: "Assessment") -> None:
    money = found.money
    span = "not recorded" if found.since is None else f"{when(found.since)} to {when(found.until)}"
    pairs: list[tuple[str, object]] = [
        ("time", span),
        ("requests", f"{found.requests:,}"),
        ("spent", _dollars(money.spent)),
        ("saved by the cache, as declared", f"{_dollars(money.saved)} ({percent(money.share_saved)})"),
        ("saved in thirty days", "-" if money.per_month is None else _dollars(money.per_month)),
        ("tokens with a price", percent(money.coverage)),
    ]
    if money.unpriced:
        pairs.append(("models without a price", ", ".join(money.unpriced)))
    facts(pairs)


def _dollars(nano: int) -> str:
    """Estimates, to the cent from a dollar on: less is told as it is, or a column would mix 0.01 with 0.006210."""
    return f"${nano / 1e9:,.2f}" if nano >= 1_000_000_000 or not nano else f"${nano / 1e9:,.6f}"


def _print_families(found: "Assessment", *, samples: bool) -> None:
    rows: list[tuple[object, ...]] = []
    for one in found.families:
        figures, verdict = one.figures, one.verdict
        stable = "-" if figures.stability is None else percent(figures.stability.value)
        saving = verdict.saving
        told = "-" if not saving.expected else f"${saving.expected:,.2f} (${saving.low:,.2f} to ${saving.high:,.2f})"
        rows.append(
            (
                figures.family,
                one.model,
                f"{one.requests:,}",
                percent(one.share),
                percent(figures.repetition.value),
                stable,
                verdict.choice,
                told,
            )
        )
    heads = ("family", "model", ">requests", ">of cost", ">repeats", ">stable", "decision", "saving a month")
    table(heads, rows, "No family came often enough.", spare=("model",))
    for one in found.families:
        click.echo(f"{one.figures.family}: {one.verdict.choice}")
        for reason in one.verdict.reasons:
            click.echo(f"  {reason.text}")
        ttl = one.verdict.policy.get("cache", {}).get("ttl")
        if ttl:
            click.echo(f"  Proposed: keep answers for {ttl:,.0f} seconds.")
        if samples and one.sample:
            click.echo(f"  For example: {one.sample}")
    if found.families_known > len(found.families):
        click.echo(f"{found.families_known:,} families altogether.")
