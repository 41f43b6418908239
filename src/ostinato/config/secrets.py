"""Secrets by reference: a variable of the environment or a file, never the secret itself in the configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ostinato.config.reading import Source

_NOT_LOOKED_UP = "not looked up"


def resolve(reference: Any, environment: Mapping[str, str], source: Source, *keys: str) -> str:
    """The secret that ``{env = "NAME"}``, ``{file = "PATH"}``, ``"env:NAME"`` or ``"file:PATH"`` points to.

    Raises ``ConfigError`` for anything else, without repeating what was given: it may be the secret. Where nobody is
    called with the configuration, a reference is enough.
    """
    kind, target = _split(reference)
    if kind in ("env", "file") and not source.calls:
        return _NOT_LOOKED_UP
    if kind == "env":
        value = environment.get(target, "")
        if not value:
            raise source.error(
                f"{'.'.join(keys)} points to the environment variable {target}, which is not set.",
                *keys,
                hint=f"export {target}=... before the start, or point to a file.",
            )
        return value.strip()
    if kind == "file":
        try:
            return Path(target).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise source.error(f"{'.'.join(keys)} points to the file {target}: {reason}.", *keys) from None
    raise source.error(
        f"{'.'.join(keys)} must point to a secret, not hold it.",
        *keys,
        hint='Write {env = "NAME"} or {file = "PATH"}.',
    )


def _split(reference: Any) -> tuple[str, str]:
    if isinstance(reference, dict) and len(reference) == 1:  # pyright: ignore[reportUnknownArgumentType]
        (kind, target) = next(iter(reference.items()))  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return str(kind), str(target)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(reference, str) and ":" in reference:
        kind, _, target = reference.partition(":")
        return kind, target
    return "", ""
