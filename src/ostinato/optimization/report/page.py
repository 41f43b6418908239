"""The page: self-contained, without scripts, with everything escaped that came from anywhere."""

import base64
import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from ostinato.core import money
from ostinato.optimization.model import Candidate
from ostinato.optimization.report import charts, figures
from ostinato.optimization.report.charts import Bar, Dot, Row
from ostinato.optimization.report.style import STYLE
from ostinato.optimization.run import WORDS, Detail, Run

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CSP = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
"""What the page needs of a browser: its own style, and nothing else."""

_DEEPEST = 40
_MOST = 300
"""Candidates that the page lists."""


def page(detail: Detail, *, texts: bool = True) -> str:
    """One self-contained HTML page. ``texts``: whether it shows prompts, which may hold examples."""
    run = detail.run
    sections = [
        _head(detail),
        _verdict(detail),
        _forest(detail),
        _difference(detail, texts),
        _samples(detail) if texts else "",
        _learning(detail),
        _frontier(detail),
        _waterfall(detail),
        _lineage(detail),
        _refused(detail),
        _asked(run),
    ]
    title = escape(f"{run.prompt}@{run.label}: optimization run")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="content-security-policy" content="{escape(CSP)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


# --- sections -----------------------------------------------------------------------------------------------------


def _head(detail: Detail) -> str:
    run, spent = detail.run, detail.spent
    dollars = f"${money.to_dollars(spent.nano)}" + (" and more: some prices are unknown" if spent.unpriced else "")
    facts = [
        ("run", run.id),
        ("prompt", f"{run.prompt}@{run.label}, version {run.base_number}"),
        ("model", f"{run.alias} ({', '.join(run.plan.targets)})"),
        ("dataset", f"{run.dataset}, version {run.dataset_number}: {_counts(run.plan.counts)}"),
        ("spent", f"{spent.calls:,} calls, {spent.tokens:,} tokens, {dollars}"),
        ("began", _when(run.created_at)),
        ("ended", _when(run.ended_at)),
        ("findings", run.digest or "not whole yet"),
    ]
    if run.number is not None:
        facts.append(("new version", f"{run.number}" + (f", release {run.release}" if run.release else "")))
    kind = {"proposed": "good", "failed": "bad", "refused": "plain"}.get(run.state, "plain")
    why = f"<p>{escape(_sentence(run.why))}</p>" if run.why else ""
    return (
        f"<header><h1>{escape(run.prompt)}</h1>"
        f'<p class="state {kind}">The run {escape(WORDS[run.state])}.</p>{why}{_facts(facts)}</header>'
    )


def _verdict(detail: Detail) -> str:
    gate = figures.decision(detail, "gate")
    if gate is None:
        headroom = figures.decision(detail, "headroom")
        reason = f"<p>{escape(str(headroom.get('reason', '')))}</p>" if headroom else ""
        return _section("Decision", f"<p>No candidate came before the gate.</p>{reason}")
    names = _names(detail.candidates)
    rows: list[Sequence[str]] = []
    for proof in gate.get("proofs", ()):
        for ruling in proof.get("rulings", ()):
            rows.append((names.get(str(proof["id"]), str(proof["id"])), *_ruling(ruling)))
    rows += [("whole run", *_ruling(one)) for one in gate.get("rulings", ())]
    review = figures.decision(detail, "review")
    if review is not None:
        rows.append(("whole run", "review", "passed" if review["passed"] else "failed", _flat(review)))
    sentence = escape(str(gate.get("sentence", "")))
    return _section(
        "Decision", f"<p><strong>{sentence}</strong></p>{_table(('finalist', 'rule', 'says', 'why'), rows)}"
    )


def _ruling(one: Mapping[str, Any]) -> tuple[str, str, str]:
    says = {True: "passed", False: "failed"}.get(one["passed"], "not asked")
    return str(one["rule"]), says, str(one["sentence"])


