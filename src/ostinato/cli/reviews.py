"""``review``: queues of answers that people look at, and what they say."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ostinato.cli.client import Refused, call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when
from ostinato.core.errors import Invalid

_project = click.option("--project", help="Id or short name; your own if left out.")
_ITEM = re.compile(r"(?:\$\.)?items\[(\d+)\]")
_origin = click.option("--origin", help="Of this run or experiment only.")


@click.group()
def review() -> None:
    """Answers that people look at: queues, items, verdicts, agreement; held answers among them."""


@review.command("queues")
@_project
@json_option
def queues(project: str | None, as_json: bool) -> None:
    """List the queues of a project."""
    show(
        _all("/reviews/queues", {"project": project}),
        as_json,
        lambda found: table(
            ("queue", "mode", ">reviews", "blind", "open", "changed"),
            [
                (
                    one["name"],
                    one["declared"].get("mode", "single"),
                    one["declared"].get("reviews_required", 1),
                    "yes" if one["declared"].get("blind", True) else "no",
                    "no" if one["declared"].get("closed") else "yes",
                    when(one["changed_at"]),
                )
                for one in found
            ],
            empty="No queue is declared: ostinato review declare NAME.",
            spare=("changed",),
        ),
    )


@review.command("declare")
@click.argument("queue")
@click.option("--body", default="{}", help="The declaration, as JSON or @FILE.")
@click.option("--label", "labels", multiple=True, metavar="NAME=A,B,...", help="A criterion with labels; repeat.")
@click.option("--reviews", type=click.IntRange(1, 20), help="Different people for each item.")
@click.option("--pairwise", is_flag=True, help="Two answers side by side, in an order of each reviewer's own.")
@_project
@json_option
def declare(
    queue: str,
    body: str,
    labels: tuple[str, ...],
    reviews: int | None,
    pairwise: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Declare a queue, or declare it anew."""
    told = dict(read_json(body))
    if reviews is not None:
        told["reviews_required"] = reviews
    if pairwise:
        told["mode"] = "pairwise"
    if labels:
        told["criteria"] = [*told.get("criteria", []), *map(_criterion, labels)]
    answer = call("PUT", f"/reviews/queues/{part(queue)}", told, {"project": project})
    show(answer, as_json, lambda one: click.echo(f"The queue {one['name']} stands at version {one['version']}."))


@review.command("list")
@click.option("--queue", help="Of this queue only.")
@click.option("--state", help="open, done, expired or withdrawn.")
@click.option("--overdue", is_flag=True, help="Open ones past their time only.")
@_origin
@_project
@json_option
def list_items(
    queue: str | None, state: str | None, overdue: bool, origin: str | None, project: str | None, as_json: bool
) -> None:
    """List items, oldest first, without their texts."""
    query = {"queue": queue, "state": state, "overdue": overdue or None, "origin": origin, "project": project}
    show(
        _all("/reviews/items", query),
        as_json,
        lambda found: table(
            ("item", "queue", "state", "outcome", ">given", ">needed", "origin", "due", "why"),
            [
                (
                    one["id"],
                    one["queue"],
                    one["state"],
                    one["outcome"] or "-",
                    one["given"],
                    one["needed"],
                    one["origin"],
                    when(one["due_at"]),
                    ", ".join(one["why"]) or "-",
                )
                for one in found
            ],
            empty="Nothing waits.",
            spare=("why", "origin", "due"),
        ),
    )


@review.command("status")
@click.argument("queue")
@_project
@json_option
def status(queue: str, project: str | None, as_json: bool) -> None:
    """Show how a queue stands."""
    answer = call("GET", f"/reviews/queues/{part(queue)}", query={"project": project})
    show(
        answer,
        as_json,
        lambda one: facts([("queue", one["queue"]["name"]), *((name, value) for name, value in one["counts"].items())]),
    )


@review.command("put")
@click.argument("queue")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_project
@json_option
def put(queue: str, file: Path, project: str | None, as_json: bool) -> None:
    """Put items into a queue: FILE holds one JSON object a line."""
    lines = [(number, line) for number, line in enumerate(file.read_text("utf-8").splitlines(), 1) if line.strip()]
    items: list[tuple[int, Any]] = []
    for number, line in lines:
        try:
            items.append((number, msgspec.json.decode(line)))
        except msgspec.DecodeError as error:
            raise Invalid(f"{file.name}, line {number} is not JSON: {error}.", hint="One object a line.") from None
    found: list[Any] = []
    for begin in range(0, len(items), 500):
        some = items[begin : begin + 500]
        try:
            body = {"items": [item for _, item in some]}
            found += call("POST", f"/reviews/queues/{part(queue)}/items", body, {"project": project})
        except Refused as refused:
            raise _at_line(refused, file.name, [number for number, _ in some]) from None
    show(found, as_json, lambda items: click.echo(f"{len(items)} items are in the queue {queue}."))


