"""Whom a run will ask, and whether the key that starts it may ask them: a run is no way around a key's bounds."""

from collections.abc import Iterator

from ostinato.access import Actor, Caller
from ostinato.calls.model import Limits
from ostinato.core.errors import Denied
from ostinato.optimization.run import Wish
from ostinato.routing import Catalog, Route
from ostinato.routing.model import Target
from ostinato.scorers import model_of
from ostinato.wire.model import Json


def models_of(wish: Wish, alias: str) -> Iterator[str]:
    """Every alias that a run of this wish asks: for answers, for new prompts, for judging, for searching."""
    yield alias
    if wish.reflection:
        yield wish.reflection
    yield from filter(None, map(model_of, wish.scorers))
    yield from _rewriting(wish)


def beside(project: str, wish: Wish, catalog: Catalog) -> tuple[Target, ...]:
    """What is asked beside the model that answers."""
    return tuple(target for model in tuple(models_of(wish, ""))[1:] for target in catalog.route(project, model).targets)


def calls_each(wish: Wish) -> int:
    """Calls that one answer takes with all that judge it; about, where a ready-made judge asks several times."""
    judging = 0
    for spec in wish.scorers:
        if model_of(spec):
            again: object = spec.config.get("replicates", 1)
            judging += again if isinstance(again, int) and again > 0 else 1
    return 1 + judging + len(tuple(_rewriting(wish)))


def _rewriting(wish: Wish) -> Iterator[str]:
    rewrite: Json | object = (wish.retrieval or {}).get("rewrite")
    alias: object = rewrite.get("alias") if isinstance(rewrite, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - a wish's JSON
    if isinstance(alias, str) and alias:
        yield alias


def check(actor: Actor, project: str, wish: Wish, alias: str, catalog: Catalog) -> Route:
    """The route of ``alias``. Raises ``NotFound`` for models that are not there, ``Denied`` for those that the actor's
    key may not call, and where it has a money budget and the run has none."""
    allowed = actor.allowed_models if isinstance(actor, Caller) else None
    for model in models_of(wish, alias):
        catalog.route(project, model, allowed=allowed)
        if allowed is not None and model not in allowed:
            raise Denied(f"This key may not call the model {model!r}.", code="model_not_allowed")
    check_money(actor, wish.limits)
    return catalog.route(project, alias)


def check_money(actor: Actor, limits: Limits) -> None:
    """Raise ``Denied`` where the actor's key has a money budget and a run would have none."""
    if isinstance(actor, Caller) and actor.accounts and limits.nano is None:
        raise Denied(
            "This key has a money budget: its runs need a limit on money, too.",
            code="limit_needed",
            hint="Set `limits.nano`, in nano-dollars.",
        )
