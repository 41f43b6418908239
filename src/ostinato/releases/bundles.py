"""What approvals are bound to: the digest of everything that decides what a release does."""

import hashlib
from collections.abc import Callable, Mapping

import msgspec
import sqlalchemy as sa

from ostinato import prompts
from ostinato.core import hashing
from ostinato.intents.model import Requirements
from ostinato.releases.model import Release

RequirementsOf = Callable[[str, str], Requirements]
"""``requirements_of(project, intent_key)``: what an intent asks of releases; an empty key: a prompt of no intent."""

_WORDS = {
    "content": "the version's content has changed",
    "partials": "a partial's content has changed",
    "label": "the label's protection has changed",
    "base": "the label was moved meanwhile",
    "intent": "the prompt belongs to another intent",
    "requirements": "the intent's policies have changed",
    "gates": "other gates are required now",
    "approvals": "another number of approvals is required now",
    "archived": "the prompt was archived",
}


def compose(connection: sa.Connection, release: Release, requirements_of: RequirementsOf) -> dict[str, object]:
    """The bundle of a release as things are now.

    A version's digest covers its content with parameters, tools, schemas and the numbers of its partials; theirs cover
    the rest of what it renders to.
    """
    made = prompts.bundle(connection, release.project, release.prompt, release.number)
    head = made.prompt
    label = prompts.label(connection, release.project, release.label)
    requirements = requirements_of(release.project, head.intent)
    started = release.started_at is not None
    base: dict[str, object] = {"number": release.base_number, "release": release.base_release}
    if not started:
        standing = prompts.assignment(connection, release.project, release.prompt, release.label)
        base = {
            "number": None if standing is None else standing.number,
            "release": "" if standing is None else standing.release,
        }
    return {
        "project": release.project,
        "prompt": release.prompt,
        "number": release.number,
        "content": made.version.digest,
        "partials": made.partials,
        "label": {"name": label.name, "protection": msgspec.to_builtins(label.protection)},
        "base": base,
        "plan": _plan(release),
        "intent": head.intent,
        "requirements": msgspec.to_builtins(requirements),
        "gates": list(release.gates),
        "approvals": release.approvals_needed,
        "archived": head.archived_at is not None,
    }


def _plan(release: Release) -> dict[str, object]:
    """The plan; without the place of guardrails where there are none, as it was digested before there were any."""
    plan: dict[str, object] = msgspec.to_builtins(release.plan)
    if release.plan.guardrails is None:
        del plan["guardrails"]
    return plan


def digest(bundle: Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(hashing.canonical_json(bundle)).hexdigest()


def difference(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What differs, in words."""
    # By their JSON: what was stored comes back with lists for tuples.
    one, other = ({name: hashing.canonical_json(value) for name, value in side.items()} for side in (before, now))
    names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    return ", ".join(_WORDS.get(name, f"{name} has changed") for name in names) or "it was made by another version"
