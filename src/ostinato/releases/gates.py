"""Gates: what a release must show before it may go on. A plug-in point with a table of built-ins.

Each gate looks at one release and says whether it passed; what a required gate does not find, it does not pass. Other
packages bring gates under the entry-point group ``ostinato.gates``: name -> an object with ``judge``.

===================  ==================================================================================================
``lint``             the linter found no error in the version
``schema``           whoever can fill in the present version can fill in the new one, and finds the same answer's shape
``diff-reviewed``    somebody who may approve, and is not the author, has attached that they read the differences
``evidence:NAME``    evidence of this name is attached to exactly this bundle, and its last word is *passed*
``evaluation``       Ostinato itself has measured exactly these contents against each other, and its gate was passed
``review``           Ostinato itself has gathered reviewers' verdicts on exactly these contents, and they were good
===================  ==================================================================================================
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from types import MappingProxyType
from typing import Any, Protocol, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ostinato.core import hashing
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.intents.model import Requirements
from ostinato.prompts import Version
from ostinato.releases.model import Evidence, Release, Verdict

GROUP = "ostinato.gates"
DIFF_REVIEWED = "diff-reviewed"
EVIDENCE = "evidence:"
EVALUATION, REVIEW = "evaluation", "review"
RESERVED = frozenset({EVALUATION, REVIEW})
"""Evidence that no key can attach: it comes from the rooms that did the work."""
WRITERS = frozenset({"system:optimization", "system:optimizer", "system:evals", "system:reviews"})
"""Who they are."""


class Context(msgspec.Struct, frozen=True):
    """What a gate may look at."""

    connection: sa.Connection
    """In the transaction of the step that is to be taken; for reading."""
    release: Release
    evidence: Sequence[Evidence]
    version: Version
    """What is to be released, with its content."""
    base: Version | None
    """What the label points at now; ``None``: nothing."""


class Gate(Protocol):
    """Judges one release. Called several times for each: be quick, and give equal verdicts for equal things."""

    def judge(self, context: Context) -> Verdict:
        """The verdict; to raise is not to pass."""
        ...


class Lint:
    """``lint``."""

    def judge(self, context: Context) -> Verdict:
        """See the table of this module."""
        errors = [one for one in context.version.findings if one.level == "error"]
        told = "; ".join(f"{one.where}: {one.message.rstrip('.')}" for one in errors[:5])
        return Verdict(
            passed=not errors,
            message=told or f"{len(context.version.findings)} warnings, no errors",
            digest=_digest(msgspec.to_builtins(context.version.findings)),
            facts={"errors": len(errors), "warnings": len(context.version.findings) - len(errors)},
        )


class Schema:
    """``schema``."""

    def judge(self, context: Context) -> Verdict:
        """See the table of this module."""
        content = context.version.content
        before = None if context.base is None else context.base.content
        if content is None or before is None:
            return Verdict(passed=True, message="there is nothing before it to agree with")
        faults = [f"it needs the variable {name!r}" for name in _required(content.variables) - _known(before.variables)]
        if not _open(content.variables):
            given = _known(before.variables) - _known(content.variables)
            faults += [f"it does not take the variable {name!r}" for name in given]
        if content.response_schema != before.response_schema:
            faults.append("its answers have another schema")
        return Verdict(
            passed=not faults,
            message="; ".join(sorted(faults)) or "callers of the present version can call it as they do",
            digest=_digest([content.variables, content.response_schema, before.variables, before.response_schema]),
            facts={"differences": len(faults)},
        )


class DiffReviewed:
    """``diff-reviewed``."""

    def judge(self, context: Context) -> Verdict:
        """See the table of this module."""
        reviews = [one for one in context.evidence if one.name == DIFF_REVIEWED]
        own = [one for one in reviews if one.principal != context.release.author]
        return _last_word(DIFF_REVIEWED, own, context.release, "nobody but the author has reviewed the differences")


class Attached:
    """``evidence:NAME``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def judge(self, context: Context) -> Verdict:
        """See the table of this module."""
        found = [one for one in context.evidence if one.name == self._name]
        return _last_word(self._name, found, context.release, f"there is no evidence {self._name!r}")


