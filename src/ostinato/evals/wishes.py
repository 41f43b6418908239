"""From what somebody wishes to what will be asked: every variant, judged before anything is spent."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from ostinato import prompts, scorers
from ostinato.access import Actor, Caller
from ostinato.calls import Limits
from ostinato.core.errors import Denied, Invalid, OstinatoError
from ostinato.datasets.model import DatasetVersion, Example
from ostinato.evals.experiment import Arm, Contender, Wish
from ostinato.evals.model import Variant
from ostinato.evals.runner import Runner
from ostinato.evals.settings import Settings
from ostinato.prompts import Content, PromptSnapshot
from ostinato.prompts.contents import build, digest, encode
from ostinato.routing import Catalog
from ostinato.scorers import Context
from ostinato.traces import PriceBook
from ostinato.wire.model import Usage

_NAMED = 5
_LONGEST_NAME = 200


class Standing(msgspec.Struct, frozen=True):
    """What holds now: prompts, routes and prices."""

    prompts: PromptSnapshot
    catalog: Catalog
    prices: PriceBook
    now: int


def variants_of(wish: Wish, project: str, actor: Actor, standing: Standing, settings: Settings) -> tuple[Variant, ...]:
    """Every variant of a wish. Raises ``Invalid``, ``NotFound`` or ``Denied``, naming what cannot be asked."""
    if not wish.variants:
        raise Invalid("An experiment needs a variant.", code="no_variants", param="variants")
    found: list[Variant] = []
    for index, contender in enumerate(wish.variants):
        where = f"variants.{index}"
        name, content, number = _content(contender, project, standing, where)
        own: Any = content.params.get("model", "")
        models = (contender.model,) if contender.model else wish.models or ((own,) if own else ())
        rewrite: Any = (contender.retrieval or {}).get("rewrite")
        rewriting: Any = cast("dict[str, Any]", rewrite).get("alias") if isinstance(rewrite, dict) else None
        if isinstance(rewriting, str):
            check_model(actor, project, rewriting, standing, wish.limits)
        if not models:
            raise Invalid(
                f"The variant {contender.name or name or index + 1!r} names no model, and its prompt names none.",
                code="no_model",
                param=f"{where}.model",
                hint="Name an alias in `model`, or several for all variants in `models`.",
            )
        for model in models:
            check_model(actor, project, model, standing, wish.limits)
            found.append(_variant(contender, name, content, number, model, many=len(models) > 1))
    _named_apart(found)
    if len(found) > settings.most_variants:
        raise Invalid(
            f"{len(found)} variants, models included; an experiment has at most {settings.most_variants}.",
            code="too_many_variants",
            param="variants",
        )
    return tuple(found)


def arm(variant: Variant) -> Arm:
    """A variant as it is shown."""
    return Arm(
        name=variant.name,
        prompt=variant.prompt,
        number=variant.number,
        digest=variant.digest,
        model=variant.alias,
        params=variant.params,
        chain=variant.retrieval is not None,
    )


def chosen(examples: Sequence[Example], most: int | None, seed: int) -> tuple[Example, ...]:
    """The examples that take part: all, or a sample that stays the same for a seed."""
    if most is None or most >= len(examples):
        return tuple(examples)
    drawn = sorted(examples, key=lambda one: hashlib.sha256(f"{seed}:{one.id}".encode()).digest())[:most]
    kept = {one.id for one in drawn}
    return tuple(one for one in examples if one.id in kept)


def check_examples(wish: Wish, version: DatasetVersion, examples: Sequence[Example]) -> None:
    """Raise ``Invalid`` where there is nothing to ask about."""
    if wish.examples is not None and wish.examples < 1:
        raise Invalid("An experiment needs at least one example.", code="invalid_examples", param="examples")
    if not examples:
        counts = ", ".join(f"{name} {count}" for name, count in version.counts.items()) or "none"
        raise Invalid(
            f"Version {version.number} of the dataset {version.dataset!r} has no examples in "
            f"{' and '.join(wish.splits)}.",
            code="no_examples",
            param="splits",
            hint=f"Its examples: {counts}. What is sealed takes no part in experiments.",
        )


def check_limits(limits: Limits) -> None:
    """Raise ``Invalid`` for a budget that allows nothing."""
    for name, value in (("calls", limits.calls), ("tokens", limits.tokens), ("nano", limits.nano)):
        if value is not None and value <= 0:
            raise Invalid(
                f"A budget of {value} {'nano-dollars' if name == 'nano' else name} buys nothing.",
                code="empty_budget",
                param=f"limits.{name}",
                hint="Leave it out for no limit.",
            )


def check_money(actor: Actor, limits: Limits) -> None:
    """Raise ``Denied`` where the actor's key has a money budget and what it starts would have none."""
    if isinstance(actor, Caller) and actor.accounts and limits.nano is None:
        raise Denied(
            "This key has a money budget: its experiments need a limit on money, too.",
            code="limit_needed",
            hint="Set `limits.nano`, in nano-dollars.",
        )


