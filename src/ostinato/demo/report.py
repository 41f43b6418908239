"""From outcomes to one table."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from rich.table import Table

from ostinato.demo.replay import Outcome, Tokens
from ostinato.demo.traffic import Level, repeats

DASH: Final = "-"


class Summary(msgspec.Struct, frozen=True):
    """One level's figures. Times in milliseconds, money in US dollars; ``None``: nothing to measure."""

    level: str
    exponent: float
    requests: int
    repeats: int
    """Requests that ask what was asked before: the most that can be hits."""
    hits: int
    joined: int
    """Requests that were answered by another's call, under way at the time."""
    errors: int
    accuracy: float
    accuracy_of_hits: float | None
    hit_p50: float | None
    hit_p99: float | None
    gateway_hit_p50: float | None
    miss_p50: float | None
    miss_p99: float | None
    spent_tokens: Tokens
    saved_tokens: int
    spent: float
    saved: float


def summarize(level: Level, outcomes: Sequence[Outcome]) -> Summary:
    """The figures of one level."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    hits = [outcome for outcome in answered if outcome.hit]
    joined = [outcome for outcome in answered if outcome.joined]
    misses = [outcome for outcome in answered if not (outcome.hit or outcome.joined)]
    hit_times = [outcome.total_ms for outcome in hits]
    miss_times = [outcome.total_ms for outcome in misses]
    inside = [outcome.gateway_ms for outcome in hits if outcome.gateway_ms is not None]
    return Summary(
        level=level.name,
        exponent=level.exponent,
        requests=len(outcomes),
        repeats=repeats([outcome.ask for outcome in outcomes]),
        hits=len(hits),
        joined=len(joined),
        errors=len(outcomes) - len(answered),
        accuracy=sum(outcome.right for outcome in outcomes) / max(len(outcomes), 1),
        accuracy_of_hits=sum(outcome.right for outcome in hits) / len(hits) if hits else None,
        hit_p50=percentile(hit_times, 50),
        hit_p99=percentile(hit_times, 99),
        gateway_hit_p50=percentile(inside, 50),
        miss_p50=percentile(miss_times, 50),
        miss_p99=percentile(miss_times, 99),
        spent_tokens=sum((outcome.tokens for outcome in misses), Tokens()),
        saved_tokens=sum(outcome.tokens.total for outcome in (*hits, *joined)),
        spent=math.fsum(outcome.cost for outcome in answered),
        saved=math.fsum(outcome.saved for outcome in answered),
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` percent do not exceed (nearest rank); ``None`` of nothing."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(len(values) * share / 100) - 1, 0)]


_ROWS: Final[tuple[tuple[str, Callable[[Summary], str]], ...]] = (
    ("Zipf exponent (1)", lambda s: f"{s.exponent:g}"),
    ("requests", lambda s: f"{s.requests:,}"),
    ("  that repeat another", lambda s: _share(s.repeats, s.requests)),
    ("exact hits", lambda s: _share(s.hits, s.requests)),
    ("joined another's call (2)", lambda s: _share(s.joined, s.requests)),
    ("accuracy", lambda s: f"{s.accuracy:.1%}"),
    ("  of the hits", lambda s: DASH if s.accuracy_of_hits is None else f"{s.accuracy_of_hits:.1%}"),
    ("hit, p50 / p99 ms", lambda s: f"{milliseconds(s.hit_p50)} / {milliseconds(s.hit_p99)}"),
    ("  inside the gateway, p50", lambda s: milliseconds(s.gateway_hit_p50)),
    ("miss, p50 / p99 ms", lambda s: f"{milliseconds(s.miss_p50)} / {milliseconds(s.miss_p99)}"),
    ("tokens spent", lambda s: f"{s.spent_tokens.total:,}"),
    ("  input / cached / output", lambda s: _buckets(s.spent_tokens)),
    ("tokens saved", lambda s: f"{s.saved_tokens:,}"),
    ("money spent", lambda s: _dollars(s.spent)),
    ("money saved", lambda s: _dollars(s.saved)),
    ("  share saved", lambda s: _share_of_money(s.saved, s.spent)),
)


def table(summaries: Sequence[Summary]) -> Table:
    """One column a level."""
    made = Table(title="What came of it", title_justify="left", title_style="bold", pad_edge=False)
    made.add_column("level of repetition")
    for summary in summaries:
        made.add_column(summary.level, justify="right")
    for name, cell in _ROWS:
        made.add_row(name, *(cell(summary) for summary in summaries))
    if any(summary.errors for summary in summaries):
        made.add_row("errors", *(str(summary.errors) for summary in summaries), style="red")
    return made


LEGEND: Final = (
    "(1) How uneven the draw is: the higher, the more often the same few questions come.",
    "(2) Asked while the same question was under way already: one call of the model answered both.",
)


def conclusion(summaries: Sequence[Summary]) -> str:
    """What the table comes to, in one sentence."""
    most = summaries[-1]
    kept = (most.hits + most.joined) / most.requests if most.requests else 0.0
    told = f"With {most.level} repetition {kept:.0%} of the requests needed no call of the model"
    if most.saved + most.spent:
        told += f", which saved {_share_of_money(most.saved, most.spent)} of the money"
    if most.hit_p50 and most.miss_p50:
        told += f"; a hit took {milliseconds(most.hit_p50)} ms in the median, a miss {milliseconds(most.miss_p50)} ms"
    return told + "."


def as_json(model: str, seconds: float, summaries: Sequence[Summary], story: object) -> bytes:
    """The same figures for programs."""
    whole: dict[str, Any] = {"model": model, "seconds": round(seconds, 1), "levels": summaries, "loop": story}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.0%})" if whole else DASH


def milliseconds(value: float | None) -> str:
    """As tables show it; ``-`` of nothing."""
    if value is None:
        return DASH
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _buckets(tokens: Tokens) -> str:
    return f"{tokens.input:,} / {tokens.cache_read:,} / {tokens.output:,}"


def _dollars(amount: float) -> str:
    return f"${amount:.6f}"


def _share_of_money(saved: float, spent: float) -> str:
    return f"{saved / (saved + spent):.0%}" if saved + spent else DASH
