"""All intents, compiled: which one a request is of, and what may be cached under it. Immutable; swapped whole."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ostinato.cache import policy as policies
from ostinato.cache.model import Policy
from ostinato.core import hashing
from ostinato.core.errors import Denied, Invalid, NotFound
from ostinato.intents import reading
from ostinato.intents.model import Effective, Intent, Requirements
from ostinato.intents.stakes import DEFAULTS, NO_INTENT

_DAY = 86_400.0
_REMEMBERED = 4_096
"""Policies remembered; what is beyond is worked out again."""
_LISTED = 20
_RULES = tuple(name for name in Policy.__struct_fields__ if name not in ("version", "checks"))

_ANY_REQUIREMENTS = Requirements(
    approvals=NO_INTENT.approvals,
    human_review=NO_INTENT.human_review,
    auto_rollout=NO_INTENT.auto_rollout,
    baseline_holdout=NO_INTENT.baseline_holdout,
)


class _Own(msgspec.Struct, frozen=True):
    """The intents of one project, or of everybody."""

    keys: dict[str, Intent]
    matches: dict[tuple[str, str], Intent]
    """By (alias, tag); ``""``: any."""


_NOBODY = _Own({}, {})


class Intents:
    """All intents. A project's own come before everybody's of the same key or rule."""

    __slots__ = ("_checks", "_everybody", "_made", "_projects", "all", "digest")

    def __init__(self, intents: tuple[Intent, ...], checks: Mapping[str, object]) -> None:
        self.all = intents
        """By project, then key."""
        self.digest = hashing.digest_of([intent.version for intent in intents])
        self._checks = dict(checks)
        self._projects = {
            project: _gathered([one for one in intents if one.project == project])
            for project in {one.project for one in intents}
        }
        self._everybody = self._projects.get("", _NOBODY)
        self._made: dict[tuple[str, str, str], Policy] = {}

    def of(self, project: str, key: str) -> Intent | None:
        """The intent that a project calls ``key``: its own, or everybody's."""
        return self._projects.get(project, _NOBODY).keys.get(key) or self._everybody.keys.get(key)

    def require(self, project: str, key: str) -> Intent:
        """The same. Raises ``NotFound`` with those that exist."""
        found = self.of(project, key)
        if found is None:
            known = self.keys(project)
            listed = ", ".join(known[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
            raise NotFound(
                f"There is no intent {key[:80]!r}.",
                code="intent_not_found",
                param="intent",
                hint=f"There are: {listed}." if known else "None is declared: leave it out.",
            )
        return found

    def binds(self, project: str, key: str) -> bool:
        """Whether the stakes of an intent bound what may be declared otherwise (high, critical)."""
        found = self.of(project, key)
        return found is not None and DEFAULTS[found.stakes].binding

    def keys(self, project: str) -> list[str]:
        """What a project may name, in order."""
        return sorted({*self._projects.get(project, _NOBODY).keys, *self._everybody.keys})

    def requirements(self, project: str, key: str) -> Requirements:
        """What a release of a prompt of this intent needs; ``""``: of no intent. Raises ``NotFound``."""
        return self.require(project, key).requirements if key else _ANY_REQUIREMENTS

    def for_request(
        self,
        project: str,
        header: str = "",
        prompt: str | None = None,
        alias: str = "",
        tags: tuple[str, ...] = (),
        *,
        allowed: frozenset[str] | None = None,
    ) -> Intent | None:
        """The intent of a request: its prompt's, else the one that its header names, else what alias and tags say.

        ``prompt``: the key that the asked prompt belongs to, ``""`` where it belongs to none, ``None`` where no prompt
        is asked. ``allowed``: the caller's ``allowed_intents``. Raises ``NotFound`` (no such intent), ``Invalid`` (the
        header contradicts the prompt: it could lower the stakes) and ``Denied``.
        """
        if prompt and header and header != prompt:
            raise Invalid(
                f"The prompt belongs to the intent {prompt!r}, and ostinato-intent names {header[:80]!r}.",
                code="intent_mismatch",
                param="ostinato-intent",
                hint="Leave the header out: a prompt brings its intent along.",
            )
        key = prompt or header
        found = self.require(project, key) if key else self._matched(project, alias, tags) if self.all else None
        if allowed is not None and (found is not None or prompt is not None):
            _permit(found, allowed)
        return found

    def _matched(self, project: str, alias: str, tags: tuple[str, ...]) -> Intent | None:
        for own in (self._projects.get(project, _NOBODY), self._everybody):
            if not own.matches:
                continue
            for wanted in (*((alias, tag) for tag in tags), *(("", tag) for tag in tags), (alias, "")):
                found = own.matches.get(wanted)
                if found is not None:
                    return found
        return None

    def policy(self, project: str, key: str, base: Policy) -> Policy:
        """What may be cached under an intent: ``base`` (of project and alias) with the intent's rules over it.

        Its ``version`` is of the rules *and* of the intent: entries of two intents never meet, so that what an answer
        cost and saved always counts for the intent it was asked under. ``base`` is one that :class:`Policies` gave.
        """
        if not key:
            return base
        made = self._made.get((project, key, base.version))
        if made is None:
            intent = self.require(project, key)
            made = _policy(intent, base, self._checks)
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            self._made[project, key, base.version] = made
        return made

    def effective(self, intent: Intent, base: Policy) -> tuple[Effective, ...]:
        """Every rule that holds for the intent, and where it comes from. ``base``: the cache policy behind it."""
        policy = self.policy(intent.project, intent.key, base)
        origins = _origins(intent, base)
        return (
            *(Effective(f"cache.{name}", getattr(policy, name), origins.get(name, "cache policy")) for name in _RULES),
            Effective("checks", policy.checks, "declared" if policy.checks != base.checks else "cache policy"),
            *reading.review_effects(intent),
        )


def compile_intents(bodies: Mapping[str, Any], checks: Mapping[str, object] | None = None) -> Intents:
    """Compile declarations ``{name: body}``, each with its project's id; ``checks``: declared check rules by name.

    Raises ``Invalid`` naming the key and what is allowed there.
    """
    rules = checks or {}
    found: dict[tuple[str, str], Intent] = {}
    matches: dict[tuple[str, str, str], Intent] = {}
    for name, body in bodies.items():
        intent = reading.read(name, body, rules)
        other = found.setdefault((intent.project, intent.key), intent)
        if other is not intent:
            raise Invalid(
                f"The intents {other.name!r} and {name!r} have the same key {intent.key!r} in the same project.",
                code="intent_conflict",
                param=f"intents.{name}.key",
                hint="Remove one, or give one of them another `key` or `project`.",
            )
        for alias, tag in _pairs(intent):
            other = matches.setdefault((intent.project, alias, tag), intent)
            if other is not intent:
                raise Invalid(
                    f"The intents {other.name!r} and {name!r} both match "
                    f"{f'the alias {alias!r}' if alias else f'the tag {tag!r}'}.",
                    code="intent_conflict",
                    param=f"intents.{name}.match",
                    hint="A request is of one intent: let one of them match something else.",
                )
    return Intents(tuple(found[place] for place in sorted(found)), rules)


def _pairs(intent: Intent) -> list[tuple[str, str]]:
    """What an intent matches, as (alias, tag)."""
    match = intent.declared.match
    if not match.aliases and not match.tags:
        return []
    return [(alias, tag) for alias in match.aliases or ("",) for tag in match.tags or ("",)]


def _gathered(intents: list[Intent]) -> _Own:
    return _Own({one.key: one for one in intents}, {pair: one for one in intents for pair in _pairs(one)})


def _permit(intent: Intent | None, allowed: frozenset[str]) -> None:
    if intent is not None and intent.key in allowed:
        return
    what = f"for the intent {intent.key!r}" if intent is not None else "for prompts of no intent"
    listed = ", ".join(sorted(allowed)[:_LISTED])
    raise Denied(
        f"This key may not be used {what}.",
        code="intent_not_allowed",
        hint=f"It may be used for: {listed}." if allowed else "It may be used for none.",
    )


def _rules(intent: Intent, base: Policy) -> dict[str, tuple[object, str]]:
    """What the intent sets of a policy: field -> (value, where it comes from)."""
    declared = intent.declared
    found: dict[str, tuple[object, str]] = {}
    for rules, origin in ((DEFAULTS[intent.stakes].cache, f"stakes: {intent.stakes}"), (declared.cache, "declared")):
        found |= {name: (value, origin) for name, value in rules.given().items()}
    for private in ("personal", "sensitive"):
        if private in declared.data_classes and "scope" not in declared.cache.given():
            found["scope"] = ("user", f"data class: {private}")
    if declared.retention.answers is not None:
        found |= _capped(found, base, declared.retention.answers * _DAY)
    return found


def _capped(found: Mapping[str, tuple[object, str]], base: Policy, longest: float) -> dict[str, tuple[object, str]]:
    """What must be shortened so that no answer is served ``longest`` seconds after it was made."""

    def now(name: str) -> float:
        value = found[name][0] if name in found else getattr(base, name)
        return float(cast("float", value))

    ttl = min(now("ttl"), longest)
    wanted = {"ttl": ttl, "fallback_ttl": min(now("fallback_ttl"), longest)}
    wanted |= {stale: min(now(stale), longest - ttl) for stale in ("stale_while_revalidate", "stale_if_error")}
    return {name: (value, "retention") for name, value in wanted.items() if value != now(name)}


def _policy(intent: Intent, base: Policy, checks: Mapping[str, object]) -> Policy:
    values: dict[str, Any] = {name: value for name, (value, _) in _rules(intent, base).items()}
    more = tuple(rule for rule in intent.declared.checks if rule not in base.checks)
    sealed = policies.sealed(msgspec.structs.replace(base, **values, checks=(*base.checks, *more)), checks)
    # The stakes too: what was kept at lower ones is not served at higher ones, nor what nobody had looked at where
    # answers are held.
    held = ["held"] if intent.declared.review.hold else []
    version = hashing.digest_of(["intent", intent.key, intent.stakes, sealed.version, *held])[:8].hex()
    return msgspec.structs.replace(sealed, version=version)


def _origins(intent: Intent, base: Policy) -> dict[str, str]:
    return {name: origin for name, (_, origin) in _rules(intent, base).items()}
