"""Reading what providers export: a CSV in one of four shapes, as lines by day, model and class of tokens. Pure.

Columns are found by name, whatever their order; ``columns`` says what they are called where a file calls them
otherwise. Amounts are read as decimals and never rounded but to a nano-dollar.
"""

import csv
import datetime
import io
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from ostinato.core import money
from ostinato.core.errors import Invalid
from ostinato.savings.model import InvoiceLine

_LARGEST = 64 * 1_048_576
_ROWS = 500_000
_MOST = 1 << 60


class Shape(msgspec.Struct, frozen=True):
    """How a kind of file is laid out. Names of columns, those before ``|`` first; empty: it has none."""

    day: str
    model: str
    tokens: Mapping[str, str]
    """Class of tokens -> column."""
    amount: str = ""
    token: str = ""
    """A column that names the class of one count per row."""
    count: str = ""
    inclusive: bool = False
    """Whether ``input`` includes what was read from the provider's prefix cache."""
    batch: str = ""


SHAPES: Final[Mapping[str, Shape]] = {
    "generic": Shape(
        day="day|date",
        model="model",
        tokens={
            "input": "input|input_tokens",
            "cache_read": "cache_read|cache_read_tokens",
            "cache_write": "cache_write|cache_write_5m",
            "cache_write_1h": "cache_write_1h",
            "output": "output|output_tokens",
        },
        amount="amount|cost|cost_usd",
        token="token|token_type",  # noqa: S106 - a column
        count="tokens",
    ),
    "openai-usage": Shape(
        day="start_time_iso|start_time|date",
        model="model|snapshot_id",
        tokens={"input": "input_tokens", "cache_read": "input_cached_tokens", "output": "output_tokens"},
        inclusive=True,
    ),
    "openai-costs": Shape(
        day="start_time_iso|start_time|date",
        model="line_item|model",
        tokens={},
        amount="amount_value|amount|cost",
    ),
    "anthropic-usage": Shape(
        day="usage_date_utc|starting_at|date",
        model="model|model_version",
        tokens={
            "input": "usage_input_tokens_no_cache|uncached_input_tokens",
            "cache_read": "usage_input_tokens_cache_read|cache_read_input_tokens",
            "cache_write": "usage_input_tokens_cache_write_5m|ephemeral_5m_input_tokens",
            "cache_write_1h": "usage_input_tokens_cache_write_1h|ephemeral_1h_input_tokens",
            "output": "usage_output_tokens|output_tokens",
        },
        amount="cost_usd|amount",
    ),
}

_LINE_ITEMS = {
    "cached input": "cache_read",
    "cache read": "cache_read",
    "cache write 1h": "cache_write_1h",
    "cache write": "cache_write",
    "input": "input",
    "output": "output",
}
"""How line items of a costs export end: ``gpt-5-2025-08-07, cached input``."""


def read(text: str, shape: str, columns: Mapping[str, str] | None = None) -> tuple[InvoiceLine, ...]:
    """The lines of a file. ``columns``: our name (``day``, ``model``, ``input`` ..., ``amount``) -> the file's.

    Raises ``Invalid`` naming the row, the column, or what is missing.
    """
    layout = SHAPES.get(shape)
    if layout is None:
        raise Invalid(
            f"There is no shape {shape!r}.", code="invalid_invoice", hint=f"Allowed: {', '.join(sorted(SHAPES))}."
        )
    if len(text) > _LARGEST:
        raise Invalid("The file is larger than 64 MiB.", code="invalid_invoice", hint="Hand in a month at a time.")
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    nothing: list[str] = []
    try:
        head = [name.strip().lower() for name in next(reader, nothing)]
        where = _places(layout, head, columns or {})
        found: dict[tuple[str, str, str], list[int | None]] = {}
        abroad: set[str] = set()
        for number, row in enumerate(reader, 2):
            if number > _ROWS:
                raise Invalid(f"The file has more than {_ROWS} rows.", code="invalid_invoice")
            if not any(cell.strip() for cell in row):
                continue
            _in_dollars(head, row, number)
            abroad.add(_time_abroad(row[where["day"]].strip()) if where["day"] < len(row) else "")
            for line in _lines(layout, where, row, number):
                sums = found.setdefault((line.day, line.model, line.token), [None, None])
                for index, value in enumerate((line.tokens, line.nano)):
                    if value is not None:
                        sums[index] = (sums[index] or 0) + value
    except csv.Error as error:
        raise Invalid(f"This is no CSV: {error}.", code="invalid_invoice") from None
    if not found:
        raise Invalid("The file has no rows.", code="invalid_invoice")
    if len(abroad) == 1 and "" not in abroad:
        raise Invalid(
            "The days of this file begin at another time than UTC's, as which the ledger is compared.",
            code="invalid_invoice",
            hint="Export it by days of UTC, or by hours.",
        )
    return tuple(
        InvoiceLine(day=day, model=model, token=token, tokens=sums[0], nano=sums[1])
        for (day, model, token), sums in sorted(found.items())
    )


