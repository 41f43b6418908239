"""What may be written into a name, a key name, a rate, a budget: each check raises ``Invalid`` naming the field."""

import math
import re
from collections.abc import Iterable

from ostinato.access import permissions
from ostinato.access.authority import Grant
from ostinato.access.model import MoneyBudget, RateLimit
from ostinato.core import ids
from ostinato.core.errors import Invalid

PERIODS = ("day", "month", "total")
NAME_LENGTH = 100
MODELS = 1000
_LARGEST_BUDGET = 10**18  # a billion dollars: sums stay far inside 64 bits
_LATEST = 253_402_300_799_000_000  # the end of the year 9999
_SHORT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ID = re.compile(r"[0-9a-f]{32}")


def name(text: str, param: str = "name") -> str:
    """A name for people: 1 to 100 printable characters, trimmed."""
    trimmed = text.strip()
    if not trimmed or len(trimmed) > NAME_LENGTH or not trimmed.isprintable():
        raise Invalid(f"The {param} must be 1 to {NAME_LENGTH} printable characters.", code="invalid_name", param=param)
    return trimmed


def short_name(text: str, param: str = "key") -> str:
    """A name for URLs and command lines; never one that could be mistaken for an id."""
    if _SHORT_NAME.fullmatch(text) is None or _ID.fullmatch(text) is not None:
        raise Invalid(
            f"The {param} must be 1 to 63 lowercase letters, digits and hyphens, such as 'support-bot'.",
            code="invalid_key",
            param=param,
        )
    return text


def could_be_a_name(ref: str) -> bool:
    """Whether ``ref`` is worth a look-up; PostgreSQL refuses to be asked for a NUL character."""
    return 0 < len(ref) <= 200 and ref.isprintable()


def rate(value: RateLimit | None) -> RateLimit | None:
    """A rate of at least one request, over at most a day."""
    if value is None:
        return None
    if not 1 <= value.requests <= 1_000_000_000:
        raise Invalid("A rate must allow from 1 to 1,000,000,000 requests.", code="invalid_rate", param="rate.requests")
    if not (math.isfinite(value.seconds) and 1 <= value.seconds <= 86_400):
        raise Invalid("A rate must count over 1 to 86,400 seconds.", code="invalid_rate", param="rate.seconds")
    return value


def budget(value: MoneyBudget | None) -> MoneyBudget | None:
    """A budget of at least one nano-dollar per day, month or in total."""
    if value is None:
        return None
    if not 1 <= value.nano <= _LARGEST_BUDGET:
        raise Invalid(
            "A budget must be more than nothing and at most a billion dollars.",
            code="invalid_budget",
            param="budget.nano",
        )
    if value.period not in PERIODS:
        raise Invalid(
            f"A budget's period is one of: {', '.join(PERIODS)}.", code="invalid_budget", param="budget.period"
        )
    return value


def models(value: Iterable[str] | None) -> frozenset[str] | None:
    """Aliases: at least one, each 1 to 200 printable characters; ``None``: all of them."""
    return _names(
        value, "model", "allowed_models", "alias", "Leave the field out to allow all of the project's models."
    )


def intents(value: Iterable[str] | None) -> frozenset[str] | None:
    """Intents: at least one, each 1 to 200 printable characters; ``None``: all of them."""
    return _names(
        value, "intent", "allowed_intents", "key", "Leave the field out to allow all of the project's intents."
    )


def _names(value: Iterable[str] | None, what: str, param: str, name: str, hint: str) -> frozenset[str] | None:
    if value is None:
        return None
    wanted = frozenset(value)
    if not 1 <= len(wanted) <= MODELS:
        raise Invalid(f"Name 1 to {MODELS} {what}s.", code=f"invalid_{what}s", param=param, hint=hint)
    if not all(1 <= len(one) <= 200 and one.isprintable() for one in wanted):
        article = "An" if what == "intent" else "A"
        raise Invalid(
            f"{article} {what}'s {name} must be 1 to 200 printable characters.", code=f"invalid_{what}s", param=param
        )
    return wanted


def expiry(value: int | None, now: int, what: str = "key") -> int | None:
    """A moment in the future, UTC microseconds."""
    if value is not None and not now < value <= _LATEST:
        verb = "revoke" if what == "key" else "remove"
        raise Invalid(
            f"A {what} must expire in the future.",
            code="invalid_expiry",
            param="expires_at",
            hint=f"Times are microseconds since 1970 in UTC. To end a {what} now, {verb} it.",
        )
    return value


def page(after: str | None, limit: int, most: int) -> None:
    """A page of a list: ``limit`` things that come after the one with the id ``after``."""
    if not 1 <= limit <= most:
        raise Invalid(f"A page holds 1 to {most} items.", code="invalid_limit", param="limit")
    if after is not None and not ids.is_id(after):
        raise Invalid("after must be the id of an item.", code="invalid_cursor", param="after")


def granted(names: Iterable[str]) -> frozenset[str]:
    """At least one permission, all of them known."""
    wanted = permissions.known(names)
    if not wanted:
        raise Invalid(
            "A key needs at least one permission.",
            code="invalid_permissions",
            param="permissions",
            hint="chat:call lets it call models.",
        )
    return wanted


def grant(value: Grant, now: int, *, expires_before: int | None = None) -> Grant:
    """All of the above. ``expires_before``: an expiry that stands already and need not lie in the future."""
    return Grant(
        permissions=None if value.permissions is None else granted(value.permissions),
        allowed_models=models(value.allowed_models),
        end_user_required=value.end_user_required,
        may_act_for_users=value.may_act_for_users,
        rate=rate(value.rate),
        budget=budget(value.budget),
        expires_at=value.expires_at if value.expires_at == expires_before else expiry(value.expires_at, now),
        allowed_intents=intents(value.allowed_intents),
    )
