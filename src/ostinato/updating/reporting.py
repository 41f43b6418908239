"""Who gains and who loses: figures of every prompt's comparison, as structs and as one HTML page."""

from collections.abc import Mapping, Sequence
from html import escape

import msgspec

from ostinato import evals, statistics
from ostinato.statistics import Interval
from ostinato.updating.model import Line, Report, Trial, Update, Use, Verdict

ALPHA = 0.05
_LOST = "lost"


class Measured(msgspec.Struct, frozen=True):
    """The experiment of one prompt, as far as it is done."""

    state: str
    old: evals.Figures | None
    new: evals.Figures | None
    comparison: evals.Comparison | None


def lines(update: Update, measured: Mapping[str, Measured]) -> tuple[Line, ...]:
    """A line for each prompt, the losers first. Holm's correction is over all that were compared."""
    uses = {one.prompt: one for one in update.uses}
    rows = [_line(one, uses.get(one.prompt), measured.get(one.experiment)) for one in update.trials]
    compared = [one for one in rows if one.p is not None]
    corrected = dict(
        zip([id(one) for one in compared], statistics.holm([one.p or 0.0 for one in compared]), strict=True)
    )
    judged = [_judged(one, corrected.get(id(one))) for one in rows]
    tried = {one.prompt for one in update.trials}
    for use in update.uses:
        if use.prompt not in tried:
            why = use.unknown or "It has not been compared yet: `ostinato updates run` does it."
            judged.append(
                Line(
                    prompt=use.prompt,
                    number=use.number,
                    dataset=use.dataset,
                    verdict="unknown",
                    why=why,
                    calls=use.calls,
                )
            )
    order: dict[Verdict, int] = {"loses": 0, "unknown": 1, "no difference shown": 2, "gains": 3}
    return tuple(sorted(judged, key=lambda one: (order[one.verdict], -one.calls, one.prompt)))


def _line(trial: Trial, use: Use | None, found: Measured | None) -> Line:
    line = Line(
        prompt=trial.prompt,
        number=trial.number,
        dataset="" if use is None else use.dataset,
        experiment=trial.experiment,
        verdict="unknown",
        calls=0 if use is None else use.calls,
    )
    if found is None:
        return msgspec.structs.replace(line, state=_LOST, why="Its experiment is not there any more.")
    old, new, pair = found.old, found.new, found.comparison
    return msgspec.structs.replace(
        line,
        state=found.state,
        pairs=0 if pair is None else pair.pairs,
        wins=0 if pair is None else pair.wins,
        losses=0 if pair is None else pair.losses,
        ties=0 if pair is None else pair.ties,
        old=None if old is None else old.mean,
        new=None if new is None else new.mean,
        difference=None if pair is None else pair.difference,
        p=None if pair is None or found.state != "done" else pair.p,
        cost=None if pair is None else pair.cost,
        latency_old_us=None if old is None else old.latency_p50_us,
        latency_new_us=None if new is None else new.latency_p50_us,
        failed_old=0 if old is None else sum(old.failed.values()),
        failed_new=0 if new is None else sum(new.failed.values()),
        why="" if pair is None else pair.why,
    )


def _judged(line: Line, p: float | None) -> Line:
    if line.p is None or p is None or line.difference is None:
        states = {"done": "No example was scored for both.", _LOST: line.why}
        why = line.why or states.get(line.state, f"Its experiment is {line.state}.")
        return msgspec.structs.replace(line, p=None, why=why)
    # What answers no more is no tie: scores are of answered examples only, so failures are judged beside them.
    fails = line.failed_new - line.failed_old
    silent = fails > 0 and statistics.mcnemar(line.failed_new, line.failed_old, "two-sided") <= ALPHA
    verdict: Verdict = "no difference shown"
    if silent or (p <= ALPHA and line.difference.mean < 0):
        verdict = "loses"
    elif p <= ALPHA and line.difference.mean > 0:
        verdict = "gains"
    why = f"{fails} more examples without an answer" if silent else line.why
    return msgspec.structs.replace(line, p=p, verdict=verdict, why=why)


def page(report: Report) -> str:
    """The report as one HTML page that needs nothing else."""
    update = report.update
    told = (
        f"{', '.join(update.old)} → {', '.join(update.names)}"
        if update.kind == "change"
        else f"{', '.join(update.names)} answers otherwise than it did"
    )
    rows = "".join(_row(one) for one in report.lines)
    arms = "".join(
        f"<tr><td>{escape(one.intent or '(none)')}</td><td>{escape(one.state)}</td>"
        f"<td>{update.rollout.steps[one.step].share:.0%}</td><td>{escape(one.why)}</td></tr>"
        for one in update.arms
    )
    canaries = (
        f"<h2>Canaries</h2><table><tr><th>intent<th>state<th>share<th>why</tr>{arms}</table>" if update.arms else ""
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Change of models</title><style>"
        "body{font:15px system-ui;margin:2rem auto;max-width:72rem;padding:0 1rem}table{border-collapse:collapse}"
        "td,th{padding:.3rem .7rem;border-bottom:1px solid #8884;text-align:left}.loses{color:#b00}.gains{color:#070}"
        f"</style><h1>{escape(update.alias)}</h1><p>{escape(told)}. {escape(summary(report.lines))}</p>"
        "<table><tr><th>prompt<th>verdict<th>old<th>new<th>difference<th>wins / losses / ties<th>p (Holm)"
        f"<th>cost per answer<th>median latency<th>why</tr>{rows}</table>{canaries}"
        "<p>Measured on the open part <code>dev</code> of each dataset; the sealed holdout takes no part. Intervals "
        f"hold at 95 %; p is two-sided and corrected for {sum(one.p is not None for one in report.lines)} prompts.</p>"
    )


def summary(found: Sequence[Line]) -> str:
    """How many gain, lose, and are unknown."""
    count = {name: sum(one.verdict == name for one in found) for name in ("loses", "gains", "unknown")}
    rest = len(found) - sum(count.values())
    return f"{count['gains']} gain, {count['loses']} lose, {rest} show no difference, {count['unknown']} are unknown."


def _row(one: Line) -> str:
    cost = "-" if one.cost is None else f"{one.cost / 1e9:+.6f} $"
    times = (
        "-"
        if one.latency_old_us is None or one.latency_new_us is None
        else f"{one.latency_old_us / 1e3:.0f} → {one.latency_new_us / 1e3:.0f} ms"
    )
    cells = (
        f"{one.prompt}@{one.number}",
        one.verdict,
        _told(one.old),
        _told(one.new),
        _told(one.difference),
        f"{one.wins} / {one.losses} / {one.ties}",
        "-" if one.p is None else f"{one.p:.3g}",
        cost,
        times,
        one.why,
    )
    kind = one.verdict if one.verdict in ("loses", "gains") else ""
    return f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _told(one: Interval | None) -> str:
    return "-" if one is None else f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})"