def check_variables(runner: Runner, variants: Sequence[Variant], examples: Sequence[Example], project: str) -> None:
    """Raise ``Invalid`` telling which variable of which variant how many examples lack."""
    for variant in variants:
        wrong: dict[str, list[str]] = {}
        first: OstinatoError | None = None
        for example in examples:
            try:
                runner.check(variant, example, project=project)
            except prompts.InvalidVariable as error:
                first = first or error
                wrong.setdefault(error.message, []).append(example.id)
        if first is not None:
            message, ids = max(wrong.items(), key=lambda pair: len(pair[1]))
            raise Invalid(
                f"{variant.name}: {message} So it is with {len(ids)} of {len(examples)} examples.",
                code=first.code,
                param=first.param,
                hint=f"Among them: {', '.join(ids[:_NAMED])}. Map the dataset's columns to the prompt's variables.",
            )


def check_scorers(
    wish: Wish, context: Context, examples: Sequence[Example], settings: Settings, *, chain: bool
) -> None:
    """Raise ``Invalid`` for scorers that cannot be built, or that can score none of the examples.

    ``chain``: whether some variant retrieves passages first.
    """
    if not wish.scorers:
        raise Invalid(
            "An experiment needs a scorer.",
            code="no_scorers",
            param="scorers",
            hint=f"Kinds: {', '.join(sorted(scorers.KINDS))}.",
        )
    if len(wish.scorers) > settings.most_scorers:
        raise Invalid(f"At most {settings.most_scorers} scorers.", code="too_many_scorers", param="scorers")
    scorers.build_all(wish.scorers, context)
    referenced = any(example.reference is not None for example in examples)
    judged = any(example.passages for example in examples)
    for spec in wish.scorers:
        needs = scorers.KINDS[spec.kind].needs if spec.kind in scorers.KINDS else ()
        lacks = ""
        if "reference" in needs and not referenced:
            lacks = "a reference, and none of the examples has one"
        elif "retrieved" in needs and not chain:
            lacks = "what a chain has found, and no variant has a chain"
        elif "passages" in needs and not judged and ("retrieved" in needs or not chain):
            lacks = "passages, and none of the examples has any"
        if lacks:
            raise Invalid(f"The scorer {scorers.name_of(spec)!r} needs {lacks}.", code="scorer_needs", param="scorers")


def _content(contender: Contender, project: str, standing: Standing, where: str) -> tuple[str, Content, int]:
    """Name of the prompt, content, number (0: it is not registered)."""
    if bool(contender.prompt) == (contender.content is not None):
        raise Invalid(
            "A variant is a registered prompt or a content of its own: one of `prompt` and `content`.",
            code="invalid_variant",
            param=where,
        )
    if contender.content is None:
        resolved = standing.prompts.stable(project, contender.prompt)
        if resolved.kind == "partial":
            raise Invalid(
                f"{resolved.prompt!r} is a partial: a part of prompts, not one itself.",
                code="prompt_is_partial",
                param=f"{where}.prompt",
            )
        return resolved.prompt, resolved.compiled.content, resolved.number
    draft = contender.content
    pieces: Callable[[str, int], Content] = lambda name, number: standing.prompts.content(project, name, number)  # noqa: E731
    return "", build("chat" if draft.messages is not None else "text", draft, draft.partials, pieces), 0


def _variant(contender: Contender, prompt: str, content: Content, number: int, model: str, *, many: bool) -> Variant:
    name = contender.name or (f"{prompt}@{number}" if prompt else "inline")
    if many:
        name = f"{name} {model}"
    if len(name) > _LONGEST_NAME or not name.isprintable() or ":" in name:
        raise Invalid(
            f"{name[:80]!r} cannot name a variant.",
            code="invalid_variant",
            param="variants",
            hint=f"At most {_LONGEST_NAME} printable characters, no colon.",
        )
    return Variant(
        name=name,
        content=content,
        digest=digest(encode(content)),
        alias=model,
        params=contender.params,
        prompt=prompt,
        number=number,
        retrieval=contender.retrieval,
    )


def _named_apart(variants: list[Variant]) -> None:
    seen: set[str] = set()
    for variant in variants:
        if variant.name in seen:
            raise Invalid(
                f"Two variants are called {variant.name!r}.",
                code="invalid_variant",
                param="variants",
                hint="Give each a `name` of its own.",
            )
        seen.add(variant.name)


def check_model(actor: Actor, project: str, model: str, standing: Standing, limits: Limits) -> None:
    """Raise where the actor may not call a model, or a limit on money could not be held."""
    allowed = actor.allowed_models if isinstance(actor, Caller) else None
    route = standing.catalog.route(project, model, allowed=allowed)
    if allowed is not None and model not in allowed:
        raise Denied(f"This key may not call the model {model!r}.", code="model_not_allowed")
    check_money(actor, limits)
    if limits.nano is None:
        return
    for target in route.targets:
        if standing.prices.price(target.provider, target.model, Usage(input=1, output=1), standing.now) is None:
            raise Invalid(
                f"The budget limits money, and the price of {target.name} is not known.",
                code="price_unknown",
                param="limits.nano",
                hint="Declare its price under [prices], or limit calls and tokens instead.",
            )
