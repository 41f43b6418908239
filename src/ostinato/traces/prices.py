"""What tokens cost, and since when.

A tariff holds from its date until the next one of the same model; usage is priced as of the time of the call. Prices
are whole nano-dollars per million tokens inside, so that every sum is exact and only the result is rounded, once, to a
nano-dollar. A model without a tariff has no price: ``None``, never zero.
"""

import datetime
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib import resources
from typing import Annotated, TypeAlias

import msgspec

from ostinato.core import money
from ostinato.core.errors import Invalid
from ostinato.wire.model import Usage

_MILLION = 1_000_000
_REMEMBERED = 10_000
"""Names whose tariffs are remembered; providers may be asked for any name."""
_SUFFIX = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")

Dollars: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    """Left out: as input."""
    cache_write: Dollars | None = None
    """Left out: as input."""
    cache_write_1h: Dollars | None = None
    """Left out: as ``cache_write``."""
    reasoning: Dollars | None = None
    """Left out: as output."""


class Tariff(Rates, frozen=True, forbid_unknown_fields=True):
    """The prices of a model from a date on. In the configuration: ``[prices."PROVIDER/MODEL"]``."""

    valid_from: datetime.date | None = None
    """00:00 UTC of this day; left out: always."""
    over: int | None = None
    """Above so many input tokens (cached ones included) the whole request is priced by ``long``."""
    long: Rates | None = None
    source: str = ""
    tiers: dict[str, Dollars] = {}
    """By service tier as the provider reports it, such as ``{batch = 0.5, flex = 0.5, priority = 2}``: what everything
    is multiplied by. A tier that is not named costs the list price."""


class _Tariffs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tariffs: tuple[Tariff, ...]