def _at_line(refused: Refused, file: str, numbers: Sequence[int]) -> Refused:
    """What the server says of ``items[3]``, said of the line that it was read from."""

    def line(found: re.Match[str]) -> str:
        place = int(found[1])
        return f"line {numbers[place]} of {file}" if place < len(numbers) else found[0]

    told = [_ITEM.sub(line, text) for text in (refused.message, refused.hint)]
    return Refused(told[0], code=refused.code, hint=told[1])


@review.command("next")
@click.argument("queue")
@_project
@json_option
def take_next(queue: str, project: str | None, as_json: bool) -> None:
    """Take the most urgent item that you may judge, and show it."""
    show(call("POST", f"/reviews/queues/{part(queue)}/next", {}, {"project": project}), as_json, _print_task)


@review.command("take")
@click.argument("item")
@json_option
def take(item: str, as_json: bool) -> None:
    """Take one item, and show it."""
    show(call("POST", f"/reviews/items/{part(item)}/take"), as_json, _print_task)


@review.command("return")
@click.argument("item")
@json_option
def give_back(item: str, as_json: bool) -> None:
    """Hand an item back without a verdict."""
    answer = call("POST", f"/reviews/items/{part(item)}/return")
    show(answer, as_json, lambda one: click.echo(f"The item {one['id']} is back in the queue {one['queue']}."))


@review.command("show")
@click.argument("item")
@json_option
def show_item(item: str, as_json: bool) -> None:
    """Show an item with its texts, and what was said of it as far as you may see it."""
    show(call("GET", f"/reviews/items/{part(item)}"), as_json, _print_task)


@review.command("decide")
@click.argument("item")
@click.argument("decision")
@click.option("--set", "values", multiple=True, metavar="CRITERION=VALUE", help="A value of the rubric; repeat.")
@click.option("--edited", help="With edit: how it should read; @FILE reads it.")
@click.option("--comment", default="")
@json_option
def decide(item: str, decision: str, values: tuple[str, ...], edited: str | None, comment: str, as_json: bool) -> None:
    """Give your verdict on an item that you have taken.

    DECISION: approve, edit, reject or escalate; in a pairwise queue first, second, tie, neither or escalate.
    """
    task = call("GET", f"/reviews/items/{part(item)}")
    numbers = {one["name"] for one in task["criteria"] if one.get("range") is not None}
    body: dict[str, Any] = {
        "decision": decision,
        "values": dict(_value(text, numbers) for text in values),
        "comment": comment,
    }
    if edited is not None:
        body["edited"] = Path(edited[1:]).read_text("utf-8") if edited.startswith("@") else edited
    answer = call("POST", f"/reviews/items/{part(item)}/verdict", body)
    show(
        answer,
        as_json,
        lambda one: click.echo(
            f"The item {one['id']} is {one['state']}"
            + (f": {one['outcome']}." if one["outcome"] else f"; {one['given']} of {one['needed']} verdicts.")
        ),
    )


@review.command("withdraw")
@click.argument("item")
@click.option("--reason", default="")
@json_option
def withdraw(item: str, reason: str, as_json: bool) -> None:
    """Take an open item out of its queue."""
    answer = call("POST", f"/reviews/items/{part(item)}/withdraw", {"reason": reason})
    show(answer, as_json, lambda one: click.echo(f"The item {one['id']} is withdrawn."))


@review.command("agreement")
@click.argument("queue")
@_project
@json_option
def agreement(queue: str, project: str | None, as_json: bool) -> None:
    """Show outcomes, weighted shares, and how far reviewers agree."""
    show(call("GET", f"/reviews/queues/{part(queue)}/figures", query={"project": project}), as_json, _print_figures)


@review.command("evidence")
@click.argument("queue")
@click.option("--origin", required=True, help="The run or experiment.")
@click.option("--least", default=0.8, show_default=True, help="The estimate that passes.")
@click.option("--release", help="Attach it to this release (an id).")
@_project
@json_option
def evidence(queue: str, origin: str, least: float, release: str | None, project: str | None, as_json: bool) -> None:
    """Show what people said of a run's answers as evidence for a release; with --release, attach it."""
    query = {"origin": origin, "least": least, "project": project}
    told = call("GET", f"/reviews/queues/{part(queue)}/evidence", query=query)
    if release is not None:
        call("POST", f"/releases/{part(release)}/evidence", told)
    show(
        told,
        as_json,
        lambda one: facts(
            [
                ("evidence", one["name"]),
                ("passed", "yes" if one["passed"] else "no"),
                ("digest", one["digest"]),
                *one.get("facts", {}).items(),
            ]
        ),
    )


