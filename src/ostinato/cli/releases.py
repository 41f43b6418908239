"""``releases`` and ``approvals``."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ostinato.cli.client import call, json_option, part, read_json, show
from ostinato.cli.tables import facts, table, when
from ostinato.core import ids
from ostinato.core.errors import Invalid, NotFound

_OPEN = ("canary", "paused", "approved", "proposed")
_STEP = "SHARE[:SAMPLES[:MINUTES]]"


@click.group()
def releases() -> None:
    """Governed moves of labels: propose, approve, canary, promote, roll back.

    RELEASE is a release's id, or PROMPT@LABEL (PROMPT alone: its production) for the one that is under way there.
    """


@releases.command("list")
@click.option("--project", help="Of this project only.")
@click.option("--prompt", help="Of this prompt only.")
@click.option("--label", help="Of this label only.")
@click.option("--state", help="proposed, approved, canary, paused, active, rolled_back, superseded ...")
@json_option
def list_releases(project: str | None, prompt: str | None, label: str | None, state: str | None, as_json: bool) -> None:
    """List releases, oldest first."""
    query = {"project": project, "prompt": prompt, "label": label, "state": state}
    show(
        _all("/releases", query),
        as_json,
        lambda found: table(
            ("release", "prompt", "label", ">version", "state", ">share", "proposed"),
            [
                (
                    one["id"],
                    one["prompt"],
                    one["label"],
                    one["number"],
                    one["state"],
                    _share(one),
                    when(one["proposed_at"]),
                )
                for one in found
            ],
            spare=("proposed", "share", "label"),
        ),
    )


@releases.command("show")
@click.argument("release")
@json_option
def show_release(release: str, as_json: bool) -> None:
    """Show a release: its state, what it still lacks, its evidence and its history."""
    show(call("GET", f"/releases/{part(_id(release))}"), as_json, _print)


@releases.command("propose")
@click.argument("prompt")
@click.argument("number", type=click.IntRange(1))
@click.option("--label", default="production", show_default=True)
@click.option("--project", help="The prompt's project; your own if left out.")
@click.option("--reason", required=True, help="Why; it stays in the history.")
@click.option("--step", "steps", multiple=True, metavar=_STEP, help="A canary step, such as 5%:200:30; repeat.")
@click.option("--control", default="0", show_default=True, help="Share kept as a control arm.")
@click.option(
    "--guardrails",
    metavar="JSON",
    help="What is watched for harm, as a JSON object or @FILE; {} for all of it. Needs --control.",
)
@click.option("--auto", is_flag=True, help="Go on when the minima are met, and back when no data come.")
@click.option("--no-data", type=float, default=60.0, show_default=True, help="Minutes without data that --auto waits.")
@json_option
def propose(
    prompt: str,
    number: int,
    label: str,
    project: str | None,
    reason: str,
    steps: tuple[str, ...],
    control: str,
    guardrails: str | None,
    auto: bool,
    no_data: float,
    as_json: bool,
) -> None:
    """Propose that LABEL of PROMPT move to version NUMBER."""
    plan: dict[str, Any] = {
        "steps": [_step(text) for text in steps],
        "control": _fraction(control),
        "auto": auto,
        "no_data_minutes": no_data,
    }
    if guardrails is not None:
        plan["guardrails"] = read_json(guardrails)
    body = {"prompt": prompt, "number": number, "label": label, "project": project, "reason": reason, "plan": plan}
    show(call("POST", "/releases", body), as_json, _print_proposed)


def _print_proposed(one: Any) -> None:
    click.echo(f"Proposed the release {one['id']}.")
    click.echo(f"What it needs: ostinato releases show {one['prompt']}@{one['label']}.")


@releases.command("attach")
@click.argument("release")
@click.argument("name")
@click.option("--report", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its SHA-256 is sent.")
@click.option("--digest", help="SHA-256 of the report, in place of --report.")
@click.option("--failed", is_flag=True, help="The result is against the release.")
@click.option("--facts", "figures", default="{}", help="Figures, as a JSON object or @FILE.")
@json_option
def attach(
    release: str, name: str, report: Path | None, digest: str | None, failed: bool, figures: str, as_json: bool
) -> None:
    """Attach evidence NAME, such as an evaluation's result. The report itself stays where it is."""
    if (report is None) == (digest is None):
        raise Invalid("Give the report as a file, or its digest.", hint="--report FILE or --digest SHA256")
    told = digest if report is None else hashlib.sha256(report.read_bytes()).hexdigest()
    body = {"name": name, "digest": told, "passed": not failed, "facts": read_json(figures)}
    answer = call("POST", f"/releases/{part(_id(release))}/evidence", body)
    show(answer, as_json, lambda one: click.echo(f"Attached {name} to the release {one['id']}."))


