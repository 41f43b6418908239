"""Money as integer nano-dollars, so that sums are exact and a token's price is a whole number.

One dollar per million tokens is 1,000 nano-dollars a token.
"""

from decimal import Decimal, InvalidOperation

NANO = 1_000_000_000


def from_dollars(amount: str | int | float | Decimal) -> int:
    """Dollars to nano-dollars, exactly. Raises ``ValueError`` on text that is no number or finer than a nano-dollar."""
    try:
        value = Decimal(str(amount)) * NANO
    except InvalidOperation as error:
        raise ValueError(f"{amount!r} is not an amount of money") from error
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(f"{amount!r} is not an amount of money in whole nano-dollars")
    return int(value)


def to_dollars(nano: int) -> str:
    """Nano-dollars as a plain decimal string without trailing zeros: ``1500000`` gives ``"0.0015"``."""
    sign = "-" if nano < 0 else ""
    whole, rest = divmod(abs(nano), NANO)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"