@review.command("dataset")
@click.argument("queue")
@click.argument("dataset")
@click.option("--fresh", is_flag=True, help="A version of these examples alone.")
@click.option("--note", default="")
@_origin
@_project
@json_option
def dataset(
    queue: str, dataset: str, fresh: bool, note: str, origin: str | None, project: str | None, as_json: bool
) -> None:
    """Make decided items examples of a dataset, which is made where there is none."""
    body = {"dataset": dataset, "extend": not fresh, "note": note, "origin_ref": origin or ""}
    answer = call("POST", f"/reviews/queues/{part(queue)}/dataset", body, {"project": project})
    show(
        answer,
        as_json,
        lambda one: click.echo(f"{one['dataset']}@{one['number']} has {one['examples']} examples of this queue."),
    )


@review.command("erase")
@click.option("--item", default="")
@click.option("--request", "request_id", default="")
@click.option("--subject", default="")
@click.option("--reason", default="", help="Why; it stays in the audit log.")
@_project
@json_option
def erase(item: str, request_id: str, subject: str, reason: str, project: str | None, as_json: bool) -> None:
    """Erase the texts of an item, a request or a subject, for good."""
    body = {"item": item, "request_id": request_id, "subject": subject, "reason": reason, "project": project}
    answer = call("POST", "/reviews/erasures", body)
    show(answer, as_json, lambda one: click.echo(f"The texts of {one['items']} items are gone."))


def _all(path: str, query: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = call("GET", path, query={**query, "after": after, "limit": 500})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def _criterion(text: str) -> dict[str, Any]:
    name, sign, labels = text.partition("=")
    if not sign:
        raise Invalid(f"{text!r} is no criterion.", hint="Write NAME=LABEL,LABEL.")
    return {"name": name, "labels": [one.strip() for one in labels.split(",")]}


def _value(text: str, numbers: set[str]) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    try:
        if not sign:
            raise ValueError
        return name, float(value) if name in numbers else value
    except ValueError:
        raise Invalid(f"{text!r} is no value of the rubric.", hint="Write CRITERION=VALUE.") from None


def _print_task(task: Any) -> None:
    if task is None:
        click.echo("Nothing waits for you in this queue.")
        return
    facts(
        [
            ("item", task["item"]),
            ("queue", f"{task['queue']} ({task['mode']})"),
            ("state", task["state"]),
            ("yours until", when(task["until"])),
            ("due", when(task["due_at"])),
        ]
    )
    content = task["content"]
    if content is None:
        click.echo(f"\nIts texts are erased; digest {task['digest'][:16]}.")
    else:
        _section("Asked", content.get("input_text", ""))
        # While it is open they are in this reviewer's order; then in their own, which verdicts are told by.
        pair = ("First", "Second") if task["state"] == "open" else ("Answer a", "Answer b")
        names = pair if task["mode"] == "pairwise" else ("Answer",)
        for name, output in zip(names, content.get("outputs", []), strict=False):
            _section(name, output["text"])
    for one in task["criteria"]:
        allowed = ", ".join(one.get("labels", [])) or _range(one.get("range")) or "text"
        click.echo(f"\n{one['name']}{'' if one.get('required', True) else ' (if you like)'}: {allowed}")
    for one in task["verdicts"]:
        said = ", ".join(f"{name} {value}" for name, value in one["values"].items())
        click.echo(f"\n{one['principal']} said {one['decision']}" + (f" ({said})" if said else ""))


def _section(title: str, text: str) -> None:
    if text:
        click.echo(f"\n{title}:\n  " + "\n  ".join(text.splitlines()))


def _range(bounds: list[float] | None) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}" if bounds else ""


def _print_figures(told: Any) -> None:
    facts([("decided", told["items"]), *told["outcomes"].items()])
    table(
        ("share", ">seen", ">estimate", ">low", ">high"),
        [
            (one["name"], *(f"{100 * one[name]:.1f} %" for name in ("seen", "estimate", "low", "high")))
            for one in told["shares"]
        ],
    )
    table(
        ("criterion", ">items", ">reviewers", "Cohen", "Fleiss", "Krippendorff"),
        [
            (
                one["criterion"],
                one["items"],
                one["reviewers"],
                *(_kappa(one, name) for name in ("cohen", "fleiss", "krippendorff")),
            )
            for one in told["agreement"]
        ],
    )


def _kappa(one: Any, name: str) -> str:
    value, interval = one[name], one[f"{name}_interval"]
    return "-" if value is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