class _Listed(Tariff, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: str
    models: tuple[str, ...]


class _Shipped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tariff: tuple[_Listed, ...]


class _Prices(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars per million tokens."""

    since: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int
    over: int
    long: "_Prices | None"
    tiers: "dict[str, _Prices] | None"


class PriceBook:
    """Every known tariff. Immutable; a changed book is a new one."""

    def __init__(self, tariffs: Iterable[tuple[str, str, Tariff]], families: Mapping[str, str] | None = None) -> None:
        """``tariffs``: provider, model, tariff. ``families``: under whose prices else a provider's models are looked
        for, such as ``{"azure-west": "openai"}``.
        """
        found: dict[tuple[str, str], list[_Prices]] = {}
        for provider, model, tariff in tariffs:
            found.setdefault((provider, model), []).append(_prices(f"{provider}/{model}", tariff))
        self._known = {name: tuple(sorted(some, key=lambda prices: -prices.since)) for name, some in found.items()}
        self._families = dict(families or {})
        self._remembered: dict[tuple[str, str], tuple[_Prices, ...]] = {}

    @classmethod
    def load(
        cls,
        declared: Mapping[str, Tariff | Iterable[Tariff]] | None = None,
        families: Mapping[str, str] | None = None,
    ) -> "PriceBook":
        """The shipped list, with what is ``declared`` (by ``provider/model``) in place of what it says of that model.

        Raises ``Invalid`` for a name without a provider, and for a price finer than a nano-dollar per million tokens.
        """
        own: list[tuple[str, str, Tariff]] = []
        for name, value in (declared or {}).items():
            provider, slash, model = name.partition("/")
            if not (provider and slash and model):
                raise Invalid(
                    f"The price of {name!r} does not say whose model that is.",
                    code="invalid_price",
                    param=f"prices.{name}",
                    hint='Write [prices."PROVIDER/MODEL"].',
                )
            own += [(provider, model, tariff) for tariff in ([value] if isinstance(value, Tariff) else value)]
        replaced = {(provider, model) for provider, model, _ in own}
        listed = [entry for entry in shipped() if entry[:2] not in replaced]
        return cls([*listed, *own], families)

    def price(self, provider: str, model: str, usage: Usage, at: int) -> int | None:
        """Nano-dollars for ``usage`` at the time ``at`` (UTC microseconds); ``None`` where no tariff is known."""
        some = self._remembered.get((provider, model))
        if some is None:
            some = self._find(provider, model)
        for prices in some:
            if at >= prices.since:
                return _cost(prices, usage)
        return None

    def _find(self, provider: str, model: str) -> tuple[_Prices, ...]:
        some: tuple[_Prices, ...] = ()
        bare = _SUFFIX.sub("", model)
        for owner in (provider, self._families.get(provider, provider)):
            some = some or self._known.get((owner, model)) or self._known.get((owner, bare)) or ()
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[provider, model] = some
        return some


def read_tariffs(declared: Mapping[str, object]) -> dict[str, list[Tariff]]:
    """Declared bodies as tariffs: one, or several with their dates (``{"tariffs": [...]}``, or the list itself).

    Raises ``Invalid`` naming the key, also where two hold from the same day.
    """
    found: dict[str, list[Tariff]] = {}
    for name, body in declared.items():
        try:
            if isinstance(body, dict) and "tariffs" in body:
                found[name] = list(msgspec.convert(body, _Tariffs).tariffs)
            else:
                found[name] = msgspec.convert(body if isinstance(body, list) else [body], list[Tariff])
            days = [tariff.valid_from for tariff in found[name]]
            if not days or len(set(days)) < len(days):
                raise msgspec.ValidationError(
                    "Of several tariffs each holds from a day of its own; there is at least one"
                )
        except msgspec.ValidationError as error:
            raise Invalid(
                f"prices.{name}: {error}.",
                code="invalid_price",
                param=f"prices.{name}",
                hint=f"Keys: {', '.join(Tariff.__struct_fields__)}; prices are dollars per million tokens. A "
                "price that changes: `tariffs`, a list of such tables with `valid_from`.",
            ) from None
    return found


def shipped() -> list[tuple[str, str, Tariff]]:
    """The list that comes with Ostinato, ``data/prices.toml``."""
    text = resources.files("ostinato.traces").joinpath("data/prices.toml").read_text(encoding="utf-8")
    listed = msgspec.convert(tomllib.loads(text), _Shipped)
    return [(tariff.provider, model, tariff) for tariff in listed.tariff for model in tariff.models]


def _cost(prices: _Prices, usage: Usage) -> int:
    written = usage.cache_write
    if prices.tiers is not None and usage.raw is not None:
        prices = prices.tiers.get(str(usage.raw.get("service_tier")), prices)
    if prices.over and usage.input + usage.cache_read + written > prices.over and prices.long is not None:
        prices = prices.long
    cost = (
        usage.input * prices.input
        + usage.cache_read * prices.cache_read
        + usage.output * prices.output
        + usage.reasoning * prices.reasoning
    )
    if written:
        for_an_hour = _written_for_an_hour(usage)
        cost += (written - for_an_hour) * prices.cache_write + for_an_hour * prices.cache_write_1h
    return (cost + _MILLION // 2) // _MILLION


def _written_for_an_hour(usage: Usage) -> int:
    """Anthropic tells apart, in ``cache_creation``, what it keeps for five minutes and for an hour."""
    detail = (usage.raw or {}).get("cache_creation")
    tokens = detail.get("ephemeral_1h_input_tokens") if isinstance(detail, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - a provider's JSON
    return min(max(tokens, 0), usage.cache_write) if isinstance(tokens, int) else 0


def _prices(name: str, tariff: Tariff) -> _Prices:
    since = 0
    if tariff.valid_from is not None:
        moment = datetime.datetime.combine(tariff.valid_from, datetime.time(), datetime.UTC)
        since = int(moment.timestamp()) * _MILLION
    if (tariff.over is None) != (tariff.long is None):
        raise Invalid(
            f"The price of {name!r} has only one of 'over' and 'long'.", code="invalid_price", param=f"prices.{name}"
        )
    tiers = {tier: _scaled(name, tariff, since, factor) for tier, factor in tariff.tiers.items()}
    return _scaled(name, tariff, since, 1.0, tiers or None)


def _scaled(name: str, tariff: Tariff, since: int, factor: float, tiers: dict[str, _Prices] | None = None) -> _Prices:
    long = _rates(name, tariff.long, factor, 0, 0, None, None) if tariff.long is not None else None
    return _rates(name, tariff, factor, since, tariff.over or 0, long, tiers)


def _rates(
    name: str,
    rates: Rates,
    factor: float,
    since: int,
    over: int,
    long: _Prices | None,
    tiers: dict[str, _Prices] | None,
) -> _Prices:
    scale = Decimal(str(factor))

    def nano(dollars: float | None, otherwise: int = 0) -> int:
        try:
            return otherwise if dollars is None else money.from_dollars(Decimal(str(dollars)) * scale)
        except ValueError as error:
            raise Invalid(
                f"The price of {name!r} is finer than a nano-dollar per million tokens.",
                code="invalid_price",
                param=f"prices.{name}",
            ) from error

    fresh, made = nano(rates.input), nano(rates.output)
    written = nano(rates.cache_write, fresh)
    return _Prices(
        since,
        fresh,
        nano(rates.cache_read, fresh),
        written,
        nano(rates.cache_write_1h, written),
        made,
        nano(rates.reasoning, made),
        over,
        long,
        tiers,
    )
