"""The ledger beside an invoice: by day, model and class of tokens, with what is missing on which side."""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from ostinato.savings.model import Gap, Invoice, InvoiceLine, Reconciliation
from ostinato.traces import PriceBook
from ostinato.wire.model import Usage

CLOSE: Final = 0.005
"""What is still called equal."""
_SHOWN = 200
_DATED = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
_RAW = msgspec.json.Decoder(dict[str, Any])
_CLASSES = ("input", "cache_read", "cache_write", "cache_write_1h", "output")

Place = tuple[str, str]
"""Day, model without its date."""


class Books(msgspec.Struct):
    """What the ledger has of a provider in some days."""

    tokens: dict[tuple[str, str, str], int] = {}
    nano: dict[Place, int] = {}
    repriced: dict[Place, int] = {}
    unpriced: int = 0
    outside: int = 0
    calls: int = 0


def bare(model: str) -> str:
    """A model's name without the date of its snapshot: invoices and answers name it differently."""
    return _DATED.sub("", model.strip())


def split(usage: Usage) -> dict[str, int]:
    """Tokens by class, as invoices tell them: writes by how long they are kept, reasoning as output."""
    hour = 0
    detail = (usage.raw or {}).get("cache_creation")
    if isinstance(detail, dict):
        told: object = detail.get("ephemeral_1h_input_tokens")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - a provider's JSON
        hour = min(max(told, 0), usage.cache_write) if isinstance(told, int) else 0
    counts = (usage.input, usage.cache_read, usage.cache_write - hour, hour, usage.output + usage.reasoning)
    return dict(zip(_CLASSES, counts, strict=True))


def usage_of(row: Any) -> Usage:
    """The usage of a row of ``call``."""
    raw = None if row.usage_raw is None else _RAW.decode(row.usage_raw)
    return Usage(row.input or 0, row.cache_read or 0, row.cache_write or 0, row.output or 0, row.reasoning or 0, raw)


def read(
    connection: sa.Connection, prices: PriceBook, org: str, project: str, provider: str, since: int, until: int
) -> Books:
    """What an organization's calls to a provider come to. Blocking; reads the rows of these days.

    ``project``: only its calls, those of the organization's others being counted; empty: all of them.
    """
    books = Books()
    bound = {"low": f"{since // 1000:012x}", "high": f"{until // 1000:012x}", "provider": provider}
    bound |= {"since": since, "until": until}
    within = "request_id >= :low AND request_id < :high AND at >= :since AND at < :until AND provider = :provider"
    bound["org"] = org
    mine = ""
    if project:
        bound["project"], mine = project, " AND project = :project"
        others = (
            f"SELECT count(*) FROM call WHERE {within} AND org = :org AND project <> :project AND input IS NOT NULL"  # noqa: S608 - constants
        )
        books.outside = int(connection.execute(sa.text(others), bound).scalar() or 0)
    rows = sa.text(
        "SELECT at, model, input, cache_read, cache_write, output, reasoning, usage_raw, cost FROM call "  # noqa: S608 - constants
        f"WHERE {within} AND org = :org AND input IS NOT NULL{mine}"
    )
    days: dict[int, str] = {}
    for row in connection.execution_options(yield_per=2_000).execute(rows, bound):
        number = row.at // 86_400_000_000
        day = days.get(number)
        if day is None:
            day = days[number] = datetime.datetime.fromtimestamp(number * 86_400, datetime.UTC).strftime("%Y-%m-%d")
        usage = usage_of(row)
        place = day, bare(row.model)
        for name, count in split(usage).items():
            if count:
                key = (*place, name)
                books.tokens[key] = books.tokens.get(key, 0) + count
        again = prices.price(provider, row.model, usage, row.at)
        books.nano[place] = books.nano.get(place, 0) + (row.cost or 0)
        books.repriced[place] = books.repriced.get(place, 0) + (again or 0)
        books.unpriced += row.cost is None
        books.calls += 1
    return books


def compare(invoice: Invoice, lines: Iterable[InvoiceLine], books: Books) -> Reconciliation:
    """The two sides, and where they differ."""
    tokens: dict[tuple[str, str, str], int] = {}
    nano: dict[Place, int] = {}
    for line in lines:
        place = line.day, bare(line.model)
        if line.tokens is not None and line.token in _CLASSES:
            tokens[*place, line.token] = tokens.get((*place, line.token), 0) + line.tokens
        if line.nano is not None:
            nano[place] = nano.get(place, 0) + line.nano
    gaps = sorted((*_of_tokens(tokens, books), *_of_money(nano, books)), key=_weight, reverse=True)
    billed = sum(nano.values()) if nano else None
    # Where the file tells no tokens (or no money), there is nothing to compare those with.
    ours = sum(books.tokens.values()) if tokens else 0
    spent, again = sum(books.nano.values()), sum(books.repriced.values())
    difference = _off(spent, billed)
    token_difference = _off(ours, sum(tokens.values()) if tokens else None)
    told = difference if difference is not None else token_difference
    return Reconciliation(
        invoice=invoice,
        invoice_nano=billed,
        ledger_nano=spent,
        repriced_nano=again,
        difference=difference,
        repriced_difference=_off(again, billed),
        invoice_tokens=sum(tokens.values()),
        ledger_tokens=ours,
        token_difference=token_difference,
        unpriced=books.unpriced,
        outside=books.outside,
        gaps=tuple(gaps[:_SHOWN]),
        within=None if told is None else abs(told) <= CLOSE,
        calls=books.calls,
    )


def _of_tokens(tokens: dict[tuple[str, str, str], int], books: Books) -> Iterator[Gap]:
    for key in sorted({*tokens, *books.tokens}) if tokens else ():
        theirs, ours = tokens.get(key), books.tokens.get(key)
        if _differ(theirs, ours):
            yield Gap(
                day=key[0],
                model=key[1],
                token=key[2],
                invoice_tokens=theirs,
                ledger_tokens=ours,
                invoice_nano=None,
                ledger_nano=None,
                missing="invoice" if not theirs else "ledger" if not ours else "",
            )


def _of_money(nano: dict[Place, int], books: Books) -> Iterator[Gap]:
    for place in sorted({*nano, *books.nano}) if nano else ():
        theirs, ours = nano.get(place), books.nano.get(place)
        if _differ(theirs, ours):
            yield Gap(
                day=place[0],
                model=place[1],
                token="total",  # noqa: S106 - a class of tokens
                invoice_tokens=None,
                ledger_tokens=None,
                invoice_nano=theirs,
                ledger_nano=ours,
                missing="invoice" if not theirs else "ledger" if not ours else "",
            )


def _differ(theirs: int | None, ours: int | None) -> bool:
    return abs((ours or 0) - (theirs or 0)) > CLOSE * abs(theirs or 0)


def _off(ours: int, theirs: int | None) -> float | None:
    return None if not theirs else (ours - theirs) / theirs


def _weight(gap: Gap) -> tuple[int, int]:
    return (
        abs((gap.ledger_nano or 0) - (gap.invoice_nano or 0)),
        abs((gap.ledger_tokens or 0) - (gap.invoice_tokens or 0)),
    )
