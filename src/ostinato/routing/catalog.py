"""The catalog: every declared route, compiled and validated once, looked up by every request.

A declared body is ``{"targets": ["provider/model", {"provider": ..., "model": ..., ...}], "strategy": ..., "kind": ...,
"project": ..., "alias": ...}``; ``alias`` is the declaration's name where it is left out. Prices are elsewhere.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast

import msgspec

from ostinato.core import hashing
from ostinato.core.errors import Invalid, NotFound
from ostinato.routing.model import Route, Target

_SECTION: Final = "models"
_MOST_TARGETS = 32
_SHOWN = 20
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_ROUTE_FIELDS = ("targets", "strategy", "kind", "project", "alias")
_TARGET_FIELDS = tuple(name for name in Target.__struct_fields__ if name != "digest")
_RANGES: dict[str, tuple[float, float]] = {
    "weight": (0.0, 1_000_000.0),
    "timeout": (0.01, 3_600.0),
    "retries": (0, 10),
    "max_tokens": (1, 100_000_000),
    "max_concurrency": (0, 1_000_000),
}
_NAMES = ("provider", "model", "revision")
_LONGEST_NAME = 500
_WORDS = {"strategy": ("ordered", "weighted"), "kind": ("chat", "embedding")}


class Catalog:
    """Routes by project and alias. Immutable; swapped whole when a declaration changes."""

    __slots__ = ("_everywhere", "_projects", "digest")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._everywhere: dict[str, Route] = {}
        self._projects: dict[str, dict[str, Route]] = {}
        for route in routes:
            if route.project:
                self._projects.setdefault(route.project, {})[route.alias] = route
            else:
                self._everywhere[route.alias] = route
        for own in self._projects.values():
            for alias, route in self._everywhere.items():
                own.setdefault(alias, route)
        self.digest = hashing.digest_of(
            sorted([r.project, r.alias, r.digest.hex()] for r in {id(r): r for r in self.routes()}.values())
        )
        """Of every route: equal digests lead to the same targets."""

    def get(self, project: str, alias: str) -> Route | None:
        """The route of an alias for a project, or ``None``. A project's own hides the one for all."""
        return self._projects.get(project, self._everywhere).get(alias)

    def route(
        self,
        project: str,
        alias: str,
        kind: Literal["chat", "embedding"] = "chat",
        allowed: frozenset[str] | None = None,
    ) -> Route:
        """The route of an alias. Raises ``NotFound`` naming the aliases that exist for this caller, or ``Invalid``
        where the alias is of another kind. ``allowed``: the aliases that the caller's key may use; ``None``: all.
        """
        found = self.get(project, alias)
        if found is None:
            names = [name for name in self.aliases(project, kind) if allowed is None or name in allowed]
            shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            raise NotFound(
                f"The model {alias[:200]!r} does not exist.",
                code="model_not_found",
                param="model",
                hint=f"Available: {shown}." if names else "No model is available to this key.",
            )
        if found.kind != kind:
            use = "/v1/embeddings" if found.kind == "embedding" else "/v1/chat/completions or /v1/messages"
            raise Invalid(
                f"The model {alias!r} is for {'embeddings' if found.kind == 'embedding' else 'chat'}.",
                code="model_kind",
                param="model",
                hint=f"Use {use}.",
            )
        return found

    def aliases(self, project: str, kind: str | None = None) -> list[str]:
        """The aliases that exist for a project, sorted."""
        known = self._projects.get(project, self._everywhere)
        return sorted(alias for alias, route in known.items() if kind is None or route.kind == kind)

    def routes(self) -> list[Route]:
        """Every route, each once."""
        own = [r for project, routes in self._projects.items() for r in routes.values() if r.project == project]
        return [*self._everywhere.values(), *own]

    def targets(self) -> list[Target]:
        """Every target, each name once, by name."""
        named = {target.name: target for route in self.routes() for target in route.targets}
        return [named[name] for name in sorted(named)]


def compile_routes(bodies: Mapping[str, Any], providers: Mapping[str, bytes]) -> Catalog:
    """Compile declarations ``{name: body}``.

    ``providers`` maps each configured provider to a digest of where it points (kind and address): if that changes, old
    entries are unreachable. Raises ``Invalid`` naming the key and what is allowed there.
    """
    found: dict[tuple[str, str], str] = {}
    routes: list[Route] = []
    for name, body in bodies.items():
        route = read(name, body, providers)
        taken = found.setdefault((route.project, route.alias), name)
        if taken != name:
            raise Invalid(
                f"The models {taken!r} and {name!r} declare the same alias {route.alias!r}.",
                code="alias_conflict",
                param=f"{_SECTION}.{name}",
                hint="Remove one, or give one of them another `alias` or `project`.",
            )
        routes.append(route)
    return Catalog(routes)


