"""What an intent may spend: tokens of one request, tokens and dollars of a day.

The day's sums are read from the ledger's rollup every few seconds and held as one immutable value: asking costs two
look-ups. So a day's budget is overrun by what is asked within those seconds, and by the calls under way; who needs a
hard bound gives the key a money budget (``access``). What the budget of a request cut or refused is counted per hour.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ostinato.core import money
from ostinato.core.errors import Invalid
from ostinato.intents.model import Budgets as Declared
from ostinato.intents.model import Intent

_HOUR = 3_600_000_000
_COUNTED = 10_000


class OverBudget(Invalid):
    """The input alone is longer than the intent's budget for a request."""

    status = 413
    default_code = "over_token_budget"


class Today(msgspec.Struct, frozen=True):
    """What an intent has spent in this UTC day."""

    tokens: int = 0
    nano: int = 0


class Touch(msgspec.Struct, frozen=True, gc=False):
    """How often a budget of requests mattered within an hour."""

    hour: int
    project: str
    intent: str
    effect: str
    """``cut`` (the answer's length) or ``refused``."""
    count: int


class Budgets:
    """The budgets of all intents, as far as this process knows of what was spent. Asked on the event loop only."""

    def __init__(self) -> None:
        self.over_now: Mapping[tuple[str, str], str] = MappingProxyType({})
        """(Project, intent) -> why it is over budget; swapped whole."""
        self._touched: dict[tuple[int, str, str, str], int] = {}
        self.dropped = 0

    def over(self, project: str, intent: str) -> str | None:
        """Why an intent of a project is over its budget of today, in a sentence; ``None``: it is not."""
        return self.over_now.get((project, intent)) if self.over_now else None

    def output_left(self, project: str, intent: Intent, tokens: int, wanted: int | None, at: int) -> int | None:
        """How long an answer may be where that is shorter than ``wanted`` (``None``: no limit); else ``None``.

        ``tokens``: of the input, as counted before it is sent. Raises :class:`OverBudget` where nothing is left.
        """
        most = intent.declared.budgets.tokens_per_request
        if most is None:
            return None
        left = most - tokens
        if left <= 0:
            self._touch(at, project, intent.key, "refused")
            raise OverBudget(
                f"The input has about {tokens} tokens, and the intent {intent.key!r} allows {most} a request.",
                hint="Send less, or raise budgets.tokens_per_request of the intent.",
            )
        if wanted is not None and wanted <= left:
            return None
        self._touch(at, project, intent.key, "cut")
        return left

    def touches(self) -> list[Touch]:
        """What was counted since this was last called."""
        found = [Touch(*key, count) for key, count in self._touched.items()]
        self._touched.clear()
        return found

    def put_back(self, touches: list[Touch]) -> None:
        """Those could not be written; they wait."""
        for one in touches:
            key = one.hour, one.project, one.intent, one.effect
            self._touched[key] = self._touched.get(key, 0) + one.count

    def _touch(self, at: int, project: str, intent: str, effect: str) -> None:
        key = at - at % _HOUR, project, intent, effect
        if key not in self._touched and len(self._touched) >= _COUNTED:
            self.dropped += 1
            return
        self._touched[key] = self._touched.get(key, 0) + 1


def _plain(dollars: float) -> str:
    """As it was declared: $20, $0.00002, never $2e-05."""
    return f"${money.to_dollars(round(dollars * money.NANO))}"


def judged(declared: Declared, today: Today) -> str:
    """Why the day's budget is used up, in a sentence; empty: it is not."""
    if declared.tokens_per_day is not None and today.tokens >= declared.tokens_per_day:
        return f"It has used {today.tokens} tokens today, and its budget is {declared.tokens_per_day}."
    if declared.dollars_per_day is not None and today.nano >= declared.dollars_per_day * money.NANO:
        return (
            f"It has cost ${money.to_dollars(today.nano)} today, and its budget is {_plain(declared.dollars_per_day)}."
        )
    return ""
