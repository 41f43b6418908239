"""An assessment as one page of HTML that needs nothing else. Everything that comes from files is escaped."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from ostinato.assessing.model import Assessment, Family, Simulated

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;width:100%}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{background:#dbe7f5;height:.8rem;min-width:1px}
small,.quiet{color:#666}
@media (prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181b}th,td{border-color:#333}
.bar{background:#2f5d8a}
small,.quiet{color:#999}}
"""
_SCOPES = {"user": "each user alone", "project": "shared by all"}


def page(assessment: Assessment) -> str:
    """The page: files, hit rates, money, families with their decisions, and what the files do not tell."""
    parts = [_files(assessment)]
    if assessment.requests:
        parts += [_rates(assessment), _money(assessment), _families(assessment), _unknown(assessment)]
    else:
        parts.append("<p>Nothing could be replayed.</p>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Ostinato: an assessment</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>What Ostinato would be worth</h1>{''.join(parts)}</body></html>\n"
    )


def _files(found: Assessment) -> str:
    rows = [
        (
            escape(one.name),
            escape(", ".join(one.formats) or "-"),
            f"{one.read:,}",
            f"{one.skipped:,}",
            f"{one.without_answer:,}",
            "<br>".join([escape(one.note)] * bool(one.note) + [f"{r.line}: {escape(r.why)}" for r in one.reasons]),
        )
        for one in found.files
    ]
    return "<h2>Files</h2>" + _table(("file", "format", ">requests", ">skipped", ">without answer", "why"), rows)


def _rates(found: Assessment) -> str:
    rates = found.rates
    whole = _table(
        ("policy", ">hits", ">of requests", ">interval", ">saves", ""),
        [_rate(one) for one in (rates.declared, *rates.others)],
    )
    near = "not known" if rates.near is None else f"{_percent(rates.near.value)} at most"
    pairs = [
        ("asked before, by the same end user", _percent(rates.ever.value)),
        ("asked before, by anybody", _percent(rates.ever_anybody.value)),
        ("new, but much like another", near),
        *((f"never cached: {escape(why)}", f"{n:,}") for why, n in found.not_eligible.items()),
        *((f"answer not kept: {escape(why)}", f"{n:,}") for why, n in found.not_kept.items()),
    ]
    if found.forgotten:
        pairs.append(("requests forgotten for want of room", f"{found.forgotten:,}"))
    return f"<h2>Hit rates to expect</h2>{whole}{_table(('', '>'), pairs)}"


def _rate(one: Simulated) -> tuple[str, ...]:
    name = one.name if one.ttl is None else f"{_SCOPES[one.scope]}, kept {one.name.partition(', ')[2]}"
    interval = f"{100 * one.rate.low:.1f} to {_percent(one.rate.high)}"
    bar = f'<div class="bar" style="width:{100 * one.rate.value:.1f}%"></div>'
    return escape(name), f"{one.hits:,}", _percent(one.rate.value), interval, _dollars(one.saved), bar


def _money(found: Assessment) -> str:
    money = found.money
    span = "not recorded" if found.since is None else f"{_when(found.since)} to {_when(found.until)}"
    share = "" if money.share_saved is None else f" ({_percent(money.share_saved)})"
    pairs = [
        ("time", span),
        ("requests", f"{found.requests:,}"),
        ("spent", _dollars(money.spent)),
        ("saved by the cache, as declared", _dollars(money.saved) + share),
        ("saved in thirty days", "not known" if money.per_month is None else _dollars(money.per_month)),
        ("tokens with a price", _percent(money.coverage)),
    ]
    if money.unpriced:
        pairs.append(("models without a price", escape(", ".join(money.unpriced))))
    return "<h2>Money</h2>" + _table(("", ">"), pairs)


def _families(found: Assessment) -> str:
    rows = [_family(one) for one in found.families]
    heads = ("family", "model", ">requests", ">of cost", ">repeats", ">stable", "decision")
    return f"<h2>Families</h2><p>{found.families_known:,} altogether.</p>" + _table(heads, rows)


def _family(one: Family) -> tuple[str, ...]:
    figures, verdict = one.figures, one.verdict
    saving = verdict.saving
    told = [f"<b>{escape(verdict.choice)}</b>"]
    if saving.expected:
        told[0] += f" ${saving.expected:,.2f} a month (${saving.low:,.2f} to ${saving.high:,.2f})"
    told += [escape(reason.text) for reason in verdict.reasons]
    if one.sample:
        told.append(f'<span class="quiet">{escape(one.sample)}</span>')
    return (
        f"<code>{escape(figures.family)}</code>",
        escape(one.model),
        f"{one.requests:,}",
        _percent(one.share),
        _percent(figures.repetition.value),
        "-" if figures.stability is None else _percent(figures.stability.value),
        "<br>".join(told),
    )


def _unknown(found: Assessment) -> str:
    items = "".join(
        f"<li><b>{escape(one.name)}</b> ({one.n:,} of {found.requests:,}): {escape(one.text)}</li>"
        for one in found.unknown
    )
    return f"<h2>What these files do not tell</h2><ul>{items}</ul>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; columns that begin with ``>`` are numbers."""
    classes = [' class="n"' if head.startswith(">") else "" for head in heads]
    top = "".join(f"<th{kind}>{head.lstrip('>')}</th>" for kind, head in zip(classes, heads, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(classes, row, strict=True))}</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _dollars(nano: int) -> str:
    return f"${nano / 1e9:,.2f}" if nano >= 1_000_000_000 or not nano else f"${nano / 1e9:,.6f}"


def _when(micros: int | None) -> str:
    return datetime.fromtimestamp((micros or 0) / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
