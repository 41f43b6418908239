"""``savings``: what was saved, the hold-out, invoices, declared costs, budgets."""

import time
from pathlib import Path
from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.spans import since_option
from ostinato.cli.tables import dollars, facts, percent, table, when
from ostinato.core.errors import Invalid, NotFound

_KINDS = ("infrastructure", "tooling", "other", "reviewer", "wrong-hit")


@click.group()
def savings() -> None:
    """What caching and better prompts are worth: accounted, and as an experiment shows."""


@savings.command("show")
@since_option
@click.option("--project", default="")
@click.option("--intent", default="")
@click.option("--prompt", default="")
@click.option("--release", default="")
@json_option
def show_savings(since: int, as_json: bool, **chosen: str) -> None:
    """Show the account: every source, less every overhead."""
    show(call("GET", "/savings", query={"since": since, **chosen}), as_json, print_account)


def print_account(found: Any) -> None:
    """Lines, sums, coverage."""
    table(
        ("line", ">amount", ">count", "how"),
        [
            (
                " ".join(filter(None, (line["name"], line.get("prompt")))),
                _amount(line),
                "-" if line["count"] is None else line["count"],
                line["detail"],
            )
            for line in found["lines"]
        ],
        spare=("count",),
    )
    facts(
        [
            ("saved", dollars(found["gross"])),
            ("overheads", dollars(found["overheads"])),
            ("net", dollars(found["net"])),
            ("paid to providers", dollars(found["cost"])),
            ("without the cache", dollars(found["counterfactual"])),
            ("pricing coverage", percent(found["pricing_coverage"])),
        ]
    )


def _amount(line: Any) -> str:
    if line["state"] in ("off", "missing"):
        return line["state"]
    told = dollars(line["nano"])
    return f"{told} (withheld)" if line["state"] == "withheld" else told


@savings.command("holdout")
@since_option
@click.option("--project", default="")
@click.option("--intent", default="")
@click.option("--prompt", default="")
@click.option("--confidence", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True)
@json_option
def holdout(since: int, as_json: bool, confidence: float, **chosen: str) -> None:
    """Show what the cache saves by experiment, beside what is accounted."""
    found = call("GET", "/savings/holdout", query={"since": since, "confidence": confidence, **chosen})
    show(found, as_json, print_holdout)


def print_holdout(found: Any) -> None:
    """Both sides, the estimate, and whom it leaves out."""
    table(
        ("side", ">sessions", ">requests", ">cost a request", ">errors"),
        [
            (name, side["sessions"], side["requests"], _mean(side["mean_cost"]), percent(side["error_rate"]))
            for name, side in (("held out", found["held"]), ("treated", found["treated"]))
        ],
    )
    ends = "-" if found["ratio_low"] is None else f"{found['ratio_low']:.2f} to {found['ratio_high']:.2f}"
    facts(
        [
            ("saved, by experiment", _interval(found["saving"]) if found["saving"] else found["why"]),
            ("saved, accounted", dollars(found["accounted"]) if found["saving"] else "-"),
            ("accounted / experiment", "-" if found["ratio"] is None else f"{found['ratio']:.2f}  ({ends})"),
            ("fewer errors", _shares(found["error_reduction"])),
            ("share held out", percent(found["share"])),
        ]
    )
    table(
        ("left out of the estimate", ">requests"),
        list(found["excluded"].items()),
        "Nothing was left out.",
    )


def _mean(nano: float | None) -> str:
    return "-" if nano is None else dollars(round(nano))


def _interval(one: Any) -> str:
    low, mean, high = (dollars(round(one[name])) for name in ("low", "mean", "high"))
    return f"{mean}  ({low} to {high}, at {percent(one['confidence'])} however often it is looked at)"


def _shares(one: Any) -> str:
    if one is None:
        return "-"
    return f"{100 * one['mean']:+.2f} points  ({100 * one['low']:+.2f} to {100 * one['high']:+.2f})"


@savings.command("budgets")
@since_option
@click.option("--project", default="")
@click.option("--intent", default="")
@json_option
def budgets(since: int, as_json: bool, **chosen: str) -> None:
    """Show what the budgets of intents touched."""
    show(
        call("GET", "/savings/budgets", query={"since": since, **chosen}),
        as_json,
        lambda found: table(
            ("intent", ">calls", ">cut", ">refused", ">slow", ">ended short", ">tokens", ">cost"),
            [
                (
                    one["intent"],
                    one["requests"],
                    one["cut"],
                    one["refused"],
                    "-" if one["slow"] is None else one["slow"],
                    one["ended_short"],
                    one["tokens"],
                    dollars(one["cost"]),
                )
                for one in found
            ],
            "No intent has a budget.",
        ),
    )


@savings.command("reconcile")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--provider", required=True, help="As the configuration calls it: the name under [providers].")
@click.option("--shape", default="generic", show_default=True, help="openai-usage, openai-costs, anthropic-usage ...")
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="What the file calls a column; repeat.")
@json_option
def reconcile(file: Path, provider: str, shape: str, columns: tuple[str, ...], as_json: bool) -> None:
    """Compare a provider's usage or invoice (CSV) with the ledger, by day, model and class of tokens.

    Exit code 1 where the ledger has no call to compare with.
    """
    from ostinato.savings import invoices  # noqa: PLC0415 - help must not wait for it

    named: dict[str, str] = {}
    for one in columns:
        ours, equals, theirs = one.partition("=")
        if not equals:
            raise Invalid(f"--column {one!r} says nothing.", hint="As --column day=usage_day.")
        named[ours.strip()] = theirs.strip()
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{file} is not UTF-8.", hint="Export it as CSV in UTF-8.") from None
    lines = [
        {name: getattr(line, name) for name in line.__struct_fields__} for line in invoices.read(text, shape, named)
    ]
    made = call("POST", "/savings/invoices", {"provider": provider, "shape": shape, "lines": lines})
    _reconciled(call("GET", f"/savings/invoices/{part(made['id'])}"), as_json)