def _places(layout: Shape, head: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Where each of our columns is in a row."""
    wanted = {"day": layout.day, "model": layout.model, "amount": layout.amount, "token": layout.token}
    wanted |= {"tokens": layout.count, **layout.tokens}
    unknown = sorted(set(columns) - set(wanted))
    if unknown:
        raise Invalid(
            f"{unknown[0]!r} is none of our columns.", code="invalid_invoice", hint=f"Ours: {', '.join(wanted)}."
        )
    places: dict[str, int] = {}
    for ours, names in wanted.items():
        for name in [columns[ours].lower()] if ours in columns else names.split("|"):
            if name and name in head:
                places[ours] = head.index(name)
                break
        else:
            if ours in ("day", "model") or ours in columns:
                raise Invalid(
                    f"The file has no column {columns.get(ours, names.replace('|', ' or '))!r}.",
                    code="invalid_invoice",
                    hint=f"It has: {', '.join(head)[:400]}. Say what ours are called: --column {ours}=NAME.",
                )
    return places


def _lines(layout: Shape, where: Mapping[str, int], row: Sequence[str], number: int) -> Iterator[InvoiceLine]:
    def cell(name: str) -> str:
        place = where.get(name)
        return row[place].strip() if place is not None and place < len(row) else ""

    day, model = _day(cell("day"), number), cell("model")
    if not model:
        raise _wrong(number, "model", "")
    nano = _nano(cell("amount"), number)
    kind = cell("token").lower()
    if kind or cell("tokens"):
        known = kind if kind in ("cache_write_1h", *layout.tokens) else _ending(kind)
        yield InvoiceLine(
            day=day, model=model, token=known or "total", tokens=_count(cell("tokens"), number), nano=nano
        )
        return
    counts = {name: _count(cell(name), number) for name in layout.tokens if name in where}
    if layout.inclusive and counts.get("input") is not None:
        counts["input"] = (counts["input"] or 0) - (counts.get("cache_read") or 0)
    for name, count in counts.items():
        if count:
            yield InvoiceLine(day=day, model=model, token=name, tokens=count)
    if nano is not None:
        item, comma, last = model.rpartition(",")
        known = _ending(last.strip().lower()) if comma and not counts else ""
        yield InvoiceLine(day=day, model=item.strip() if known else model, token=known or "total", nano=nano)


def _ending(text: str) -> str:
    return next((token for ending, token in _LINE_ITEMS.items() if text.endswith(ending)), "")


def _day(text: str, number: int) -> str:
    """The day in UTC: of seconds since 1970, or of ISO 8601; a time that names no zone is UTC's."""
    if text.isascii() and text.isdigit() and len(text) <= 11 and len(text) != 8:
        return datetime.datetime.fromtimestamp(int(text), datetime.UTC).strftime("%Y-%m-%d")
    moment = _moment(text)
    if moment is not None and moment.tzinfo is not None:
        try:
            return moment.astimezone(datetime.UTC).date().isoformat()
        except OverflowError:
            raise _wrong(number, "day", text) from None
    if len(text) == 8 and text.isdigit():
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    try:
        return datetime.date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise _wrong(number, "day", text) from None


def _moment(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def _time_abroad(text: str) -> str:
    """The time of day of another zone's than UTC; empty: it is UTC's."""
    moment = _moment(text)
    return moment.time().isoformat() if moment is not None and moment.utcoffset() else ""


def _in_dollars(head: Sequence[str], row: Sequence[str], number: int) -> None:
    """Raise ``Invalid`` for an amount in another currency: the ledger's are dollars."""
    for place, name in enumerate(head[: len(row)]):
        if name in ("currency", "amount_currency") and row[place].strip().lower() not in ("", "usd"):
            raise Invalid(
                f"Row {number} is in {row[place].strip()[:8]!r}, and the ledger in US dollars.",
                code="invalid_invoice",
                hint="Hand in an export in US dollars.",
            )


def _count(text: str, number: int) -> int | None:
    if not text:
        return None
    try:
        value = Decimal(text.replace(",", ""))
        if abs(value) < _MOST and value == value.to_integral_value():
            return int(value)
    except ArithmeticError:
        pass
    raise _wrong(number, "count of tokens", text)


def _nano(text: str, number: int) -> int | None:
    if not text:
        return None
    try:
        value = Decimal(text.replace("$", "").replace(",", "").strip()) * money.NANO
        if abs(value) < _MOST:
            return int(value.to_integral_value())
    except ArithmeticError:
        pass
    raise _wrong(number, "amount", text)


def _wrong(number: int, what: str, text: str) -> Invalid:
    return Invalid(f"Row {number} has no {what} that can be read: {text[:40]!r}.", code="invalid_invoice")