@releases.command("review")
@click.argument("release")
@click.option("--digest", help="The digest that you looked at; the present one if left out.")
@click.option("--failed", is_flag=True, help="The differences are not all right.")
@json_option
def review(release: str, digest: str | None, failed: bool, as_json: bool) -> None:
    """Say that you have read the differences (gate diff-reviewed)."""
    body = {"digest": digest or _digest(release), "passed": not failed}
    answer = call("POST", f"/releases/{part(_id(release))}/review", body)
    show(answer, as_json, lambda one: click.echo(f"Reviewed the release {one['id']}."))


@releases.command("approve")
@click.argument("release")
@click.option("--digest", help="The digest that you looked at; the present one if left out.")
@click.option("--comment", default="")
@json_option
def approve(release: str, digest: str | None, comment: str, as_json: bool) -> None:
    """Approve what somebody else proposed."""
    body = {"digest": digest or _digest(release), "comment": comment}
    show(call("POST", f"/releases/{part(_id(release))}/approve", body), as_json, _say)


@releases.command("reject")
@click.argument("release")
@click.option("--digest", help="The digest that you looked at; the present one if left out.")
@click.option("--comment", "--reason", required=True, help="Why.")
@json_option
def reject(release: str, digest: str | None, comment: str, as_json: bool) -> None:
    """Reject a proposal; one rejection ends it."""
    body = {"digest": digest or _digest(release), "comment": comment}
    show(call("POST", f"/releases/{part(_id(release))}/reject", body), as_json, _say)


def _command(verb: str, line: str) -> None:
    @releases.command(verb, help=line)
    @click.argument("release")
    @click.option("--reason", default="", help="Why; it stays in the history.")
    @json_option
    def run(release: str, reason: str, as_json: bool) -> None:  # pyright: ignore[reportUnusedFunction]: registered
        show(call("POST", f"/releases/{part(_id(release, verb))}/{verb}", {"reason": reason}), as_json, _say)


for _verb, _line in (
    ("start", "Begin an approved release: its first canary step, or all traffic where it has none."),
    ("advance", "Take a canary to its next step, if the minima of this one are met."),
    ("promote", "Give a canary all of the traffic, after its last step."),
    ("rollback", "Take a canary or an active release back, at once."),
    ("pause", "Keep a canary at its share."),
    ("resume", "Go on with a paused canary."),
    ("withdraw", "Take a proposal back before it begins."),
):
    _command(_verb, _line)


@click.group()
def approvals() -> None:
    """What waits for somebody's word."""


@approvals.command("list")
@click.option("--state", default="open", show_default=True, help="open, rejected, void, done, or all.")
@click.option("--kind", help="release or intent.")
@json_option
def list_approvals(state: str, kind: str | None, as_json: bool) -> None:
    """List requests for approval, oldest first."""
    query = {"state": None if state == "all" else state, "kind": kind}
    named = {} if as_json else _waiting_releases()
    show(
        _all("/approvals", query),
        as_json,
        lambda found: table(
            ("request", "about", "approvals", "state", "expires", "author"),
            [
                (
                    one["id"],
                    named.get(one["target"], one["target"]),
                    f"{_approved(one)} of {one['needed']}",
                    one["state"],
                    when(one["expires_at"]),
                    one["author"],
                )
                for one in found
            ],
            empty="Nothing waits for approval.",
            spare=("author", "request"),
        ),
    )


