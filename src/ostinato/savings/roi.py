"""Return on investment: with and without caching, at each level of optimization, and what budgets cost and buy."""

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.intents.model import Budgets as Declared
from ostinato.intents.model import Intent
from ostinato.savings import tables
from ostinato.savings.model import Account, HoldOut, Quality
from ostinato.savings.releasing import Effect
from ostinato.traces import Stats, Window
from ostinato.traces.model import HIT_KINDS
from ostinato.traces.rollup import Cell, bucket_of

_DAY = 86_400_000_000
WORKFLOW = (
    "resolution_rate",
    "containment",
    "time_saved",
    "rework",
    "cost_per_success",
    "first_pass_success",
)


class Workflow(msgspec.Struct, frozen=True):
    """A figure of how interactions ended; ``value`` ``None``: nobody has told."""

    value: float | None
    unit: str = ""
    n: int = 0


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One way of answering, per request. ``None``: cannot be told."""

    name: str
    cost: float | None
    """Nano-dollars a request."""
    tokens: float | None
    latency_us: float | None
    """Of calls to models, upstream."""
    quality: Quality | None = None
    """Against the level before it."""
    n: int = 0
    note: str = ""


class Payback(msgspec.Struct, frozen=True, kw_only=True):
    """When optimization has paid for itself."""

    spent: int
    """Optimizer, evaluation and judges, nano-dollars in the window."""
    saved_per_day: float
    """By released prompts whose quality holds, less what others cost more."""
    days: float | None
    """``None``: never at this rate."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``ostinato roi``."""

    account: Account
    holdout: HoldOut
    caching: tuple[Level, ...]
    """Without and with the cache, same traffic."""
    levels: tuple[Level, ...]
    """No optimization, shorter prompts, the released prompt; over the calls of prompts that were released anew."""
    hit_rate: float | None
    latency: dict[str, float | None]
    """p50 of hits and of misses, microseconds: never pooled."""
    error_rate: float | None
    workflow: dict[str, Workflow]
    payback: Payback


class BudgetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the budget of an intent did."""

    intent: str
    project: str
    declared: Declared
    requests: int
    """Calls of the intent in the window; answers from cache spend no budget and are not among them."""
    cut: int
    """Requests that reached the cache's second look-up, or a model, with a shorter answer than they asked for."""
    refused: int
    slow: int | None
    """Answered calls that took longer than ``latency_ms``, to within 5 % of it; ``None``: there is no such budget."""
    ended_short: int
    """Answers that ended because their length was used up, whoever set it."""
    tokens: int
    cost: int
    saved: int | None = None
    """Nano-dollars; ``None``: nobody knows what a cut answer would have cost."""
    quality: str = "missing: needs scored answers with and without the budget"


def report(
    account: Account, stats: Stats, effects: Sequence[Effect], estimate: HoldOut, workflow: Mapping[str, Workflow]
) -> Report:
    """All of it, side by side."""
    served = stats.requests - stats.refused
    tokens = sum(stats.tokens.values())
    hit, miss = stats.latency["hit"], stats.latency["miss"]
    caching = (
        Level(
            name="without the cache",
            cost=stats.counterfactual / served if served else None,
            tokens=(tokens + stats.tokens_avoided) / served if served else None,
            latency_us=miss.p50,
            n=served,
            note="every request at what its call costs; latency of misses, p50",
        ),
        Level(
            name="with the cache",
            cost=stats.cost / served if served else None,
            tokens=tokens / served if served else None,
            latency_us=_mean(hit.p50, hit.count, miss.p50, miss.count),
            n=served,
            note="latency: p50 of hits and misses, weighed by their numbers",
        ),
    )
    return Report(
        account=account,
        holdout=estimate,
        caching=caching,
        levels=_levels(effects),
        hit_rate=stats.hit_rate,
        latency={"hit": hit.p50, "miss": miss.p50},
        error_rate=stats.errors / stats.requests if stats.requests else None,
        workflow={name: workflow.get(name, Workflow(None)) for name in {**dict.fromkeys(WORKFLOW), **workflow}},
        payback=payback(account),
    )


def _mean(first: int | None, m: int, second: int | None, n: int) -> float | None:
    if not m + n:
        return None
    return ((first or 0) * m + (second or 0) * n) / (m + n)