class Evaluated:
    """``evaluation``, ``review``: written by ourselves, about what is released and what it replaces."""

    def __init__(self, name: str) -> None:
        self._name = name

    def judge(self, context: Context) -> Verdict:
        """See the table of this module."""
        base = "" if context.base is None else context.base.digest
        about = {"content": context.version.digest, "base": base}
        found = [
            one
            for one in context.evidence
            if one.name == self._name
            and one.principal in WRITERS
            and one.actor in WRITERS
            and {name: one.facts.get(name) for name in about} == about
        ]
        return _last_word(self._name, found, context.release, f"there is no {self._name} of these contents")


BUILT_IN: Mapping[str, Gate] = MappingProxyType(
    {
        "lint": Lint(),
        "schema": Schema(),
        DIFF_REVIEWED: DiffReviewed(),
        EVALUATION: Evaluated(EVALUATION),
        REVIEW: Evaluated(REVIEW),
    }
)


def table() -> Mapping[str, Gate]:
    """The built-in gates and those of installed packages. Raises ``Invalid`` where a package's cannot be loaded."""
    found: dict[str, Gate] = dict(BUILT_IN)
    for point in metadata.entry_points(group=GROUP):
        try:
            loaded: Any = point.load()
            found[point.name] = cast("Gate", loaded() if isinstance(loaded, type) else loaded)
        except Exception as error:
            raise Invalid(
                f"The gate {point.name!r} of {point.value!r} cannot be loaded ({type(error).__name__}).",
                code="gate_broken",
                hint="Repair or uninstall the package that brings it.",
            ) from error
    return found


def required(everywhere: Iterable[str], label: Iterable[str], requirements: Requirements) -> tuple[str, ...]:
    """Names of the gates that a release must pass, each once, in this order: everybody's, its label's, its intent's."""
    review = (DIFF_REVIEWED,) if requirements.human_review else ()
    return tuple(dict.fromkeys([*everywhere, *label, *requirements.gates, *review]))


def judge_all(present: Mapping[str, Gate], names: Iterable[str], context: Context) -> tuple[Verdict, ...]:
    """The verdicts of the gates ``names``. One that is not there, or fails to judge, is not passed."""
    return tuple(msgspec.structs.replace(_judge(present, name, context), gate=name) for name in names)


def _judge(present: Mapping[str, Gate], name: str, context: Context) -> Verdict:
    gate = present.get(name)
    if gate is None and name.startswith(EVIDENCE):
        gate = Attached(name.removeprefix(EVIDENCE))
    if gate is None:
        return Verdict(passed=False, message="there is no such gate here")
    try:
        return gate.judge(context)
    except OstinatoError as error:
        return Verdict(passed=False, message=error.message.rstrip("."))
    except SQLAlchemyError:
        # The transaction itself is at stake, not the gate's opinion.
        raise
    except Exception as error:
        return Verdict(passed=False, message=f"it failed to judge ({type(error).__name__})")


def _last_word(name: str, found: Sequence[Evidence], release: Release, missing: str) -> Verdict:
    current = [one for one in found if one.about == release.digest]
    if not current:
        return Verdict(passed=False, message=missing)
    last = current[-1]
    return Verdict(
        passed=last.passed,
        message=f"{name} {'passed' if last.passed else 'failed'}, by {last.actor}",
        digest=last.digest,
        facts=last.facts,
    )


def _required(schema: Mapping[str, Any]) -> set[str]:
    return {str(name) for name in schema.get("required", ())}


def _known(schema: Mapping[str, Any]) -> set[str]:
    return {str(name) for name in schema.get("properties", {})}


def _open(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("additionalProperties", False))


def _digest(value: object) -> str:
    return hashlib.sha256(hashing.canonical_json(value)).hexdigest()
