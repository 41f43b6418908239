"""``--since``: how far back, as people say it."""

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ostinato.core.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def moment(text: str) -> int:
    """UTC microseconds of so long ago. Raises ``Invalid``."""
    matched = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if matched is None:
        raise Invalid(f"--since {text!r} is no length of time.", hint="Write 90s, 15m, 24h or 7d.")
    return int((time.time() - int(matched[1]) * _UNITS[matched[2]]) * 1_000_000)


def _read(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    return moment(value)


def since_option(command: _Command) -> _Command:
    """``--since 30d``; the command gets UTC microseconds."""
    return click.option(
        "--since", default="30d", show_default=True, callback=_read, help="How far back: 90s, 15m, 24h, 7d."
    )(command)