def _levels(effects: Sequence[Effect]) -> tuple[Level, ...]:
    """Weighed by the calls of the new releases."""
    usable = [one for one in effects if one.new.n and one.old.n]
    n = sum(one.new.n for one in usable)
    if not n:
        return ()
    old_cost = sum(one.old.cost * one.new.n for one in usable) / n
    new_cost = sum(one.new.cost * one.new.n for one in usable) / n
    shorter = sum(one.shorter for one in usable) / n
    old_out = sum(one.old.output * one.new.n for one in usable) / n
    new_in = sum(one.new.input * one.new.n for one in usable) / n
    worst = min((one.quality for one in usable if one.quality is not None), key=lambda one: one.low, default=None)
    held = sum(one.counts for one in usable)
    return (
        Level(
            name="no optimization",
            cost=old_cost,
            tokens=sum((one.old.input + one.old.output) * one.new.n for one in usable) / n,
            latency_us=sum(one.old.us * one.new.n for one in usable) / n,
            n=sum(one.old.n for one in usable),
            note="calls of the releases before",
        ),
        Level(
            name="shorter prompts",
            cost=old_cost - shorter,
            tokens=new_in + old_out,
            latency_us=None,
            n=n,
            note="worked out: the new prompts' input, the old answers' length and price",
        ),
        Level(
            name="released prompt",
            cost=new_cost,
            tokens=sum((one.new.input + one.new.output) * one.new.n for one in usable) / n,
            latency_us=sum(one.new.us * one.new.n for one in usable) / n,
            quality=worst,
            n=n,
            note=f"{held} of {len(usable)} releases are shown to hold quality; the worst is given",
        ),
    )


def payback(account: Account) -> Payback:
    """What was spent on optimization, beside what released prompts save a day: as the account counts it, losses too."""
    spent = -sum(line.nano or 0 for line in account.lines if line.name in ("optimizer", "evaluation", "judge"))
    days = (account.window.until - account.window.since) / _DAY
    saved = sum(line.nano or 0 for line in account.lines if line.release)
    rate = saved / days if days else 0.0
    return Payback(spent=spent, saved_per_day=rate, days=spent / rate if rate > 0 else None)


def has_budget(declared: Declared) -> bool:
    """Whether anything is limited."""
    return any(value is not None for value in msgspec.structs.asdict(declared).values())


def touches(
    connection: sa.Connection, keys: Sequence[str], window: Window, projects: Sequence[str]
) -> dict[tuple[str, str, str], int]:
    """How many requests budgets touched, by intent, project and effect; by the hour. From ``traces``; blocking."""
    touch = tables.touch
    hours = sa.select(touch.c.intent, touch.c.project, touch.c.effect, sa.func.sum(touch.c.count)).where(
        touch.c.intent.in_(keys),
        touch.c.hour >= window.since - window.since % 3_600_000_000,
        touch.c.hour < window.until,
        touch.c.project.in_(projects),
    )
    grouped = hours.group_by(touch.c.intent, touch.c.project, touch.c.effect)
    return {(row[0], row[1], row[2]): int(row[3]) for row in connection.execute(grouped)}


def budget(
    intent: Intent,
    projects: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
    touched: Mapping[tuple[str, str, str], int],
    project: str = "",
) -> BudgetReport:
    """What one intent's budget did in some projects, told of ``project``. ``cells``: sums by intent and project."""
    whole = Cell()
    for one in projects:
        if (found := cells.get((intent.key, one))) is not None:
            whole.add(found)
    limit = intent.declared.budgets.latency_ms
    longest = None if limit is None else bucket_of(round(limit * 1_000))
    misses = whole.detail.miss
    return BudgetReport(
        intent=intent.key,
        project=project or intent.project,
        declared=intent.declared.budgets,
        requests=whole["requests"] - sum(whole[f"hit_{kind}"] for kind in HIT_KINDS),
        cut=sum(touched.get((intent.key, one, "cut"), 0) for one in projects),
        refused=sum(touched.get((intent.key, one, "refused"), 0) for one in projects),
        slow=None if longest is None else sum(count for bucket, count in misses.items() if bucket > longest),
        ended_short=whole["short"],
        tokens=sum(whole[name] for name in ("input", "cache_read", "cache_write", "output", "reasoning")),
        cost=whole["cost"],
    )