@savings.command("invoices")
@click.argument("invoice", required=False)
@json_option
def list_invoices(invoice: str | None, as_json: bool) -> None:
    """List invoices that were handed in; or compare one of them with the ledger as it is now."""
    if invoice:
        _reconciled(call("GET", f"/savings/invoices/{part(invoice)}"), as_json)
        return
    show(
        call("GET", "/savings/invoices")["items"],
        as_json,
        lambda found: table(
            ("invoice", "provider", "from", "until", ">lines", "handed in"),
            [
                (
                    one["id"],
                    one["provider"],
                    when(one["since"])[:10],
                    when(one["until"] - 1)[:10],
                    one["lines"],
                    when(one["at"]),
                )
                for one in found
            ],
        ),
    )


def _reconciled(found: Any, as_json: bool) -> None:
    """Show both sides. Raises ``NotFound`` where the ledger has nothing of it: that must not pass for agreement."""
    show(found, as_json, _print_reconciliation)
    if found["calls"]:
        return
    provider, outside = found["invoice"]["provider"], found["outside"]
    if outside:
        raise NotFound(
            f"Nothing was reconciled: your key reaches none of the {outside} calls to {provider!r} in these days.",
            hint="Use a key that reaches all projects.",
        )
    raise NotFound(
        f"Nothing was reconciled: the ledger has no call to {provider!r} in these days.",
        hint="Is that its name under [providers] of the configuration?",
    )


def _print_reconciliation(found: Any) -> None:
    agree = {True: "they agree within 0.5 %", False: "they differ by more than 0.5 %", None: "nothing to compare"}
    facts(
        [
            ("invoice", dollars(found["invoice_nano"])),
            ("ledger", f"{dollars(found['ledger_nano'])}  ({_off(found['difference'])})"),
            ("at the prices of now", f"{dollars(found['repriced_nano'])}  ({_off(found['repriced_difference'])})"),
            (
                "tokens",
                f"{found['invoice_tokens']} and {found['ledger_tokens']}  ({_off(found['token_difference'])})",
            ),
            ("calls without a price", found["unpriced"]),
            ("calls out of reach", found["outside"]),
            ("so", agree[found["within"]]),
        ]
    )
    table(
        ("day", "model", "class", ">invoice", ">ledger", "missing in"),
        [
            (
                one["day"],
                one["model"],
                one["token"],
                _side(one, "invoice"),
                _side(one, "ledger"),
                {"invoice": "the invoice", "ledger": "the ledger"}.get(one["missing"], ""),
            )
            for one in found["gaps"]
        ],
        "No day and model differs by more than 0.5 %.",
    )


def _side(gap: Any, name: str) -> object:
    if gap["token"] == "total":  # noqa: S105 - a class of tokens
        return dollars(gap[f"{name}_nano"] or 0)
    return gap[f"{name}_tokens"] or 0


def _off(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.2f} %"


@savings.group("costs")
def costs() -> None:
    """Costs that the ledger cannot know."""


@costs.command("list")
@json_option
def list_costs(as_json: bool) -> None:
    """List declared costs."""
    show(
        call("GET", "/savings/costs"),
        as_json,
        lambda found: table(
            ("cost", "kind", ">amount", "since", "until", "note"),
            [
                (one["name"], one["kind"], dollars(one["nano"]), when(one["since"]), when(one["until"]), one["note"])
                for one in found
            ],
            "None is declared.",
            spare=("note", "until"),
        ),
    )


@costs.command("show")
@click.argument("name")
@json_option
def show_cost(name: str, as_json: bool) -> None:
    """Show one declared cost."""
    show(call("GET", f"/savings/costs/{part(name)}"), as_json, _print_cost)


@costs.command("set")
@click.argument("name")
@click.option("--kind", type=click.Choice(_KINDS), required=True)
@click.option(
    "--dollars", "amount", type=float, required=True, help="A month; of a reviewer an hour; of a wrong hit each."
)
@click.option("--project", help="Of this project only.")
@click.option("--ends", is_flag=True, help="It ends now.")
@click.option("--note", default="")
@json_option
def set_cost(name: str, kind: str, amount: float, project: str | None, ends: bool, note: str, as_json: bool) -> None:
    """Declare a cost, or change it."""
    body: dict[str, Any] = {"name": name, "kind": kind, "dollars": amount, "project": project, "note": note}
    if ends:
        body["until"] = int(time.time() * 1_000_000)
    show(call("POST", "/savings/costs", body), as_json, _print_cost)


@costs.command("remove")
@click.argument("name")
@json_option
def remove_cost(name: str, as_json: bool) -> None:
    """Take a declaration back, as if it had never been."""
    call("DELETE", f"/savings/costs/{part(name)}")
    show({"removed": name}, as_json, lambda _: click.echo(f"Removed the cost {name}."))


def _print_cost(one: Any) -> None:
    facts(
        [
            ("cost", one["name"]),
            ("kind", one["kind"]),
            ("amount", dollars(one["nano"])),
            ("project", one["project"] or "all"),
            ("since", when(one["since"])),
            ("until", when(one["until"])),
            ("note", one["note"]),
            ("version", one["version"]),
        ]
    )
