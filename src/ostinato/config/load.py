"""Reading a configuration whole: file, environment, secrets."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from ostinato import providers
from ostinato.config import secrets
from ostinato.config.model import DECLARATIONS, SECTIONS, Config
from ostinato.config.reading import Source, Table, convert, likely, overridden, read_toml
from ostinato.evals.retrieval import Settings as RetrieverSettings
from ostinato.providers import ApiKey
from ostinato.providers import Settings as ProviderSettings


def load(path: Path, environment: Mapping[str, str] | None = None, *, calls: bool = True) -> Config:
    """The configuration in ``path``, with the environment laid over it. Raises ``ConfigError``.

    ``calls``: whether anybody is to be called with it; else its secrets need not be there.
    """
    tables, source = read_toml(path)
    source = msgspec.structs.replace(source, calls=calls)
    return parse(tables, source, os.environ if environment is None else environment)


def parse(tables: Table, source: Source, environment: Mapping[str, str]) -> Config:
    """Tables as a configuration. Raises ``ConfigError``."""
    tables = dict(tables)
    if isinstance(tables.get("checks"), dict):
        # Rules have names of their own, so they stand below [checks] and not in it.
        tables["checks"] = dict(tables["checks"])
        tables["rules"] = tables["checks"].pop("rules", {})
    known = (*SECTIONS, "providers", "retrievers", *DECLARATIONS)
    for name, table in tables.items():
        if name not in known:
            raise source.error(
                f"[{name}] does not exist.", name, hint=likely(name, known) + f"Sections: {', '.join(known)}."
            )
        if not isinstance(table, dict):
            raise source.error(f"{name} must be a section.", name, hint=f"Write [{name}].")
    _anchors(tables, source, environment)
    merged, source = overridden(tables, environment, SECTIONS, source)
    _hooks(merged, source, environment)
    _mail(merged, source, environment)
    merged["embeddings"] = _keyed(merged.get("embeddings", {}), source, environment, "embeddings")
    sections: dict[str, Any] = {
        name: convert(merged.get(name, {}), kind, source, name) for name, kind in SECTIONS.items()
    }
    for name in DECLARATIONS:
        sections[name] = _declared(tables.get(name, {}), source, name)
    sections["providers"] = {
        name: _provider(name, table, source, environment)
        for name, table in _declared(tables.get("providers", {}), source, "providers").items()
    }
    sections["retrievers"] = {
        name: convert(
            _keyed(table, source, environment, "retrievers", name), RetrieverSettings, source, "retrievers", name
        )
        for name, table in _declared(tables.get("retrievers", {}), source, "retrievers").items()
    }
    return Config(**sections)


def _keyed(table: Table, source: Source, environment: Mapping[str, str], *keys: str) -> Table:
    """``table`` with the secret that its ``api_key`` points to, where it has one."""
    if "api_key" not in table:
        return table
    key = ApiKey(secrets.resolve(table["api_key"], environment, source, *keys, "api_key"))
    return {**table, "api_key": key}


def _hooks(tables: Table, source: Source, environment: Mapping[str, str]) -> None:
    """Put the secrets that HTTP hooks of scorers point to in the references' place."""
    section = tables.get("scorers", {})
    hooks: dict[str, object] = {}
    for name, hook in _declared(section.get("hooks", {}), source, "scorers.hooks").items():
        hooks[name] = hook
        if "secret" in hook:
            key = ApiKey(secrets.resolve(hook["secret"], environment, source, "scorers", "hooks", name, "secret"))
            hooks[name] = {**hook, "secret": key}
    if hooks:
        tables["scorers"] = {**section, "hooks": hooks}


def _mail(tables: Table, source: Source, environment: Mapping[str, str]) -> None:
    """Put the password that the mail server's points to in the reference's place."""
    section = tables.get("notifying", {})
    mail = section.get("mail")
    if isinstance(mail, dict) and "password" in mail:
        reference = cast("Table", mail)["password"]
        key = ApiKey(secrets.resolve(reference, environment, source, "notifying", "mail", "password"))
        tables["notifying"] = {**section, "mail": {**cast("Table", mail), "password": key}}


def _declared(table: Table, source: Source, section: str) -> dict[str, Table]:
    for name, body in table.items():
        if not isinstance(body, dict):
            raise source.error(f"{section}.{name} must be a table.", section, name, hint=f"Write [{section}.{name}].")
    # As JSON has it: dates become text, so that what is declared reads the same from the file and from the database.
    return cast("dict[str, Table]", msgspec.to_builtins(table))


def _provider(name: str, table: Table, source: Source, environment: Mapping[str, str]) -> ProviderSettings:
    """One provider, with the secrets that ``api_key`` and ``api_keys`` point to."""
    table = dict(table)
    keys: list[ApiKey] = []
    if "api_key" in table:
        keys.append(ApiKey(secrets.resolve(table.pop("api_key"), environment, source, "providers", name, "api_key")))
    listed = table.pop("api_keys", [])
    if not isinstance(listed, list):
        raise source.error(f"providers.{name}.api_keys must be a list.", "providers", name, "api_keys")
    for reference in cast("list[object]", listed):
        keys.append(ApiKey(secrets.resolve(reference, environment, source, "providers", name, "api_keys")))
    settings = convert(table, ProviderSettings, source, "providers", name, also=("api_key",))
    if settings.kind not in providers.KINDS:
        raise source.error(
            f"providers.{name}.kind is {settings.kind!r}.",
            "providers",
            name,
            "kind",
            hint=likely(settings.kind, providers.KINDS) + f"Allowed: {', '.join(sorted(providers.KINDS))}.",
        )
    return msgspec.structs.replace(settings, api_keys=tuple(keys))


def _anchors(tables: Table, source: Source, environment: Mapping[str, str]) -> None:
    """Put the secrets that the audit log's anchors point to in the references' place."""
    section = tables.get("audit", {})
    listed = section.get("anchors")
    if not isinstance(listed, list):
        return
    anchors: list[object] = []
    for anchor in cast("list[object]", listed):
        if isinstance(anchor, dict) and "api_key" in anchor:
            reference = cast("Table", anchor)["api_key"]
            key = ApiKey(secrets.resolve(reference, environment, source, "audit", "anchors", "api_key"))
            anchors.append({**cast("Table", anchor), "api_key": key})
        else:
            anchors.append(cast("object", anchor))
    tables["audit"] = {**section, "anchors": anchors}


def load_storage(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Only what tells where things are kept: needs no provider's secret. Raises ``ConfigError``."""
    tables, source = read_toml(path)
    environment = os.environ if environment is None else environment
    kinds = {name: SECTIONS[name] for name in ("storage", "access")}
    merged, source = overridden(tables, environment, kinds, source)
    sections: dict[str, Any] = {name: convert(merged.get(name, {}), kind, source, name) for name, kind in kinds.items()}
    return Config(**sections)
