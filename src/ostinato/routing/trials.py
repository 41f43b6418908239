"""Trials: a share of an alias's traffic is answered by other targets, while a change of models is tried.

A candidate puts two things into the catalog, both for its own project only: the alias ``ALIAS@ID``, by which the other
targets can be asked by name (as experiments do), and a trial on the alias itself, where shares are given. The alias's
own digest stays as it is, so what lies in the cache for its own targets stays warm.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
from blake3 import blake3

from ostinato.core.errors import Invalid
from ostinato.routing.catalog import Catalog, read, sealed
from ostinato.routing.model import Candidate, Route, Target, Trial

CANARY, CONTROL = "canary", "control"
_ONE = 2.0**64
_KEPT = ("timeout", "retries", "max_tokens", "max_concurrency")


def name_of(alias: str, identifier: str) -> str:
    """The alias by which a candidate's targets are asked."""
    return f"{alias}@{identifier}"


def with_candidates(catalog: Catalog, candidates: Iterable[Candidate], providers: Mapping[str, bytes]) -> Catalog:
    """The catalog with these candidates. One whose alias or provider is gone is left out: it has no traffic to take."""
    added: dict[tuple[str, str], Route] = {}
    for one in candidates:
        base = added.get((one.project, one.alias)) or catalog.get(one.project, one.alias)
        if base is None or base.kind != "chat":
            continue
        try:
            other = route_of(base, one, providers)
        except Invalid:
            continue
        named = name_of(one.alias, one.id)
        added[one.project, named] = msgspec.structs.replace(other, alias=named, project=one.project)
        if one.shares:
            trial = Trial(one.id, other, one.shares)
            added[one.project, one.alias] = msgspec.structs.replace(
                base, project=one.project, trials=(*base.trials, trial)
            )
    if not added:
        return catalog
    kept = [route for route in catalog.routes() if (route.project, route.alias) not in added]
    return Catalog([*kept, *added.values()])


def route_of(base: Route, candidate: Candidate, providers: Mapping[str, bytes]) -> Route:
    """The route that a candidate makes of ``base``. Raises ``Invalid`` for targets that cannot be obeyed.

    What is not said of a target is as with the alias's first one: time-out, tries, longest answer, calls at once.
    """
    body = {
        "targets": [_completed(one, base.targets[0]) for one in candidate.targets],
        "alias": base.alias,
        "strategy": base.strategy,
    }
    return sealed(read(base.alias, body, providers))


def drawn(route: Route, intent: str, seed: bytes) -> tuple[Route, str]:
    """The route that a conversation takes, and its arm: ``canary:ID``, ``control:ID`` or nothing.

    It stays as long as the trial does, and a growing share takes nobody out of it.
    """
    for trial in route.trials:
        found = trial.shares.get(intent)
        if found is None:
            continue
        share, control = found
        at = int.from_bytes(blake3(f"{trial.id}\0{intent}\0".encode() + seed).digest(length=8), "big") / _ONE
        if at < share:
            return trial.route, f"{CANARY}:{trial.id}"
        return route, f"{CONTROL}:{trial.id}" if at >= 1.0 - control else ""
    return route, ""


def _completed(body: str | dict[str, object], like: Target) -> dict[str, object]:
    if isinstance(body, str):
        provider, slash, model = body.partition("/")
        if not slash:
            raise Invalid(
                f"{body[:200]!r} is no target.", param="targets", hint='Allowed: "provider/model" or a table.'
            )
        body = {"provider": provider, "model": model}
    kept = cast("dict[str, object]", {name: getattr(like, name) for name in _KEPT})
    return {**{name: value for name, value in kept.items() if value is not None}, **body}