@approvals.command("show")
@click.argument("request")
@json_option
def show_approval(request: str, as_json: bool) -> None:
    """Show a request for approval with its decisions."""
    show(call("GET", f"/approvals/{part(request)}"), as_json, _print_request)


def _all(path: str, query: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = call("GET", path, query={**query, "after": after, "limit": 500})
        found += page["items"]
        after = page["next"]
        if after is None:
            return found


def _waiting_releases() -> dict[str, str]:
    """What people call the releases that wait, by what requests for approval call them."""
    found = [one for state in ("proposed", "approved") for one in _all("/releases", {"state": state})]
    return {f"release:{one['id']}": f"{one['prompt']}@{one['label']} -> version {one['number']}" for one in found}


def _id(ref: str, verb: str = "show") -> str:
    """The id of a release, given so or as PROMPT@LABEL: the one that is under way there, else the active one."""
    if ids.is_id(ref):
        return ref
    prompt, _, label = ref.partition("@")
    label = label or "production"
    found = {one["state"]: one["id"] for one in _all("/releases", {"prompt": prompt, "label": label})}
    wanted = ("canary", "paused", "active") if verb == "rollback" else (*_OPEN, "active")
    for state in wanted:
        if state in found:
            return str(found[state])
    raise NotFound(
        f"No release of {prompt}@{label} is {' or '.join(wanted)}.",
        hint="`ostinato releases list` shows those that there were.",
    )


def _digest(release: str) -> str:
    """The bundle as it stands, shown: who approves without naming a digest approves this one."""
    told = call("GET", f"/releases/{part(_id(release))}")["release"]
    click.echo(
        f"{told['prompt']}@{told['label']} -> version {told['number']}, bundle {told['digest'][:16]}: {told['reason']}",
        err=True,
    )
    return str(told["digest"])


def _say(one: Any) -> None:
    share = f" at {_share(one)}" if one["state"] in ("canary", "paused") else ""
    click.echo(f"The release {one['id']} of {one['prompt']}@{one['label']} is {one['state']}{share}.")


def _share(one: Any) -> str:
    steps = one["plan"]["steps"]
    running = one["state"] in ("canary", "paused") and 0 <= one["step"] < len(steps)
    return f"{100 * steps[one['step']]['share']:g} %" if running else "-"


def _print(told: Any) -> None:
    one = told["release"]
    facts(
        [
            ("release", one["id"]),
            ("label", f"{one['prompt']}@{one['label']}"),
            ("version", f"{one['base_number'] or '-'} -> {one['number']}"),
            ("state", f"{one['state']}{', in force' if told['in_force'] else ''}"),
            ("share", _share(one)),
            *([("waits", told["waits"])] if told.get("waits") else []),
            ("plan", _plan(one["plan"])),
            ("approvals", told["readiness"]["approvals"]),
            ("bundle", one["digest"]),
            ("proposed", f"{when(one['proposed_at'])} by {one['author']}: {one['reason']}"),
            ("ended", f"{when(one['ended_at'])}: {one['ended_why']}" if one["ended_at"] else "-"),
        ]
    )
    _section("Gates", ("gate", "passed", "what it says"), told["readiness"]["verdicts"], _verdict)
    if told["readiness"]["blockers"]:
        click.echo("\nWhat it lacks:")
        for blocker in told["readiness"]["blockers"]:
            click.echo(f"  {blocker}")
    _section("Guardrails", _READING, told["readings"], _reading)
    if told["readings"]:
        click.echo("Better by: points from 0 to 100; of cost and latency, per cent of what both arms of a pair took.")
    _section("Evidence", ("evidence", "passed", "digest", "by", "at"), told["evidence"], _evidence)
    _section("History", ("at", "what", "state", "by", "why"), told["history"], _event)


def _section(title: str, columns: tuple[str, ...], rows: list[Any], cells: Callable[[Any], tuple[object, ...]]) -> None:
    if rows:
        click.echo(f"\n{title}:")
        table(columns, [cells(row) for row in rows])


def _verdict(one: Any) -> tuple[object, ...]:
    return one["gate"], "yes" if one["passed"] else "no", one["message"]


_READING = ("guardrail", ">pairs", ">canary", ">control", ">better by", "95 %", "says")


def _amount(guardrail: str, value: float) -> str:
    """What an arm showed: money and time of an answer, else a share of them."""
    if guardrail == "cost":
        return f"${value / 1e9:.6f}"
    return f"{value / 1000:,.0f} ms" if guardrail == "latency" else f"{100 * value:.1f} %"


def _reading(one: Any) -> tuple[object, ...]:
    said = f"better (p = {one['p_benefit']:.2g})" if one["p_benefit"] <= one["level"] else "no harm found"
    if one["p_harm"] <= one["level"]:
        said = f"harm, accepted: {one['waived']}" if one["waived"] else f"harm (p = {one['p_harm']:.2g})"
    name = f"{one['guardrail']} on {one['slice']}" if one["slice"] else one["guardrail"]
    if not one["pairs"]:
        unpriced = one["guardrail"] == "cost" and not one["seen"]
        return name, 0, "-", "-", "-", "-", "no price is known" if unpriced else "nothing to compare yet"
    span = f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}"
    means = [_amount(one["guardrail"], one[arm]) for arm in ("canary", "control")]
    return name, one["pairs"], *means, f"{100 * one['difference']:+.1f}", span, said


