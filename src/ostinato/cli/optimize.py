"""``optimize``: runs that look for a better prompt, and prove it."""

import time
from pathlib import Path
from typing import Any

import click

from ostinato.cli.client import call, json_option, page, part, read_json, show
from ostinato.cli.tables import dollars, facts, table, when
from ostinato.core import money
from ostinato.core.errors import Invalid

_LOOK_SECONDS = 0.5
_ENDED = ("proposed", "refused", "nothing-to-gain", "cancelled", "failed", "deleted", "paused", "reviewing")
_PHASES = ("select", "headroom", "search", "prove", "review", "release")


@click.group()
def optimize() -> None:
    """Better prompts, proven on sealed examples before anybody is asked to release them."""


def _wanted(command: Any) -> Any:
    """The options that say what is to be improved."""
    options = (
        click.argument("prompt"),
        click.option("--dataset", help="NAME, or NAME@VERSION."),
        click.option("--label", default="production", show_default=True, help="Whose version is to be beaten."),
        click.option("--model", "alias", default="", help="Alias to ask; left out: the prompt's own."),
        click.option("--scorer", "scorers", multiple=True, help="Kind of a scorer, or JSON; repeat."),
        click.option("--declared", multiple=True, help="Name of a declared scorer; repeat."),
        click.option("--reflection", default="", help="Alias of a strong model that rewrites prompts."),
        click.option("--alpha", type=float, help="Chance of promoting what is not better."),
        click.option("--gain", type=float, help="The gain that must be provable, such as 0.05 for five points."),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--max-calls", type=int, help="Calls that may be paid for, in all."),
        click.option("--max-tokens", type=int, help="Tokens that may be used, in all."),
        click.option("--max-cost", help="Dollars that may be spent, in all."),
        click.option("--slice", "slices", multiple=True, help="Part of the examples that must not lose; repeat."),
        click.option("--review/--no-review", default=None, help="Let people look at answers first."),
        click.option("--file", "body", help="The whole wish as JSON, or @FILE with it; options go over it."),
        click.option("--project", default="", help="The prompt's project; your own if left out."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _wish(prompt: str, body: str | None, **given: Any) -> dict[str, Any]:
    wish: dict[str, Any] = dict(read_json(body)) if body else {}
    wish["prompt"], _, label = prompt.partition("@")
    wish["label"] = label or given.pop("label")
    given.pop("label", None)
    if given["dataset"]:
        wish["dataset"], _, number = given["dataset"].partition("@")
        if number:
            wish["dataset_version"] = int(number)
    if given["scorers"]:
        wish["scorers"] = [read_json(one) if one.lstrip()[:1] in "{@" else {"kind": one} for one in given["scorers"]]
    limits = {
        "calls": given["max_calls"],
        "tokens": given["max_tokens"],
        "nano": None if given["max_cost"] is None else _nano(given["max_cost"]),
    }
    if any(value is not None for value in limits.values()):
        wish["limits"] = {name: value for name, value in limits.items() if value is not None}
    for field in ("declared", "alias", "reflection", "alpha", "gain", "seed", "slices", "review", "project"):
        if given[field] not in (None, "", ()):
            wish.setdefault(field, given[field]) if field == "seed" else wish.__setitem__(field, given[field])
    for field, option in (("dataset", "--dataset"), ("declared" if wish.get("declared") else "scorers", "--scorer")):
        if not wish.get(field):
            raise Invalid(f"No {option} is given.", hint="`ostinato optimize plan --help` shows what a run needs.")
    return wish


def _nano(cost: str) -> int:
    try:
        return money.from_dollars(cost.lstrip("$"))
    except ValueError as error:
        raise Invalid(str(error)) from None


@optimize.command("plan")
@_wanted
@json_option
def plan(prompt: str, body: str | None, as_json: bool, **given: Any) -> None:
    """What a run on PROMPT would take and could prove. Nothing is spent."""
    show(call("POST", "/optimizations/plan", _wish(prompt, body, **given)), as_json, _print_plan)


@optimize.command("start")
@_wanted
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
def start(prompt: str, body: str | None, detach: bool, as_json: bool, **given: Any) -> None:
    """Begin a run on PROMPT (or PROMPT@LABEL), and show how it goes on."""
    made = call("POST", "/optimizations", _wish(prompt, body, **given))
    if detach:
        show(made, as_json, lambda one: click.echo(f"{one['id']}  {one['state']}"))
        return
    click.echo(
        f"Run {made['id']}: it goes on without you; `ostinato optimize watch {made['id']}`, pause, cancel.", err=True
    )
    _watch(made["id"], quiet=as_json)
    show(call("GET", f"/optimizations/{part(made['id'])}"), as_json, _print)


@optimize.command("list")
@click.option("--project", default="")
@click.option("--prompt", default="")
@click.option("--state", default="", help="planned, running, paused, reviewing, proposed, refused ...")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@json_option
def list_(project: str, prompt: str, state: str, limit: int, as_json: bool) -> None:
    """The runs, oldest first."""
    query = {"project": project, "prompt": prompt, "state": state, "limit": limit}
    show(call("GET", "/optimizations", query=query), as_json, lambda found: _print_list(found["items"]))


@optimize.command("show")
@click.argument("run")
@json_option
def show_(run: str, as_json: bool) -> None:
    """One run: how far it has come, what it has spent, what it found."""
    show(call("GET", f"/optimizations/{part(run)}"), as_json, _print)


@optimize.command("watch")
@click.argument("run")
def watch(run: str) -> None:
    """A bar, until the run ends or waits for somebody."""
    _watch(run, quiet=False)
    _print(call("GET", f"/optimizations/{part(run)}"))


@optimize.command("report")
@click.argument("run")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File; left out: standard output.")
def report(run: str, out: Path | None) -> None:
    """The run's report: one HTML page that needs nothing else."""
    text = page(f"/optimizations/{part(run)}/report")
    if out is None:
        click.echo(text)
        return
    out.write_text(text, encoding="utf-8")
    click.echo(f"The report is in {out}.")


@optimize.command("pause")
@click.argument("run")
@click.option("--reason", default="", help="Goes into the audit log.")
def pause(run: str, reason: str) -> None:
    """Let a run begin no further call."""
    _say(call("POST", f"/optimizations/{part(run)}/pause", {"reason": reason}))


@optimize.command("resume")
@click.argument("run")
@click.option("--max-calls", type=int, help="Calls that may be paid for, in all.")
@click.option("--max-tokens", type=int, help="Tokens that may be used, in all.")
@click.option("--max-cost", help="Dollars that may be spent, in all.")
@click.option("--reason", default="", help="Goes into the audit log.")
def resume(run: str, max_calls: int | None, max_tokens: int | None, max_cost: str | None, reason: str) -> None:
    """Go on with a paused run; no call is paid for twice."""
    wanted = {"calls": max_calls, "tokens": max_tokens, "nano": None if max_cost is None else _nano(max_cost)}
    limits = {name: value for name, value in wanted.items() if value is not None}
    _say(call("POST", f"/optimizations/{part(run)}/resume", {"reason": reason, "limits": limits or None}))


@optimize.command("cancel")
@click.argument("run")
@click.option("--reason", default="", help="Goes into the audit log.")
def cancel(run: str, reason: str) -> None:
    """End a run for good; what was paid for is kept, and its report can be read."""
    _say(call("POST", f"/optimizations/{part(run)}/cancel", {"reason": reason}))


@optimize.command("delete")
@click.argument("run")
def delete(run: str) -> None:
    """End a run and empty it; what it cost stays known."""
    _say(call("DELETE", f"/optimizations/{part(run)}"))


# --- what is printed ----------------------------------------------------------------------------------------------


def _watch(run: str, *, quiet: bool) -> None:
    """A bar, until the run has ended or waits for somebody."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that other commands need not wait for
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("planned", total=1.0)
        while True:
            told = call("GET", f"/optimizations/{part(run)}")
            one = told["run"]
            bar.update(task, description=_line(told), completed=told["share"])
            if one["state"] in _ENDED:
                return
            time.sleep(_LOOK_SECONDS)


def _line(told: Any) -> str:
    one, spent = told["run"], told["spent"]
    phase = f"{one['phase']} ({_PHASES.index(one['phase']) + 1}/{len(_PHASES)})" if one["phase"] in _PHASES else ""
    best = f", best {100 * told['best']:.1f} %" if told["best"] is not None else ""
    base = f" against {100 * told['base']:.1f} %" if told["base"] is not None else ""
    return f"{phase or one['state']}: {spent.get('calls', 0)} calls{best}{base}"


def _print(told: Any) -> None:
    one, spent = told["run"], told["spent"]
    facts(
        [
            ("run", one["id"]),
            ("prompt", f"{one['prompt']}@{one['label']}, version {one['base_number']}"),
            ("state", one["state"]),
            ("why", one["why"] or "-"),
            ("dataset", f"{one['dataset']}@{one['dataset_number']}"),
            ("spent", f"{spent.get('calls', 0)} calls, {spent.get('tokens', 0)} tokens, {_money(spent)}"),
            ("planned", f"{told['calls_planned']} calls"),
            ("tried", f"{told['candidates']} candidates"),
            ("on open examples", _scores(told)),
            ("new version", one["number"] or "-"),
            ("release", one["release"] or "-"),
            ("findings", one["digest"] or "-"),
        ]
    )


def _money(spent: Any) -> str:
    return dollars(spent.get("nano", 0)) + (" and more (unpriced)" if spent.get("unpriced") else "")


def _scores(told: Any) -> str:
    if told["best"] is None:
        return "-"
    base = f", incumbent {100 * told['base']:.1f} %" if told["base"] is not None else ""
    return f"best {100 * told['best']:.1f} %{base}"


def _print_list(found: list[Any]) -> None:
    table(
        ("run", "prompt", "label", "state", "phase", "began"),
        [
            (one["id"], one["prompt"], one["label"], one["state"], one["phase"] or "-", when(one["created_at"]))
            for one in found
        ],
        spare=("began", "phase", "label"),
    )


def _print_plan(told: Any) -> None:
    counts = told["counts"]
    smallest = told["smallest_gain"]
    facts(
        [
            ("prompt", f"{told['prompt']}@{told['label']}, version {told['base_number']}"),
            ("model", f"{told['alias']} ({', '.join(told['targets'])})"),
            ("dataset", f"{told['dataset']}@{told['dataset_version']}: {counts['train']} to learn from, "
                        f"{counts['dev']} to try on, {counts['holdout']} sealed"),
            ("takes", f"about {told['about']} calls (at most {told['calls']}), {told['tokens']} tokens, "
                      f"{dollars(told['nano'])}"),
            ("can prove", "nothing" if smallest is None else
             f"a gain of {100 * smallest:.1f} points or more, at {100 * told['alpha']:g} %"),
            ("people look first", "yes" if told["review"] else "no"),
        ]
    )  # fmt: skip
    click.echo()
    table(
        ("stage", ">calls", ">at most", ">tokens", ">cost"),
        [(one["stage"], one["about"], one["calls"], one["tokens"], dollars(one["nano"])) for one in told["stages"]],
    )
    if told["notices"]:
        click.echo()
    for one in told["notices"]:
        click.echo(f"{one['level']}: {one['message']}" + (f" {one['hint']}" if one.get("hint") else ""))


def _say(one: Any) -> None:
    waiting = f" ({one['wanted']} as soon as the calls under way have ended)" if one["wanted"] else ""
    click.echo(f"The run {one['id']} on {one['prompt']}@{one['label']} is {one['state']}{waiting}.")
