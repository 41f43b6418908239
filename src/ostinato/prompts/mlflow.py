"""Exports of MLflow's prompt registry, in either shape that its tools give.

- ``prompt.json`` of mlflow-export-import: ``{"system": ..., "mlflow": {"prompt": {...}}}``, one version each;
- the registry's REST answers: ``{"model_versions": [...]}`` and ``{"registered_models": [...]}``, where templates are
  in tags (``mlflow.prompt.text``), in one object or several;
- a list of any of them.

Aliases become labels; tags ``NAME:VALUE``; the model's configuration and the answer's format what they are here.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from ostinato.core.errors import Invalid
from ostinato.prompts import importers
from ostinato.prompts.importers import Found, Imported, Reading
from ostinato.prompts.model import Draft
from ostinato.templates import Format
from ostinato.wire.model import Json

_TEXT: Final = "mlflow.prompt.text"
_FORMAT: Final = "_mlflow_prompt_response_format"
_CONFIG: Final = "_mlflow_prompt_model_config"
_BOOKKEEPING: Final = frozenset(
    {
        "mlflow.prompt.is_prompt", "_mlflow_prompt_type", _TEXT, _FORMAT, _CONFIG, "mlflow.prompt.run_id",
        "mlflow.prompt.run_ids", "mlflow.prompt.associatedRunIds", "mlflow.prompt.description",
        "_mlflow_experiment_ids",
    }
)  # fmt: skip
_EXPORTED: Final = (
    "name", "version", "template", "tags", "aliases", "commit_message", "description", "response_format",
    "model_config", "creation_timestamp", "_creation_timestamp", "last_updated_timestamp", "_last_updated_timestamp",
    "user_id", "variables", "uri",
)  # fmt: skip
_VERSION: Final = (
    "name", "version", "tags", "aliases", "description", "creation_timestamp", "last_updated_timestamp", "user_id",
    "current_stage", "source", "run_id", "run_link", "status", "status_message", "model_id", "model_params",
    "model_metrics", "deployment_job_state",
)  # fmt: skip
_MODEL: Final = (
    "name", "description", "tags", "aliases", "creation_timestamp", "last_updated_timestamp", "user_id",
    "latest_versions", "deployment_job_id", "deployment_job_state",
)  # fmt: skip
_RENAMED: Final = {"model_name": "model", "stop_sequences": "stop"}


class _Prompt(msgspec.Struct):
    description: str = ""
    tags: tuple[str, ...] = ()
    aliases: dict[int, list[str]] = {}


def read(data: bytes, leave_out: Sequence[str] = ()) -> Imported:
    """The prompts of an export. Raises ``Invalid`` naming the prompt and the field."""
    reading = Reading(leave_out)
    told: object = importers.decode(data, "MLflow")
    found: list[Found] = []
    prompts: dict[str, _Prompt] = {}
    for part in cast("list[Any]", told) if isinstance(told, list) else [told]:
        outer = importers.table("The MLflow export", part)
        if "mlflow" in outer:
            reading.only("The export", outer, ("system", "info", "mlflow"))
            inner = importers.table("mlflow", outer["mlflow"])
            reading.only("The export", inner, ("prompt",), "mlflow.")
            found.append(_exported(importers.table("mlflow.prompt", inner.get("prompt")), reading))
        elif "template" in outer:
            found.append(_exported(outer, reading))
        elif outer.keys() & {"model_versions", "registered_models"}:
            reading.only("The export", outer, ("model_versions", "registered_models", "next_page_token"))
            for model in importers.rows("registered_models", outer.get("registered_models") or []):
                _registered(importers.table("A registered model", model), prompts, reading)
            for version in importers.rows("model_versions", outer.get("model_versions") or []):
                found.append(_version(importers.table("A model version", version), reading))
        else:
            raise Invalid(
                "This is no MLflow export of prompts.",
                hint="prompt.json of mlflow-export-import, or the registry's answer with model_versions.",
            )
    for one in found:
        prompt = prompts.get(one.name)
        if prompt is not None:
            one.description = prompt.description
            one.tags = tuple(dict.fromkeys((*prompt.tags, *one.tags)))
            one.labels = tuple(dict.fromkeys((*one.labels, *prompt.aliases.get(one.number, ()))))
    return importers.collect(found, reading)


def _exported(prompt: Json, reading: Reading) -> Found:
    name, number, where = _named(prompt)
    reading.only(where, prompt, _EXPORTED)
    tags = importers.table(f"{where}: tags", prompt.get("tags") or {})
    message = importers.text(where, "commit_message", prompt.get("commit_message") or prompt.get("description"))
    config, answer = prompt.get("model_config"), prompt.get("response_format")
    return _found(name, number, where, reading, prompt.get("template"), config, answer, message, tags, prompt)


def _version(version: Json, reading: Reading) -> Found:
    name, number, where = _named(version)
    reading.only(where, version, _VERSION)
    tags = _pairs(where, version.get("tags") or [])
    if _TEXT not in tags:
        raise Invalid(f"{where} has no tag {_TEXT!r}: it is a model, not a prompt.", param="tags")
    source: Any = tags[_TEXT]
    if tags.get("_mlflow_prompt_type") == "chat":
        source = _inner(where, tags, _TEXT)
    message = importers.text(where, "description", version.get("description"))
    config, answer = _inner(where, tags, _CONFIG), _inner(where, tags, _FORMAT)
    return _found(name, number, where, reading, source, config, answer, message, tags, version)


def _found(
    name: str,
    number: int,
    where: str,
    reading: Reading,
    source: object,
    config: object,
    answer: object,
    message: str,
    tags: Json,
    version: Json,
) -> Found:
    chat = isinstance(source, list)
    plain = "" if chat else importers.text(where, "template", source)
    format: Format = "jinja2" if "{%" in str(source) else "plain"
    if chat and format == "jinja2":
        raise Invalid(f"{where}: a chat prompt with {{% ... %}} is not imported.", param="template")
    draft = Draft(
        format=format,
        text=None if chat else plain if format == "jinja2" else importers.template(where, plain),
        messages=importers.turns(where, cast("list[Any]", source), reading) if chat else None,
        params=_params(where, importers.table(f"{where}: model_config", config or {}), reading),
        response_schema=importers.table(f"{where}: response_format", answer) if answer else None,
    )
    aliases = importers.rows(f"{where}: aliases", version.get("aliases") or [])
    return Found(
        name=name,
        number=number,
        kind="chat" if chat else "text",
        draft=draft,
        message=message,
        labels=tuple(importers.text(where, "aliases", alias) for alias in aliases if alias != "latest"),
        tags=_tags(tags),
    )


def _registered(model: Json, prompts: dict[str, _Prompt], reading: Reading) -> None:
    name = importers.text("A registered model", "name", model.get("name"))
    where = repr(name[:80])
    reading.only(where, model, _MODEL)
    told = prompts[name] = _Prompt(
        importers.text(where, "description", model.get("description")), _tags(_pairs(where, model.get("tags") or []))
    )
    for one in importers.rows(f"{where}: aliases", model.get("aliases") or []):
        alias = importers.table(f"{where}: an alias", one)
        number = importers.number(where, alias.get("version"))
        told.aliases.setdefault(number, []).append(importers.text(where, "alias", alias.get("alias")))


def _named(version: Json) -> tuple[str, int, str]:
    name = version.get("name")
    if not isinstance(name, str) or not name:
        raise Invalid("A version has no name.", param="name")
    number = importers.number(repr(name[:80]), version.get("version"))
    return name, number, f"{name[:80]!r}, version {number}"


def _params(where: str, config: Json, reading: Reading) -> Json:
    if config.get("provider"):
        reading.note(f"{where}: the provider {str(config['provider'])[:40]!r} is left to the alias that is called.")
    extra = importers.table(f"{where}: extra_params", config.get("extra_params") or {})
    given = {key: item for key, item in {**config, **extra}.items() if key not in ("provider", "extra_params")}
    renamed = {_RENAMED.get(key, key): item for key, item in given.items()}
    return importers.params(where, renamed, reading, "model_config.")


def _pairs(where: str, value: object) -> Json:
    pairs = [importers.table(f"{where}: a tag", one) for one in importers.rows(f"{where}: tags", value)]
    return {importers.text(where, "tags", one.get("key")): one.get("value", "") for one in pairs}


def _inner(where: str, tags: Json, key: str) -> Any:
    try:
        return msgspec.json.decode(tags[key]) if key in tags else None
    except (msgspec.DecodeError, TypeError, RecursionError):
        raise Invalid(f"{where}: the tag {key!r} holds no JSON.", param="tags") from None


def _tags(tags: Json) -> tuple[str, ...]:
    return tuple(f"{key}:{value}" if value != "" else key for key, value in tags.items() if key not in _BOOKKEEPING)
