"""``eval``: experiments."""

import time
from typing import Any

import click

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import dollars, facts, milliseconds, percent, table, when
from ostinato.core import money
from ostinato.core.errors import Invalid

_LOOK_SECONDS = 0.5
_ENDED = ("done", "paused", "failed", "cancelled")


@click.group("eval")
def evals() -> None:
    """Experiments: prompts, models and scorers on a dataset, compared in pairs."""


def _limits(calls: int | None, tokens: int | None, cost: str | None) -> dict[str, int]:
    wanted = {"calls": calls, "tokens": tokens, "nano": None if cost is None else _nano(cost)}
    return {name: value for name, value in wanted.items() if value is not None}


def _nano(cost: str) -> int:
    try:
        return money.from_dollars(cost.lstrip("$"))
    except ValueError as error:
        raise Invalid(str(error)) from None


_max_calls = click.option("--max-calls", type=int, help="Calls that may be paid for, in all.")
_max_tokens = click.option("--max-tokens", type=int, help="Tokens that may be used, in all.")
_max_cost = click.option("--max-cost", help="Dollars that may be spent, in all.")
_reason = click.option("--reason", default="", help="Goes into the audit log.")


@evals.command("run")
@click.option("--dataset", help="NAME, or NAME@VERSION.")
@click.option("--prompt", "prompts", multiple=True, help="NAME@LABEL or NAME@NUMBER; several are compared.")
@click.option("--model", "models", multiple=True, help="Alias to ask; several: each prompt is asked of each.")
@click.option("--scorer", "scorers", multiple=True, help="Kind of a scorer, or JSON with kind, name, config, weight.")
@click.option("--declared", multiple=True, help="Name of a declared scorer.")
@click.option("--split", "splits", multiple=True, type=click.Choice(["train", "dev"]), help="[default: dev]")
@click.option("--examples", type=int, help="At most so many, drawn at random.")
@click.option("--temperature", type=float, help="Of every answer, over what the prompts say.")
@click.option("--confidence", is_flag=True, help="Tell how sure each model is of its answers.")
@click.option("--samples", type=int, help="Answers to one question, at most, to tell it by; each is paid for.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--name", default="")
@click.option("--file", "body", help="The whole experiment as JSON, or @FILE with it; options go over it.")
@click.option("--project", default="")
@_max_calls
@_max_tokens
@_max_cost
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
def run(
    dataset: str | None,
    prompts: tuple[str, ...],
    models: tuple[str, ...],
    scorers: tuple[str, ...],
    declared: tuple[str, ...],
    splits: tuple[str, ...],
    examples: int | None,
    temperature: float | None,
    confidence: bool,
    samples: int | None,
    seed: int,
    name: str,
    body: str | None,
    project: str,
    max_calls: int | None,
    max_tokens: int | None,
    max_cost: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Begin an experiment, and show how it goes on."""
    wish: dict[str, Any] = dict(read_json(body)) if body else {}
    wish.setdefault("seed", seed)
    if dataset:
        wish["dataset"], _, number = dataset.partition("@")
        if number:
            wish["version"] = int(number)
    if prompts:
        wish["variants"] = [{"prompt": prompt} for prompt in prompts]
    if scorers:
        wish["scorers"] = [read_json(one) if one.lstrip()[:1] in "{@" else {"kind": one} for one in scorers]
    if declared:
        wish["declared"] = declared
    for field, value in (
        ("models", models),
        ("splits", splits),
        ("examples", examples),
        ("name", name),
        ("confidence", confidence),
        ("samples", samples),
    ):
        if value:
            wish[field] = value
    if temperature is not None:
        wish["variants"] = [
            {**one, "params": {**one.get("params", {}), "temperature": temperature}} for one in wish.get("variants", [])
        ]
    if limits := _limits(max_calls, max_tokens, max_cost):
        wish["limits"] = limits
    wanted = (("dataset", "--dataset"), ("variants", "--prompt"), ("declared" if declared else "scorers", "--scorer"))
    for field, option in wanted:
        if not wish.get(field):
            raise Invalid(f"No {option} is given.", hint="`ostinato eval run --help` shows what an experiment needs.")
    if project:
        wish["project"] = project
    made = call("POST", "/experiments", wish)
    if detach:
        show(made, as_json, lambda one: click.echo(f"{one['id']}  {one['state']}"))
        return
    _watch(made["id"], quiet=as_json)
    _print_results(made["id"], as_json)


@evals.command("list")
@click.option("--project", default="")
@click.option("--state", default="")
@click.option("--dataset", default="")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@json_option
def list_(project: str, state: str, dataset: str, limit: int, as_json: bool) -> None:
    """The experiments, newest first."""
    query = {"project": project, "state": state, "dataset": dataset, "limit": limit}
    show(call("GET", "/experiments", query=query), as_json, lambda page: _print_list(page["items"]))


@evals.command("show")
@click.argument("experiment")
@click.option("--watch", is_flag=True, help="Until it ends.")
@json_option
def show_(experiment: str, watch: bool, as_json: bool) -> None:
    """One experiment: how far it has come, and its figures."""
    if watch:
        _watch(experiment, quiet=as_json)
    _print_results(experiment, as_json)


@evals.command("compare")
@click.argument("base")
@click.argument("other")
@json_option
def compare(base: str, other: str, as_json: bool) -> None:
    """Compare two variants in pairs: EXPERIMENT or EXPERIMENT:VARIANT each; of one experiment, VARIANT is enough for
    the second."""
    one, _, old = base.partition(":")
    two, colon, new = other.partition(":")
    if not colon and len(two) != len(one):
        two, new = one, other
    query = {"base": old, "other": two, "variant": new}
    show(call("GET", f"/experiments/{part(one)}/comparison", query=query), as_json, _print_comparison)


@evals.command("cancel")
@click.argument("experiment")
@_reason
@json_option
def cancel(experiment: str, reason: str, as_json: bool) -> None:
    """End an experiment; what was paid for is kept."""
    told = call("POST", f"/experiments/{part(experiment)}/cancel", {"reason": reason})
    show(told, as_json, lambda one: click.echo(f"{one['id']}  {one['state']}"))


@evals.command("resume")
@click.argument("experiment")
@_max_calls
@_max_tokens
@_max_cost
@_reason
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
def resume(
    experiment: str,
    max_calls: int | None,
    max_tokens: int | None,
    max_cost: str | None,
    reason: str,
    detach: bool,
    as_json: bool,
) -> None:
    """Go on with an experiment that is paused, failed or was cancelled; no call is paid for twice."""
    limits = _limits(max_calls, max_tokens, max_cost)
    body = {"reason": reason, "limits": limits or None}
    told = call("POST", f"/experiments/{part(experiment)}/resume", body)
    if detach:
        show(told, as_json, lambda one: click.echo(f"{one['id']}  {one['state']}"))
        return
    _watch(experiment, quiet=as_json)
    _print_results(experiment, as_json)


def _watch(experiment: str, *, quiet: bool) -> None:
    """A bar, until the experiment has ended."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that other commands need not wait for
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("queued", total=None)
        while True:
            told = call("GET", f"/experiments/{part(experiment)}")
            spent, state = told["spent"], told["experiment"]["state"]
            line = f"{state}, {spent.get('calls', 0)} calls, {dollars(spent.get('nano', 0))}"
            bar.update(task, description=line, completed=told["done"], total=told["total"])
            if state in _ENDED:
                return
            time.sleep(_LOOK_SECONDS)


def _print_results(experiment: str, as_json: bool) -> None:
    told = call("GET", f"/experiments/{part(experiment)}")
    results = call("GET", f"/experiments/{part(experiment)}/results")
    show({**told, "results": results}, as_json, _print_all)


def _print_list(rows: list[Any]) -> None:
    table(
        ("experiment", "name", "dataset", ">variants", ">examples", "state", "created"),
        [
            (
                row["id"],
                row["name"],
                f"{row['dataset']}@{row['version']}",
                len(row["arms"]),
                row["examples"],
                row["state"],
                when(row["created_at"]),
            )
            for row in rows
        ],
        "No experiment yet.",
        spare=("created", "examples", "variants"),
    )


def _print_all(told: Any) -> None:
    one, spent = told["experiment"], told["spent"]
    price = dollars(spent.get("nano", 0)) + (
        f" and {spent['unpriced']} calls without a price" if spent.get("unpriced") else ""
    )
    facts(
        [
            ("experiment", one["id"]),
            ("state", f"{one['state']}{': ' + one['why'] if one['why'] else ''}"),
            ("dataset", f"{one['dataset']}@{one['version']} ({', '.join(one['splits'])})"),
            ("cells", f"{told['done']} of {told['total']}"),
            ("spent", f"{spent.get('calls', 0)} calls, {spent.get('tokens', 0)} tokens, {price}"),
        ]
    )
    results = told["results"]
    click.echo()
    table(
        ("variant", ">n", ">mean", "95 %", ">unscored", ">failed", ">cost", ">p50 ms", ">p95 ms", ">prefix cache"),
        [
            (
                row["name"],
                row["n"],
                percent(row["mean"]["mean"] if row["mean"] else None),
                _interval(row["mean"]),
                row["unscored"],
                sum(row["failed"].values()),
                dollars(row["cost"] if not row["unpriced"] else None),
                milliseconds(row["latency_p50_us"]),
                milliseconds(row["latency_p95_us"]),
                percent(row["cached_share"]),
            )
            for row in results["figures"]
        ],
        spare=("prefix cache", "p95 ms", "failed"),
    )
    for line in missing(results["figures"]):
        click.echo(line)
    for comparison in results["comparisons"]:
        click.echo()
        _print_comparison(comparison)
    click.echo()
    click.echo(results["remark"])


def missing(figures: list[Any]) -> list[str]:
    """Why answers are missing or unscored, a line for each variant and scorer."""
    lines = [
        f"{row['name']}: {sum(row['failed'].values())} of {row['n']} have no answer: {_times(row['failed'])}."
        for row in figures
        if row["failed"]
    ]
    for row in figures:
        for one in row["scorers"]:
            if one["unscored"]:
                of = one["scored"] + one["unscored"]
                lines.append(
                    f"{row['name']}: {one['scorer']} left {one['unscored']} of {of} unscored: {_times(one['why'])}."
                )
    return lines


def _times(why: dict[str, int]) -> str:
    return "; ".join(f"{' '.join(reason.split())[:300].rstrip('.')} ({count} times)" for reason, count in why.items())


def _print_comparison(told: Any) -> None:
    click.echo(f"{told['variant']} against {told['base']}, {told['pairs']} pairs ({told['unpaired']} left out):")
    if told["why"]:
        click.echo(told["why"])
        return
    columns = ("", ">pairs", ">difference", "95 %", ">wins", ">losses", ">ties", ">p")
    rows: list[tuple[object, ...]] = [("all", *_compared(told))]
    rows += [(row["stratum"] or "(none)", *_compared(row)) for row in told["slices"]]
    table(columns, rows, spare=("ties",))


def _compared(row: Any) -> tuple[object, ...]:
    difference = row["difference"]
    points = "-" if difference is None else f"{100 * difference['mean']:+.1f}"
    p = "-" if row["p"] is None else f"{row['p']:.3g}"
    span = "too few" if difference is None and row["pairs"] else _interval(difference)
    return row["pairs"], points, span, row["wins"], row["losses"], row["ties"], p


def _interval(told: Any) -> str:
    return "-" if not told else f"{100 * told['low']:.1f} to {100 * told['high']:.1f}"
