"""From an example as it is handed in to its row: judged, digested, given its split."""

import hashlib
from collections.abc import Iterable

import msgspec

from ostinato.core import hashing
from ostinato.core.errors import Invalid
from ostinato.datasets import splitting
from ostinato.datasets.model import Example, NewExample, Shares, Split
from ostinato.datasets.settings import Settings
from ostinato.wire.model import Json

_LABEL = 64
"""A reference that is a text of at most so many characters is a stratum as well."""
_SHORT = 255
SUBJECT = "subject"
"""Name of the metadata that says whose data an example is: what an erasure by subject goes by."""


class Prepared(msgspec.Struct, frozen=True):
    """An example, ready to be written."""

    digest: str
    inputs_key: str
    answer_key: str
    """Equal for examples with an equal reference and equal passages."""
    stratum: str
    subject: str
    source: str
    split: Split
    body: Json


def prepare(examples: Iterable[NewExample], shares: Shares, settings: Settings) -> list[Prepared]:
    """Every example, in order. Raises ``Invalid`` naming the first that cannot be used, by number and source."""
    return [_prepare(number, one, shares, settings) for number, one in enumerate(examples, 1)]


def _prepare(number: int, one: NewExample, shares: Shares, settings: Settings) -> Prepared:
    where = f"Example {number}" + (f" ({one.source[:80]})" if one.source else "")
    if not one.inputs:
        raise Invalid(
            f"{where} has no inputs.",
            code="example_without_inputs",
            param=f"examples[{number - 1}].inputs",
            hint='Inputs are the variables that the prompt takes: {"question": "..."}.',
        )
    stratum = one.stratum or label_of(one.reference)
    subject = str(one.metadata.get(SUBJECT, ""))
    for name, text in (("stratum", stratum), ("group", one.group), ("source", one.source), (SUBJECT, subject)):
        if len(text) > _SHORT or "\x00" in text:
            raise Invalid(
                f"{where} has a {name} that is longer than {_SHORT} characters, or holds a NUL.",
                code="invalid_example",
                param=f"examples[{number - 1}].{name}",
            )
    passages = [msgspec.to_builtins(passage) for passage in one.passages]
    said = {
        "inputs": one.inputs,
        "reference": one.reference,
        "metadata": one.metadata,
        "passages": passages,
        "group": one.group,
        "stratum": stratum,
    }
    data = hashing.canonical_json(said)
    if len(data) > settings.example_bytes:
        raise Invalid(
            f"{where} takes {len(data):,} bytes; {settings.example_bytes:,} are allowed.",
            code="example_too_large",
            param=f"examples[{number - 1}]",
            hint="Shorten it, or raise [datasets] example_bytes.",
        )
    key = splitting.inputs_key(one)
    answer = hashing.canonical_json([splitting.normalized(one.reference), passages])
    return Prepared(
        digest=hashlib.sha256(data).hexdigest(),
        inputs_key=key,
        answer_key=hashing.digest(b"answer", answer).hex(),
        stratum=stratum,
        subject=subject,
        source=one.source,
        split=splitting.split_of(one, shares, key),
        body=msgspec.json.decode(data),
    )


def label_of(reference: object) -> str:
    """The stratum that a reference stands for: itself, where it is a short text, a truth value or a whole number."""
    if isinstance(reference, bool):
        return "true" if reference else "false"
    if isinstance(reference, int):
        return str(reference)[:_LABEL]
    if isinstance(reference, str) and 0 < len(reference) <= _LABEL and "\n" not in reference:
        return reference.replace("\x00", "")
    return ""


def built(identifier: str, digest: str, split: str, source: str, body: Json | None) -> Example:
    """An example from its row; a tombstone where its body is gone."""
    if body is None:
        return msgspec.convert(
            {"inputs": {}, "id": identifier, "digest": digest, "split": split, "erased": True}, Example
        )
    return msgspec.convert({**body, "source": source, "id": identifier, "digest": digest, "split": split}, Example)


def version_digest(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (digest, split) of examples, whatever their order. 64 hexadecimal digits."""
    text = "\n".join(f"{digest} {split}" for digest, split in sorted(pairs))
    return hashlib.sha256(text.encode()).hexdigest()
