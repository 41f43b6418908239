"""What verdicts bring about elsewhere: entries of the cache kept or withdrawn, and signals of quality."""

from collections.abc import Sequence

import msgspec

from ostinato import wire
from ostinato.cache import ResponseCache
from ostinato.cache.model import EntryMeta, Selector
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.reviews.model import Held, Item, Verdict
from ostinato.reviews.reviews import Reviews
from ostinato.signals import Signal, Signals
from ostinato.wire.model import Answer, Json

_VALUES = {"approve": 1.0, "edit": 0.5, "reject": 0.0}


def follow(reviews: Reviews, cache: ResponseCache, signals: Signals) -> None:
    """Have verdicts do what they mean for ``cache`` and ``signals``."""
    clock = reviews.clock

    async def admitted(held: Held, answer: Answer) -> None:
        admit(cache, clock, held, answer)

    async def withdrawn(item: Item) -> None:
        selector = Selector(org=item.org, project=item.project, entry=item.entry)
        await cache.invalidate(selector, dry_run=False)

    def told(item: Item, said: Sequence[Verdict]) -> None:
        signal = signal_of(item, said, clock.now())
        if signal is not None:
            signals.record([signal])

    reviews.admit, reviews.quarantine, reviews.told = admitted, withdrawn, told


def admit(cache: ResponseCache, clock: Clock, held: Held, answer: Answer) -> None:
    """Put an approved answer into the cache, as the entry of the request that it answers; fresh from now on."""
    kept = held.admit
    if kept is None or not held.key:
        return
    meta, now = msgspec.convert(kept["meta"], EntryMeta), clock.now()
    quality: Json = {"verified": True, "review": held.item, "edited": held.state == "edited"}
    fresh, stale = meta.expires - meta.created, meta.stale_until - meta.expires
    meta = msgspec.structs.replace(
        meta, created=now, expires=now + fresh, stale_until=now + fresh + stale, quality=quality
    )
    key, scope = bytes.fromhex(held.key), bytes.fromhex(kept["scope"])
    cache.put(key, scope, meta, wire.encode_answer(answer), begun=cache.withdrawals)


def signal_of(item: Item, said: Sequence[Verdict], now: int) -> Signal | None:
    """What a decided item says of the request's answer; ``None``: it is of no request, or compares two answers."""
    value = _VALUES.get(item.outcome)
    if not item.request_id or value is None:
        return None
    return Signal(
        id=ids.new(now),
        request_id=item.request_id,
        at=now,
        org=item.org,
        project=item.project,
        source="review",
        name="review",
        value=value,
        label=item.outcome,
        weight=1.0 / item.weight,
        scorer=f"review:{item.queue}",
        prompt=item.prompt,
        prompt_version=item.prompt_version,
        intent=item.intent,
        actor=said[-1].actor if said else "",
    )