def _forest(detail: Detail) -> str:
    names = _names(detail.candidates)
    proofs = (figures.decision(detail, "gate") or {}).get("proofs", ())
    rows = [
        Row(
            names.get(str(one["id"]), str(one["id"])),
            100 * one["gain"],
            100 * one["low"],
            100 * one["high"],
            bool(one["passed"]),
            f"{100 * one['gain']:+.1f}, p = {one['adjusted']:.2g}",
        )
        for one in proofs
    ]
    if not rows:
        return ""
    shown = [
        (
            names.get(str(one["id"]), str(one["id"])),
            f"{100 * one['base']:.1f} %",
            f"{100 * one['mean']:.1f} %",
            f"{100 * one['gain']:+.1f} ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})",
            f"{one['wins']} / {one['losses']} / {one['ties']}",
            str(one["test"]),
            f"{one['p']:.2g}",
            f"{one['adjusted']:.2g}",
        )
        for one in proofs
    ]
    columns = ("finalist", "incumbent", "finalist's", "gain (95 %)", "better / worse / same", "test", "p", "p (Holm)")
    return _section("On the sealed examples", charts.forest(rows) + _table(columns, shown))


def _difference(detail: Detail, texts: bool) -> str:
    name = figures.chosen(detail)
    by = {one.id: one for one in detail.candidates}
    base, new = by.get(detail.run.base_digest[:16]), by.get(name)
    if base is None or new is None or base.id == new.id:
        return ""
    if not texts:
        return _section(
            "What changed", "<p>Prompts may hold examples: seeing them takes <code>datasets:text</code>.</p>"
        )
    lines = difflib.unified_diff(
        figures.text_of(base.content).splitlines(), figures.text_of(new.content).splitlines(), "incumbent", "new", n=3
    )
    told: list[str] = []
    for line in lines:
        kind = {"+": "add", "-": "del", "@": "at"}.get(line[:1], "")
        told.append(f'<span class="{kind}">{escape(line.rstrip())}</span>')
    return _section("What changed", f"<p>{escape(new.edit)}</p><pre>{chr(10).join(told)}</pre>")


def _samples(detail: Detail) -> str:
    """Some answers to open examples."""
    kinds = {"won": "better", "lost": "worse", "said": "nothing new"}
    rows = [(kinds[one.kind], one.asked, one.reference, one.incumbent, one.new or "-") for one in detail.samples]
    if not rows:
        return ""
    columns = ("new prompt", "asked", "right", "incumbent says", "new one says")
    note = "<p>Open examples; the sealed ones are shown to nobody.</p>"
    return _section("Some answers", _table(columns, rows) + note)


def _learning(detail: Detail) -> str:
    best, incumbent = figures.learning(detail)
    drawn = charts.curve(
        [("incumbent", "base", incumbent), ("best", "champion", best)], "measurements", "mean score, %"
    )
    return _section("Learning curve", drawn) if drawn else ""


def _frontier(detail: Detail) -> str:
    run, chosen = detail.run, figures.chosen(detail)
    found = [one for one in figures.tried(detail) if one.mean is not None]
    priced = any(one.nano for one in found)
    dots = [
        Dot(
            one.nano / 1000 if priced else one.tokens,
            100 * (one.mean or 0.0),
            "incumbent" if one.candidate.id == run.base_digest[:16] else one.candidate.edit or one.candidate.id,
            "base"
            if one.candidate.id == run.base_digest[:16]
            else "champion"
            if one.candidate.id == chosen
            else "other",
        )
        for one in found
    ]
    axis = "micro-dollars per answer" if priced else "tokens per answer"
    drawn = charts.scatter(dots, axis, "mean score, %")
    return _section("Quality and cost, on the open examples", drawn) if drawn else ""


