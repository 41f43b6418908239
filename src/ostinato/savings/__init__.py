"""What caching and better prompts were worth in money: as the ledger accounts for it, and as a hold-out shows.

Accounted savings are split by source and net of every overhead, negative lines shown. The hold-out draws some sessions
that are answered without cache, or by the release before; the difference comes with a confidence sequence. Invoices of
providers are reconciled against the ledger.
"""

from ostinato.savings.settings import Settings

__all__ = ["Settings"]
