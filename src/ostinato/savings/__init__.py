"""What caching and better prompts were worth in money: as the ledger accounts for it, and as a hold-out shows.

Accounted savings are split by source and net of every overhead, negative lines shown. The hold-out draws some sessions
that are answered without cache, or by the release before; the difference comes with a confidence sequence. Invoices of
providers are reconciled against the ledger. Intents have budgets of tokens and dollars.
"""

from ostinato.savings.baselines import Baselines, Before
from ostinato.savings.budgets import Budgets, OverBudget
from ostinato.savings.costs import Costs
from ostinato.savings.keeping import Keeping
from ostinato.savings.lottery import Lottery
from ostinato.savings.model import (
    Account,
    Cost,
    HoldOut,
    Invoice,
    InvoiceLine,
    NewCost,
    NewInvoice,
    Reconciliation,
)
from ostinato.savings.roi import BudgetReport, Report
from ostinato.savings.savings import Savings
from ostinato.savings.settings import Settings

__all__ = [
    "Account",
    "Baselines",
    "Before",
    "BudgetReport",
    "Budgets",
    "Cost",
    "Costs",
    "HoldOut",
    "Invoice",
    "InvoiceLine",
    "Keeping",
    "Lottery",
    "NewCost",
    "NewInvoice",
    "OverBudget",
    "Reconciliation",
    "Report",
    "Savings",
    "Settings",
]
