"""From the rooms that have tables to one :class:`~ostinato.retention.Retention` that covers them."""

import asyncio
from collections.abc import Callable, Mapping

from ostinato import access, audit, cache, datasets, signals, traces
from ostinato.access import SystemActor
from ostinato.core.clock import Clock
from ostinato.intents import Intents
from ostinato.retention.of_cache import Cache
from ostinato.retention.of_ledger import Ledger
from ostinato.retention.of_rooms import Conversations, Journal, Repetitions, Reviews, Signals
from ostinato.retention.quoting import Quoting
from ostinato.retention.retention import Retention
from ostinato.retention.settings import Settings
from ostinato.storage import Current, Database

_BATCHES = 2
"""So many times as long as a row waits, other processes are given to have written theirs."""


def build(
    settings: Settings,
    clock: Clock,
    *,
    control: Database,
    traces_database: Database,
    work: Database,
    log: audit.Log,
    secret: bytes,
    intents: Current[Intents],
    accounts: access.Access,
    recorder: traces.Recorder,
    heard: signals.Signals,
    examples: datasets.Datasets,
    responses: Callable[[], cache.ResponseCache],
) -> Retention:
    """Retention over the rooms that were there before it; others are added by ``cover``.

    ``responses`` is asked when it is needed.
    """

    async def keys() -> Mapping[str, str]:
        found: dict[str, str] = {}
        after: str | None = None
        while page := await accounts.list_keys(SystemActor("retention"), after=after):
            found |= {one.id: one.project_id for one in page}
            after = page[-1].id
        return found

    async def settle() -> None:
        """What was answered is in the ledger, and what was said of it beside it."""
        await asyncio.to_thread(recorder.flush)
        await asyncio.to_thread(heard.flush)

    shared = traces_database.dialect == "postgresql"
    quoting = Quoting(control, work, clock, lambda: examples.copies)
    retention = Retention(
        control,
        clock,
        log,
        settings,
        secret=secret,
        intents=intents,
        ledger=Ledger(traces_database, keys),
        quoting=quoting,
        databases=(control, traces_database, work),
        settle=settle,
        lag=_BATCHES * max(recorder.batch_seconds, heard.settings.batch_seconds) if shared else 0.0,
    )
    retention.cover(
        Cache(responses),
        Conversations(traces_database),
        Signals(traces_database, heard),
        # Before the examples, which take their copies in these two along: a sweep finds what its dry run has counted.
        Journal(control, work, clock),
        Reviews(control),
        quoting.datasets,
        Repetitions(control, clock),
    )
    return retention