def read(name: str, body: object, providers: Mapping[str, bytes]) -> Route:
    """One declaration as a route. Raises ``Invalid`` as :func:`compile_routes`."""
    where = f"{_SECTION}.{name}"
    fields = _table(where, body, _ROUTE_FIELDS)
    alias = _text(where, "alias", fields.get("alias", name))
    if not _ALIAS.fullmatch(alias) or alias.startswith("prompt:"):
        raise Invalid(
            f"{alias[:200]!r} cannot name a model.",
            param=f"{where}.alias",
            hint="Allowed: letters, digits and . _ : / @ + -, at most 200, not beginning with `prompt:`.",
        )
    listed = fields.get("targets")
    if isinstance(listed, str):
        listed = [listed]
    if not isinstance(listed, list | tuple) or not 1 <= len(cast("list[object]", listed)) <= _MOST_TARGETS:
        raise Invalid(
            f"{where}.targets must be a list of 1 to {_MOST_TARGETS} targets.",
            param=f"{where}.targets",
            hint='A target is "provider/model" or a table.',
        )
    targets = tuple(
        _target(f"{where}.targets[{index}]", item, providers) for index, item in enumerate(cast("list[object]", listed))
    )
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise Invalid(f"{where} names the target {twice!r} twice.", param=f"{where}.targets", hint="Name it once.")
    project = _text(where, "project", fields.get("project", ""))
    strategy = _word(where, "strategy", fields.get("strategy", "ordered"))
    if strategy == "weighted" and not any(target.weight > 0 for target in targets):
        raise Invalid(f"All targets of {where} have the weight 0.", param=f"{where}.targets", hint="Give one a weight.")
    return sealed(
        Route(
            alias=alias,
            targets=targets,
            strategy=cast('Literal["ordered", "weighted"]', strategy),
            kind=cast('Literal["chat", "embedding"]', _word(where, "kind", fields.get("kind", "chat"))),
            project="" if project == "*" else project,
        )
    )


def sealed(route: Route) -> Route:
    """This route with its digest, and its targets with theirs."""
    targets = tuple(t if t.digest else msgspec.structs.replace(t, digest=target_digest(t)) for t in route.targets)
    digests = [target.digest.hex() for target in targets]
    if route.strategy == "weighted":
        digests.sort()  # the drawn target is in the key by itself; the order in which they are listed says nothing
    return msgspec.structs.replace(
        route, targets=targets, digest=hashing.digest_of(["route", route.kind, route.strategy, digests])
    )


def target_digest(target: Target, provider: bytes = b"") -> bytes:
    """Digest of what can change a target's answers: where the provider points, the model and its revision. 32 bytes."""
    if target.digest:
        return target.digest
    return hashing.digest(
        b"target", target.provider.encode(), provider, target.model.encode(), target.revision.encode()
    )


def key_digest(route: Route, target: Target) -> bytes:
    """What of the route belongs to a cache key: the route, and for a weighted one the drawn target (32 or 64 bytes)."""
    return route.digest + target_digest(target) if route.strategy == "weighted" else route.digest


def _target(where: str, item: object, providers: Mapping[str, bytes]) -> Target:
    if isinstance(item, str):
        provider, slash, model = item.partition("/")
        if not slash:
            raise Invalid(f"{where} is {item!r}.", param=where, hint='Allowed: "provider/model" or a table.')
        item = {"provider": provider, "model": model}
    fields = _table(where, item, _TARGET_FIELDS)
    try:
        target = msgspec.convert(fields, Target, strict=True)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        at = f"{where}.{path.rstrip('`')}" if path else where
        raise Invalid(f"{at} is wrong: {message}.", param=at, hint=_allowed(path.rstrip("`"))) from None
    for field in _NAMES:
        _name(where, field, getattr(target, field))
    for field, (least, most) in _RANGES.items():
        value: float | None = getattr(target, field)
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            raise Invalid(f"{where}.{field} is {value}.", param=f"{where}.{field}", hint=_allowed(field))
    if not target.model:
        raise Invalid(f"{where}.model is empty.", param=f"{where}.model", hint="Name the provider's model.")
    if target.provider not in providers:
        raise Invalid(
            f"{where}.provider names an unknown provider {target.provider!r}.",
            code="unknown_provider",
            param=f"{where}.provider",
            hint=f"Configured: {', '.join(sorted(providers))}." if providers else "No provider is configured.",
        )
    return msgspec.structs.replace(target, digest=target_digest(target, providers[target.provider]))


def _name(where: str, field: str, value: str) -> None:
    """Refuse what could not stand in a line: targets are named in response headers and in the log."""
    if len(value) > _LONGEST_NAME or not value.isprintable():
        raise Invalid(
            f"{where}.{field} is {value[:80]!r}.",
            param=f"{where}.{field}",
            hint=f"Allowed: at most {_LONGEST_NAME} printable characters, no line breaks or control characters.",
        )


def _table(where: str, body: object, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(body, Mapping):
        raise Invalid(f"{where} is no table.", param=where, hint=f"Allowed: {', '.join(allowed)}.")
    fields = {str(name): value for name, value in cast("Mapping[object, Any]", body).items()}
    for name in fields:
        if name not in allowed:
            raise Invalid(
                f"{where} has an unknown setting {name!r}.",
                param=f"{where}.{name}",
                hint=f"Allowed: {', '.join(allowed)}.",
            )
    return fields


def _text(where: str, field: str, value: object) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{where}.{field} must be a text.", param=f"{where}.{field}")
    return value


def _word(where: str, field: str, value: object) -> str:
    if value not in _WORDS[field]:
        raise Invalid(
            f"{where}.{field} is {value!r}.", param=f"{where}.{field}", hint=f"Allowed: {', '.join(_WORDS[field])}."
        )
    return str(value)


def _allowed(field: str) -> str:
    if field in _RANGES:
        least, most = _RANGES[field]
        return f"Allowed: {least:g} to {most:g}."
    return f"Allowed settings: {', '.join(_TARGET_FIELDS)}."
