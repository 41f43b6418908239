"""Policies: what may be cached, declared per project and alias, compiled once, looked up by every request.

A declared body holds the fields of :class:`~ostinato.cache.model.Policy` and, beside them, ``project`` and ``alias``;
either left out stands for all. The most specific declaration wins *whole* (nothing is inherited from a wider one, only
from the built-in defaults): project and alias, then project, then alias, then the one for all.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ostinato.cache.model import Policy
from ostinato.core import hashing
from ostinato.core.errors import Invalid

_SECTION: Final = "policies"
DIRECTIVES: Final = ("no-cache", "no-store", "max-age", "only-if-cached")
_OWN = ("project", "alias")
_FIELDS = tuple(name for name in Policy.__struct_fields__ if name != "version")
_LONGEST = 10 * 365 * 86_400.0
_LARGEST_ENTRY = 64 * 1_048_576
_RANGES: dict[str, tuple[float, float]] = {
    "ttl": (0.001, _LONGEST),
    "ttl_jitter": (0.0, 0.9),
    "temperature_limit": (0.0, 2.0),
    "stale_while_revalidate": (0.0, _LONGEST),
    "stale_if_error": (0.0, _LONGEST),
    "fallback_ttl": (0.001, _LONGEST),
    "max_entry_bytes": (256, _LARGEST_ENTRY),
}


class _Table(msgspec.Struct, frozen=True):
    aliases: dict[str, Policy]
    rest: Policy


class Policies:
    """All policies, compiled. Immutable; swapped whole when a declaration changes."""

    __slots__ = ("_others", "_projects", "digest")

    def __init__(self, projects: dict[str, _Table], others: _Table) -> None:
        self._projects = projects
        self._others = others
        self.digest = hashing.digest_of(
            [
                [name, sorted((a, p.version) for a, p in t.aliases.items()), t.rest.version]
                for name, t in sorted(projects.items())
            ]
            + [["", sorted((a, p.version) for a, p in others.aliases.items()), others.rest.version]]
        )
        """Of every policy and whom it is for: equal digests decide alike."""

    def for_(self, project: str, alias: str) -> Policy:
        """The policy for an alias in a project; there always is one."""
        table = self._projects.get(project, self._others)
        return table.aliases.get(alias, table.rest)


def compile_policies(bodies: Mapping[str, Any], checks: Mapping[str, Any] | None = None) -> Policies:
    """Compile declarations ``{name: body}``; ``checks`` are the declared check rules by name.

    A rule's content takes part in the version of every policy that names it. Raises ``Invalid`` naming the key and what
    is allowed there.
    """
    rules = checks or {}
    declared: dict[tuple[str, str], tuple[str, Policy]] = {}
    for name, body in bodies.items():
        project, alias, policy = read(name, body, rules)
        taken = declared.get((project, alias))
        if taken is not None:
            raise Invalid(
                f"The policies {taken[0]!r} and {name!r} are for the same project and alias.",
                code="policy_conflict",
                param=f"{_SECTION}.{name}",
                hint="Remove one, or give one of them another `project` or `alias`.",
            )
        declared[project, alias] = (name, policy)
    default = sealed(Policy(), rules)
    anywhere = {alias: policy for (project, alias), (_, policy) in declared.items() if not project and alias}
    others = _Table(anywhere, declared["", ""][1] if ("", "") in declared else default)
    projects: dict[str, _Table] = {}
    for project in {project for project, _ in declared if project}:
        own = {alias: policy for (owner, alias), (_, policy) in declared.items() if owner == project and alias}
        whole = declared.get((project, ""))
        projects[project] = _Table({**anywhere, **own}, others.rest) if whole is None else _Table(own, whole[1])
    return Policies(projects, others)


def read(name: str, body: object, checks: Mapping[str, Any]) -> tuple[str, str, Policy]:
    """One declaration as (project, alias, policy); ``""`` stands for all. Raises ``Invalid`` as above."""
    where = f"{_SECTION}.{name}"
    if not isinstance(body, Mapping):
        raise Invalid(
            f"The policy {name!r} is no table of settings.", param=where, hint=f"Allowed: {_listed((*_OWN, *_FIELDS))}."
        )
    values: dict[str, Any] = {str(field): value for field, value in body.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]: keys and values are checked below
    for field in values:
        if field not in _FIELDS and field not in _OWN:
            raise Invalid(
                f"The policy {name!r} has an unknown setting {field!r}.",
                param=f"{where}.{field}",
                hint=f"Allowed: {_listed((*_OWN, *_FIELDS))}.",
            )
    whose = [_selector(where, field, values.pop(field, "")) for field in _OWN]
    try:
        policy = msgspec.convert(values, Policy, strict=True)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`") or "?"
        raise Invalid(
            f"The policy {name!r} has a wrong value for {field!r}: {message}.",
            param=f"{where}.{field}",
            hint=_allowed(field.split("[")[0]),
        ) from None
    _judge(name, where, policy, checks)
    return whose[0], whose[1], sealed(policy, checks)


def sealed(policy: Policy, checks: Mapping[str, Any] | None = None) -> Policy:
    """This policy with its ``version``: 16 hex digits of a digest of every setting and of its check rules."""
    rules = checks or {}
    bare = msgspec.structs.replace(policy, version="")
    body = [[field, getattr(bare, field)] for field in _FIELDS]
    digest = hashing.digest_of([body, [msgspec.to_builtins(rules.get(rule)) for rule in policy.checks]])
    return msgspec.structs.replace(policy, version=digest[:8].hex())


def _judge(name: str, where: str, policy: Policy, checks: Mapping[str, Any]) -> None:
    """Refuse what has the right type and the wrong value."""
    for field, (least, most) in _RANGES.items():
        value: float = getattr(policy, field)
        if not (math.isfinite(value) and least <= value <= most):
            raise Invalid(
                f"The policy {name!r} has a wrong value for {field!r}: {value}.",
                param=f"{where}.{field}",
                hint=_allowed(field),
            )
    for word in policy.allow_directives:
        if word not in DIRECTIVES:
            raise Invalid(
                f"The policy {name!r} allows an unknown directive {word!r}.",
                param=f"{where}.allow_directives",
                hint=_allowed("allow_directives"),
            )
    for rule in policy.checks:
        if rule not in checks:
            raise Invalid(
                f"The policy {name!r} names a check that is not declared: {rule!r}.",
                param=f"{where}.checks",
                hint=f"Declared: {_listed(sorted(checks))}." if checks else "No check is declared.",
            )


def _selector(where: str, field: str, value: object) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{where}.{field} must be a text.", param=f"{where}.{field}", hint='"" or "*" stands for all.')
    return "" if value == "*" else value


def _allowed(field: str) -> str:
    if field in _RANGES:
        least, most = _RANGES[field]
        return f"Allowed: {least:g} to {most:g}."
    words = {
        "mode": 'Allowed: "off", "exact".',
        "scope": 'Allowed: "user", "project".',
        "allow_directives": f"Allowed: a list of {_listed(DIRECTIVES)}.",
        "checks": "Allowed: a list of names of declared checks.",
    }
    return words.get(field, "Allowed: true, false.")


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)
