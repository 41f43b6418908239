"""What releases' calls come to, and what providers' prefix caches took off, from sums: however many rows there are.

Sums know neither single calls nor their raw usage: the prefix cache is worth its rate per target, at the prices in the
middle of the time; what was written for an hour counts as written for five minutes. Rows are exact, and are read where
they are few.
"""

from collections.abc import Iterable, Mapping

from ostinato.savings.model import Quality
from ostinato.savings.releasing import BEFORE, LEAST, Calls, Change, Sides, worst
from ostinato.signals import summing
from ostinato.signals.summing import Sum
from ostinato.traces import Filter, Ledger, PriceBook, Window
from ostinato.traces.cubes import ROLLUP, TRAFFIC
from ostinato.traces.rollup import Cell, value_of
from ostinato.wire.model import Usage

FEW = 10_000
"""Calls that are read one by one: some fifty milliseconds."""
_UNIT = 10_000
"""Tokens that a rate is taken from: below any threshold of long requests."""
_TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")


async def discount(ledger: Ledger, prices: PriceBook, window: Window, filters: Filter) -> int:
    """What prefix caches took off callers' requests, nano-dollars; below 0 where writing cost more."""
    equal = {name: getattr(filters, name) for name in filters.__struct_fields__ if getattr(filters, name)}
    _, whole = await ledger.cells(ROLLUP, window, equal, ("target",), details=False)
    _, own = await ledger.cells(ROLLUP, window, {**equal, "key_id": ""}, ("target",), details=False)
    at = (window.since + window.until) // 2
    return _discount(prices, whole.items(), at) - _discount(prices, own.items(), at)


def _discount(prices: PriceBook, cells: Iterable[tuple[tuple[str, ...], Cell]], at: int) -> int:
    found = 0.0
    for (*_, target), cell in cells:
        read, written = cell["cache_read"], cell["cache_write"]
        if read or written:
            provider, _, model = target.partition("/")
            plain, cheap, dear = (
                prices.price(provider, model, usage, at)
                for usage in (Usage(input=_UNIT), Usage(cache_read=_UNIT), Usage(cache_write=_UNIT))
            )
            if plain is not None and cheap is not None and dear is not None:
                found += (read * (plain - cheap) + written * (plain - dear)) / _UNIT
    return round(found)


async def told(ledger: Ledger, prices: PriceBook, change: Change, margin: float) -> Sides | None:
    """Both sides of a release; ``None``: rows must be read, as it is a version without a release."""
    if not change.base:
        return None
    return Sides(await sides(ledger, prices, change), await quality(ledger, change, margin))


async def quality(ledger: Ledger, change: Change, margin: float) -> Quality | None:
    """What signals say of a release and of the one before."""

    async def of(release: str, since: int) -> dict[tuple[str, str], Sum]:
        equal = {"project": change.project, "prompt": change.prompt, "release": release}
        window = Window(since, change.until)
        _, found = await ledger.cells(summing.LAYOUT, window, equal, ("source", "name"), details=False)
        return {(str(source), str(name)): one for (source, name), one in found.items()}

    return worst(await of(change.id, change.since), await of(change.base, change.began - BEFORE), margin)


async def sides(ledger: Ledger, prices: PriceBook, change: Change) -> tuple[Calls, Calls, bool] | None:
    """Calls of a release, those of the one before, and whether these were drawn at random; ``None``: rows must be read,
    as it is a version without a release, or as no price is known of some."""
    if not change.base:
        return None

    async def arms(release: str, since: int, until: int) -> dict[str, Cell]:
        equal = {"project": change.project, "prompt": change.prompt, "release": release, "purpose": ""}
        _, found = await ledger.cells(TRAFFIC, Window(since, until), equal, ("arm",))
        return {str(arm): cell for (arm,), cell in found.items()}

    new = await arms(change.id, change.since, change.until)
    new.pop("baseline", None)
    since, until = change.since, change.until
    old = {arm: cell for arm, cell in (await arms(change.base, since, until)).items() if arm in ("control", "baseline")}
    randomized = sum(map(_count, old.values())) >= LEAST
    if not randomized:
        since, until = change.began - BEFORE, change.began
        old = await arms(change.base, since, until)
    if not (_priced(new) and _priced(old)):
        return None

    async def calls(release: str, since: int, until: int, cells: Mapping[str, Cell]) -> Calls:
        whole = Cell()
        for cell in cells.values():
            whole.add(cell)
        off = 0
        if whole["cache_read"] or whole["cache_write"]:
            equal = {"project": change.project, "prompt": change.prompt, "release": release}
            _, found = await ledger.cells(ROLLUP, Window(since, until), equal, ("arm", "target"), details=False)
            off = _discount(
                prices, ((key, cell) for key, cell in found.items() if key[0] in cells), (since + until) // 2
            )
        n = _count(whole)
        if not n:
            return Calls()
        us = sum(value_of(bucket) * count for bucket, count in whole.detail.upstream.items())
        read = whole["input"] + whole["cache_read"] + whole["cache_write"]
        made = whole["output"] + whole["reasoning"]
        return Calls(n=n, input=read / n, output=made / n, cost=whole["cost"] / n, us=us / n, discount=off / n)

    return (
        await calls(change.id, change.since, change.until, new),
        await calls(change.base, since, until, old),
        randomized,
    )


def _count(cell: Cell) -> int:
    """Calls that a model answered."""
    return sum(cell.detail.upstream.values())


def _priced(cells: Mapping[str, Cell]) -> bool:
    return all(cell["priced"] >= cell["avoided"] + sum(cell[name] for name in _TOKENS) for cell in cells.values())