def _evidence(one: Any) -> tuple[object, ...]:
    return one["name"], "yes" if one["passed"] else "no", one["digest"][:16], one["actor"], when(one["at"])


def _event(one: Any) -> tuple[object, ...]:
    return when(one["at"]), one["action"].partition(":")[2], one["state"], one["actor"], one["reason"] or "-"


def _print_request(one: Any) -> None:
    facts(
        [
            ("request", one["id"]),
            ("about", one["target"]),
            ("state", one["state"] + (f": {one['closed_why']}" if one["closed_why"] else "")),
            ("approvals", f"{_approved(one)} of {one['needed']}"),
            ("digest", one["digest"]),
            ("author", one["author"]),
            ("opened", when(one["opened_at"])),
            ("expires", when(one["expires_at"])),
        ]
    )
    _section("Decisions", ("at", "decision", "by", "comment"), one["decisions"], _decision)


def _decision(one: Any) -> tuple[object, ...]:
    return when(one["decided_at"]), one["decision"], one["principal"], one["comment"] or "-"


def _approved(one: Any) -> int:
    last = {decision["principal"]: decision["decision"] for decision in one["decisions"]}
    return sum(decision == "approve" for decision in last.values())


def _plan(plan: Any) -> str:
    if not plan["steps"]:
        return "at once"
    steps = [
        f"{100 * one['share']:g} %"
        + (f", {one['min_samples']} samples" if one["min_samples"] else "")
        + (f", {one['min_minutes']:g} min" if one["min_minutes"] else "")
        for one in plan["steps"]
    ]
    return " -> ".join([*steps, "100 %"]) + (", by itself" if plan["auto"] else "")


def _step(text: str) -> dict[str, Any]:
    parts = text.split(":")
    try:
        if len(parts) > 3:
            raise ValueError
        samples = int(parts[1]) if len(parts) > 1 and parts[1] else 0
        minutes = float(parts[2]) if len(parts) > 2 and parts[2] else 0.0
    except ValueError:
        raise Invalid(f"{text!r} is no step.", hint=f"Write {_STEP}, such as 5%:200:30.") from None
    return {"share": _fraction(parts[0]), "min_samples": samples, "min_minutes": minutes}


def _fraction(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise Invalid(f"{text!r} is no share.", hint="Write 5% or 0.05.") from None
