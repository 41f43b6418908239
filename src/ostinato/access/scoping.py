"""From bindings to rules: what a principal is bound to, and what that comes to for a key of some project.

A permission that the rooms judge by label, intent or prompt (``permissions.JUDGED``) becomes a :class:`Rule` that
travels with the caller and is asked when it acts. All others are settled here, once: a binding to a project gives them
to keys of that project, and to no key that reaches further; a denial on a project takes them from both. In doubt the
answer is no.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from ostinato.access import permissions
from ostinato.access.model import Binding, Resource, Rule

_EVERYWHERE = Resource()
_WIDE = frozenset({"projects:write", "organizations:write"})
"""Who has one of these acts outside the key's own project."""


class Layer(msgspec.Struct, frozen=True):
    """What one principal's bindings come to at a moment."""

    allowed: frozenset[str] | None
    """What some binding allows at least somewhere; ``None``: bindings limit nothing."""
    denied: frozenset[str] = frozenset()
    """What is denied everywhere."""
    rules: tuple[Rule, ...] = ()
    until: int | None = None
    """When the next binding ends."""


def layer(principal: str, governed: bool, bindings: Sequence[Binding], now: int) -> Layer:
    """What the bindings of ``principal`` come to at ``now``."""
    everywhere: set[str] = set()
    somewhere: set[str] = set()
    denied: set[str] = set()
    rules: list[Rule] = []
    ends: list[int] = []
    for binding in bindings:
        if not binding.live(now):
            continue
        if binding.expires_at is not None:
            ends.append(binding.expires_at)
        named = reached(binding)
        if binding.on == _EVERYWHERE:
            (everywhere if binding.effect == "allow" else denied).update(named)
        elif binding.effect == "deny":
            rules.append(Rule("deny", named, binding.on, principal))
        else:
            for on, names in _seen(named, binding.on).items():
                if on == _EVERYWHERE:
                    everywhere |= names
                else:
                    somewhere |= names
                    rules.append(Rule("allow", frozenset(names), on, principal))
    limited = [
        rule if rule.effect == "deny" else msgspec.structs.replace(rule, permissions=rule.permissions - everywhere)
        for rule in rules
    ]
    return Layer(
        frozenset(everywhere | somewhere) if governed else None,
        frozenset(denied),
        # Where bindings only deny, there is no need to match an ``allow``.
        tuple(rule for rule in limited if rule.permissions and (governed or rule.effect == "deny")),
        min(ends, default=None),
    )


def reached(binding: Binding) -> frozenset[str]:
    """The permissions that a binding speaks of, given what it is limited to."""
    named = permissions.ROLES.get(binding.role, frozenset()) if binding.role else binding.permissions
    return within(named, binding.on, binding.effect)


def within(named: Iterable[str], on: Resource, effect: str) -> frozenset[str]:
    """Those of ``named`` that can be limited to ``on``.

    A denial keeps those that reach beyond a project: whoever has them acts in the denied project too.
    """
    wanted = frozenset(named)
    if on == _EVERYWHERE:
        return wanted
    fields = _fields(on)
    judged = frozenset(name for name in wanted if fields <= permissions.JUDGED.get(name, frozenset()))
    if fields == {"project"}:
        return wanted if effect == "deny" else wanted - permissions.ORGANIZATION_ONLY
    return judged if effect == "deny" else judged | (wanted & permissions.SEEN_ALONG)


def _seen(named: frozenset[str], on: Resource) -> dict[Resource, set[str]]:
    """What an allowing binding comes to for each permission: what is seen along is limited by as much as is judged."""
    found: dict[Resource, set[str]] = defaultdict(set)
    for name in named:
        kept = permissions.JUDGED.get(name, frozenset()) | {"project"}
        found[Resource(**{field: getattr(on, field) for field in _fields(on) & kept})].add(name)
    return found


def reduce(home: str, allowed: frozenset[str], rules: tuple[Rule, ...]) -> tuple[frozenset[str], tuple[Rule, ...]]:
    """What ``allowed`` and ``rules`` come to for a key of the project ``home``: settled permissions, rules left."""
    if not rules:
        return allowed, rules
    # First who loses the reach beyond its project, as that decides how all else is judged.
    for rule in rules:
        if rule.effect == "deny" and _fields(rule.on) == {"project"}:
            allowed -= rule.permissions & permissions.ORGANIZATION_ONLY
    wide = bool(allowed & _WIDE)
    left: dict[tuple[str, str, Resource], set[str]] = defaultdict(set)
    limiting: dict[tuple[str, str], bool] = {}
    """(layer, permission) -> whether it is settled that the layer allows it."""
    for rule in rules:
        for name in rule.permissions & allowed:
            verdict = _settle(rule, name, home, wide=wide)
            if rule.effect == "allow":
                limiting[rule.layer, name] = limiting.get((rule.layer, name), False) or verdict is True
            elif verdict is True:
                allowed -= {name}
            if verdict is None:
                left[rule.effect, rule.layer, rule.on].add(name)
    asked = {(layer, name) for (effect, layer, _), names in left.items() if effect == "allow" for name in names}
    allowed -= {name for (layer, name), settled in limiting.items() if not settled and (layer, name) not in asked}
    kept: list[Rule] = []
    for (effect, layer, on), asked_for in left.items():
        names = frozenset(asked_for & allowed)
        if effect == "deny":
            kept.append(Rule("deny", names, on, layer))
        else:
            open_ = frozenset(name for name in names if not limiting[layer, name])
            kept.append(Rule("allow", open_, on, layer))
    return allowed, tuple(rule for rule in kept if rule.permissions)


def _settle(rule: Rule, name: str, home: str, *, wide: bool) -> bool | None:
    """Whether the rule holds for a permission wherever the key may act; ``None`` where that depends on the action."""
    fields = _fields(rule.on)
    judged = permissions.JUDGED.get(name, frozenset())
    if not wide and rule.on.project and rule.on.project != home:
        return False
    if fields <= judged:
        return True if not wide and fields == {"project"} else None
    # A project that cannot be judged when it acts is judged by where the key belongs, if it reaches nothing else.
    return not wide if rule.effect == "allow" else True


def _fields(on: Resource) -> set[str]:
    return {name for name, value in msgspec.structs.asdict(on).items() if value}


def subsumes(outer: Resource, inner: Resource) -> bool:
    """Whether everything that ``inner`` matches, ``outer`` matches too."""
    pairs = _pairs(outer, inner)
    return all(not one or (bool(other) and _within(one, other)) for one, other in pairs)


def overlap(one: Resource, other: Resource) -> bool:
    """Whether some resource may match both patterns."""
    return all(not a or not b or _within(a, b) or _within(b, a) for a, b in _pairs(one, other))


def _pairs(one: Resource, other: Resource) -> list[tuple[str, str]]:
    a, b = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return [(a[name], b[name]) for name in a]


def _within(pattern: str, other: str) -> bool:
    return other.startswith(pattern[:-1]) if pattern.endswith("*") else other == pattern