def _waterfall(detail: Detail) -> str:
    found = figures.took(detail)
    priced = any(one.nano for one in found)
    bars = [
        Bar(
            figures.PHASES[one.stage],
            one.nano / 1e9 if priced else one.tokens,
            f"{one.calls:,} calls, {one.tokens:,} tokens" + (f", ${money.to_dollars(one.nano)}" if priced else ""),
        )
        for one in found
    ]
    drawn = charts.waterfall(bars, "dollars" if priced else "tokens")
    cached, asked = sum(one.cached for one in found), sum(one.tokens for one in found)
    share = (
        f"<p>{100 * cached / asked:.0f} % of the tokens came from the provider's prefix cache.</p>" if cached else ""
    )
    return _section("What it took", drawn + share) if drawn else ""


def _lineage(detail: Detail) -> str:
    known = {one.candidate.id: one for one in figures.tried(detail)}
    children: dict[str, list[Candidate]] = {}
    roots: list[Candidate] = []
    for one in detail.candidates[:_MOST]:
        parent = next((name for name in one.parents if name in known), "")
        (children.setdefault(parent, []) if parent else roots).append(one)
    chosen = figures.chosen(detail)

    def tree(found: Iterable[Candidate], depth: int) -> str:
        items: list[str] = []
        for one in found:
            told = known[one.id]
            mean = f"{100 * told.mean:.1f} % of {told.n}" if told.mean is not None else "not scored"
            mark = ' class="champion"' if one.id == chosen else ""
            name = "incumbent" if one.origin == "base" else one.edit or one.origin
            below = tree(children.get(one.id, ()), depth + 1) if depth < _DEEPEST else ""
            items.append(
                f"<li><span{mark}>{escape(name)}</span> <small>{escape(one.id[:8])}, {mean}</small>{below}</li>"
            )
        return f"<ul>{''.join(items)}</ul>" if items else ""

    return _section("Lineage", tree(roots, 0)) if roots else ""


def _refused(detail: Detail) -> str:
    names = _names(detail.candidates)
    rows = [(names.get(one, one), why) for one, why in figures.left(detail).items()]
    rows += [
        (str(one["edit"]), f"Came to no candidate. {one['reason']}")
        for one in (figures.decision(detail, "search") or {}).get("refused", ())
    ]
    return _section("Refused", _table(("candidate", "why"), rows[:_MOST])) if rows else ""


def _asked(run: Run) -> str:
    plan, wish = run.plan, run.wish
    smallest = f"{100 * plan.smallest_gain:.1f} points" if plan.smallest_gain is not None else "none"
    facts = [
        ("scorers", ", ".join(f"{one.name or one.kind} (weight {one.weight:g})" for one in wish.scorers)),
        ("chance of error", f"{100 * plan.alpha:g} %"),
        ("smallest gain that could be proven", smallest),
        ("parts that must not lose", ", ".join(plan.slices) or "none declared"),
        ("seed", str(wish.seed)),
        ("planned", f"about {plan.about or plan.calls:,} calls (at most {plan.calls:,}), {plan.tokens:,} tokens"),
        ("started by", run.started_by),
    ]
    notices = "".join(f"<li>{escape(one.level)}: {escape(one.message)}</li>" for one in plan.notices)
    return _section("What was asked", _facts(facts) + (f"<ul>{notices}</ul>" if notices else ""))


# --- pieces -------------------------------------------------------------------------------------------------------


def _names(candidates: Sequence[Candidate]) -> dict[str, str]:
    return {one.id: one.edit or ("incumbent" if one.origin == "base" else one.id) for one in candidates}


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inner}</section>"


def _facts(pairs: Sequence[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs) + "</dl>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _counts(counts: Mapping[str, int]) -> str:
    words = {"train": "to learn from", "dev": "to try on", "holdout": "sealed"}
    return ", ".join(f"{count:,} {words.get(name, name)}" for name, count in counts.items())


def _flat(body: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in body.items() if isinstance(value, str | int | float))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _when(micros: int | None) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if micros else "-"
