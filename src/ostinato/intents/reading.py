"""From a declared body to an ``Intent``, or to an error that names the key and the way out."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from ostinato.breakers.model import Safety
from ostinato.cache import policy as policies
from ostinato.core import hashing, money
from ostinato.core.errors import Invalid
from ostinato.intents.model import Budgets, Declaration, Effective, Intent, Requirements, Review
from ostinato.intents.stakes import DEFAULTS

_SECTION: Final = "intents"
_KEY = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DECLARED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_GATE = re.compile(r"[a-z0-9](?:[a-z0-9._:-]{0,126}[a-z0-9])?")
_TEXTS = {"title": 200, "description": 4_000, "owner": 200}
_LISTS = {"kpi_targets": 50, "slices": 200, "checks": 100, "data_classes": 5}
_BUDGETS = {"tokens_per_request": 1e8, "tokens_per_day": 1e15, "dollars_per_day": 1e9, "latency_ms": 3.6e6}
_NAME = 200
"""Characters of a slice, an alias, a tag or a figure."""
_MATCHES = 100
_LONGEST_FALLBACK = 4_000
_LONGEST_HOLD = 2_592_000.0
_MOST_APPROVALS = 20
_LONGEST_DAYS = 36_525.0
_MOST_DOLLARS = 1e9
_PRIVATE = ("personal", "sensitive")
_ALLOWED = {
    "stakes": "Allowed: low, medium, high, critical.",
    "mode": 'Allowed: "off", "exact".',
    "scope": 'Allowed: "user", "project".',
    "data_classes": "Allowed: public, internal, confidential, personal, sensitive.",
    "direction": 'Allowed: "at-least", "at-most".',
    "hold_default": 'Allowed: "fallback", "reject", "release".',
    "on_trip": 'Allowed: "fail-safe", "target", "refuse".',
}
_SAFETY = {
    "quality_floor": (0.0, 1.0),
    "violations_per_hour": (0.0, 1e9),
    "min_samples": (1, 1_000_000),
    "trial_share": (0.0001, 1.0),
    "cool_down_seconds": (60.0, 2_592_000.0),
    "good_share": (0.01, 0.99),
}
"""Figures of ``safety``: the least and the most."""
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")


def read(name: str, body: object, checks: Mapping[str, object]) -> Intent:
    """One declaration, judged; ``checks``: the declared check rules by name. Raises ``Invalid``."""
    where = f"{_SECTION}.{name}"
    if not isinstance(body, Mapping):
        raise Invalid(f"The intent {name!r} is no table of settings.", param=where, hint=_fields(Declaration))
    if not _DECLARED.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} cannot name an intent.",
            param=where,
            hint="Allowed: 1 to 128 characters of letters, digits, dot, dash and underscore.",
        )
    _refuse_semantic(name, where, body)  # pyright: ignore[reportUnknownArgumentType]: JSON of unknown shape
    try:
        declared = msgspec.convert(body, Declaration, strict=True)
    except msgspec.ValidationError as error:
        raise _explained(name, where, str(error)) from None
    key = declared.key or name
    if not _KEY.fullmatch(key):
        raise Invalid(
            f"{key[:80]!r} cannot be the key of an intent.",
            param=f"{where}.key" if declared.key else where,
            hint="Allowed: 1 to 64 characters of a-z, 0-9, dot, dash and underscore; or set `key` in the body.",
        )
    value = _judge(name, where, declared)
    _judge_cache(name, where, declared, checks)
    _judge_bounds(name, where, declared)
    project = "" if declared.project == "*" else declared.project
    defaults = DEFAULTS[declared.stakes]
    version = hashing.digest_of([key, project, _stated(declared), msgspec.to_builtins(defaults)])[:8].hex()
    return Intent(
        name=name,
        key=key,
        project=project,
        declared=declared,
        value=value,
        requirements=_requirements(declared, version),
        version=version,
    )


def _requirements(declared: Declaration, version: str) -> Requirements:
    review, defaults = declared.review, DEFAULTS[declared.stakes]
    return Requirements(
        approvals=defaults.approvals if review.approvals is None else review.approvals,
        human_review=defaults.human_review if review.human is None else review.human,
        auto_rollout=defaults.auto_rollout if review.auto_rollout is None else review.auto_rollout,
        baseline_holdout=defaults.baseline_holdout if review.baseline_holdout is None else review.baseline_holdout,
        gates=review.gates or (),
        version=version,
    )


def review_effects(intent: Intent) -> tuple[Effective, ...]:
    """How prompts of the intent change, and where each rule comes from."""
    review, needs = intent.declared.review, intent.requirements
    given = {
        "review.approvals": (review.approvals, needs.approvals),
        "review.human": (review.human, needs.human_review),
        "review.auto_rollout": (review.auto_rollout, needs.auto_rollout),
        "review.baseline_holdout": (review.baseline_holdout, needs.baseline_holdout),
    }
    by_default = f"stakes: {intent.stakes}"
    return (
        *(
            Effective(rule, value, by_default if declared is None else "declared")
            for rule, (declared, value) in given.items()
        ),
        *_hold_effects(review),
        Effective(
            "cache.holdout",
            intent.declared.cache.holdout is not False,
            "built in" if intent.declared.cache.holdout is None else "declared",
        ),
        Effective("review.gates", needs.gates, "built in" if review.gates is None else "declared"),
        Effective("review.change_approvals", DEFAULTS[intent.stakes].change_approvals, by_default),
        *safety_effects(intent.declared.safety),
    )


def _hold_effects(review: Review) -> tuple[Effective, ...]:
    """How answers are held. Stakes bring no holding along."""
    if not review.hold:
        return (Effective("review.hold", False, "built in" if review.hold is None else "declared"),)
    names = ("hold", "hold_queue", "hold_fallback", "hold_seconds", "hold_default")
    return tuple(Effective(f"review.{name}", getattr(review, name), "declared") for name in names)


def _refuse_semantic(name: str, where: str, body: Mapping[str, Any]) -> None:
    cache = body.get("cache")
    if isinstance(cache, Mapping) and cache.get("mode") == "semantic":  # pyright: ignore[reportUnknownMemberType]: JSON
        raise Invalid(
            f"The intent {name!r} asks for a semantic cache, and this version of Ostinato has an exact one only.",
            code="semantic_not_available",
            param=f"{where}.cache.mode",
            hint=_ALLOWED["mode"],
        )


def _explained(name: str, where: str, text: str) -> Invalid:
    message, _, path = text.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = _UNKNOWN.match(message)
    if unknown:
        setting = f"{path}.{unknown[1]}".lstrip(".")
        return Invalid(
            f"The intent {name!r} has an unknown setting {setting!r}.",
            param=f"{where}.{setting}",
            hint=_fields(_struct_at(path)),
        )
    last = re.sub(r"\[.*?\]", "", path).rpartition(".")[2]
    return Invalid(
        f"The intent {name!r} has a wrong value for {path or '?'!r}: {message}.",
        param=f"{where}.{path}",
        hint=_ALLOWED.get(last, ""),
    )


def _struct_at(path: str) -> type[msgspec.Struct]:
    """The struct that a path such as ``cache`` or ``kpi_targets[...]`` names."""
    field = re.sub(r"\[.*?\]", "", path)
    for one in msgspec.structs.fields(Declaration):
        if one.name == field:
            found = one.type if isinstance(one.type, type) else getattr(one.type, "__args__", (Declaration,))[0]
            return found if isinstance(found, type) and issubclass(found, msgspec.Struct) else Declaration
    return Declaration


def _fields(struct: type[msgspec.Struct]) -> str:
    return f"Allowed: {', '.join(struct.__struct_fields__)}."


def _judge(name: str, where: str, declared: Declaration) -> int | None:
    """Refuse what has the right type and the wrong value; gives the value of a success in nano-dollars."""
    for field, what, hint in (*_odd_texts(declared), *_odd_numbers(declared)):
        raise _wrong(name, where, field, what, hint)
    worth = declared.value_per_success
    if worth is None:
        return None
    try:
        return money.from_dollars(worth)
    except ValueError:
        hint = "Allowed: dollars, no finer than a nano-dollar."
        raise _wrong(name, where, "value_per_success", str(worth), hint) from None


def _wrong(name: str, where: str, field: str, what: str, hint: str) -> Invalid:
    return Invalid(f"The intent {name!r} has a wrong value for {field!r}: {what}.", param=f"{where}.{field}", hint=hint)


def _odd_texts(declared: Declaration) -> Iterator[tuple[str, str, str]]:
    """Texts and lists that are too long or hold what no name may: (field, what is wrong, what is allowed)."""
    for field, most in _TEXTS.items():
        text: str = getattr(declared, field)
        if len(text) > most or "\x00" in text:
            yield field, f"{len(text)} characters", f"Allowed: up to {most} characters, none of them NUL."
    for field, most in _LISTS.items():
        values: tuple[object, ...] = getattr(declared, field)
        if len(values) > most:
            yield field, f"{len(values)} of them", f"Allowed: up to {most}."
        if len(set(values)) != len(values):
            yield field, "something is there twice", "Name each once."
    match = declared.match
    names = {
        "slices": declared.slices,
        "kpi_targets": tuple(kpi.name for kpi in declared.kpi_targets),
        "match.aliases": match.aliases,
        "match.tags": match.tags,
    }
    for field, texts in names.items():
        for text in texts:
            if not 0 < len(text) <= _NAME or not text.isprintable():
                yield field, repr(text[:80]), f"Allowed: 1 to {_NAME} printable characters."
    if max(1, len(match.aliases)) * max(1, len(match.tags)) > _MATCHES:
        yield "match", "too many combinations of aliases and tags", f"Allowed: up to {_MATCHES}."
    for gate in declared.review.gates or ():
        if not _GATE.fullmatch(gate):
            yield "review.gates", repr(gate[:80]), "Allowed: names such as `lint` or `evidence:intent-accuracy`."


def _odd_numbers(declared: Declaration) -> Iterator[tuple[str, str, str]]:
    for kpi in declared.kpi_targets:
        if not math.isfinite(kpi.target) or len(kpi.unit) > _NAME:
            yield "kpi_targets", f"the target of {kpi.name!r}", "Allowed: a number, and a short unit."
    approvals = declared.review.approvals
    if approvals is not None and not 0 <= approvals <= _MOST_APPROVALS:
        yield "review.approvals", str(approvals), f"Allowed: 0 to {_MOST_APPROVALS}."
    for field, days in msgspec.structs.asdict(declared.retention).items():
        if days is not None and not (math.isfinite(days) and 0 < days <= _LONGEST_DAYS):
            yield f"retention.{field}", str(days), f"Allowed: above 0, to {_LONGEST_DAYS:g} days."
    yield from _odd_hold(declared.review)
    yield from _odd_safety(declared.safety)
    for field, most in _BUDGETS.items():
        limit: float | None = getattr(declared.budgets, field)
        if limit is not None and not (math.isfinite(limit) and 0 < limit <= most):
            yield f"budgets.{field}", str(limit), f"Allowed: above 0, to {most:g}."
    worth = declared.value_per_success
    if worth is not None and not (math.isfinite(worth) and 0 <= worth <= _MOST_DOLLARS):
        yield "value_per_success", str(worth), f"Allowed: 0 to {_MOST_DOLLARS:g} dollars."


def _odd_hold(review: Review) -> Iterator[tuple[str, str, str]]:
    if not _KEY.fullmatch(review.hold_queue):
        yield "review.hold_queue", repr(review.hold_queue[:80]), "Allowed: the name of a review queue."
    if len(review.hold_fallback) > _LONGEST_FALLBACK or "\x00" in review.hold_fallback:
        hint = f"Allowed: up to {_LONGEST_FALLBACK} characters, none of them NUL."
        yield "review.hold_fallback", f"{len(review.hold_fallback)} characters", hint
    if not (math.isfinite(review.hold_seconds) and 1 <= review.hold_seconds <= _LONGEST_HOLD):
        yield "review.hold_seconds", str(review.hold_seconds), f"Allowed: 1 to {_LONGEST_HOLD:g} seconds."


def _odd_safety(safety: Safety) -> Iterator[tuple[str, str, str]]:
    """What its breaker could not do when it trips."""
    if len(safety.text) > _LONGEST_FALLBACK or "\x00" in safety.text:
        hint = f"Allowed: up to {_LONGEST_FALLBACK} characters, none of them NUL."
        yield "safety.text", f"{len(safety.text)} characters", hint
    if safety.on_trip == "fail-safe" and not safety.text.strip():
        yield "safety.text", "none", "Say what callers get instead of an answer."
    if safety.on_trip == "target" and not 0 < len(safety.alias) <= _NAME:
        yield "safety.alias", repr(safety.alias[:80]), "Name the model alias that answers instead."
    for field, (least, most) in _SAFETY.items():
        figure: float | None = getattr(safety, field)
        if figure is not None and not (math.isfinite(figure) and least <= figure <= most):
            yield f"safety.{field}", str(figure), f"Allowed: {least:g} to {most:g}."


def _stated(declared: Declaration) -> dict[str, object]:
    """What is declared; rules that came later are left out where they are not used: no open release is void only
    because Ostinato was upgraded."""
    stated: dict[str, Any] = msgspec.to_builtins(declared)
    if declared.safety == Safety():
        del stated["safety"]
    if declared.budgets == Budgets():
        del stated["budgets"]
    if declared.cache.holdout is None:
        del stated["cache"]["holdout"]
    return stated


def safety_effects(safety: Safety) -> tuple[Effective, ...]:
    """How it answers while it is tripped, and what trips it."""
    told = msgspec.structs.asdict(safety)
    usual = msgspec.structs.asdict(Safety())
    names = ("on_trip", "serve_cache", "quality_floor", "violations_per_hour")
    return tuple(
        Effective(f"safety.{name}", told[name], "built in" if told[name] == usual[name] else "declared")
        for name in names
    )


def _judge_cache(name: str, where: str, declared: Declaration, checks: Mapping[str, object]) -> None:
    """The same limits as for a cache policy, told of the intent."""
    try:
        policies.read(name, {**declared.cache.given(), "checks": declared.checks}, checks)
    except Invalid as error:
        field = (error.param or "").removeprefix(f"policies.{name}.")
        raise Invalid(
            error.message.replace(f"The policy {name!r}", f"The intent {name!r}", 1),
            param=f"{where}.{field}" if field == "checks" else f"{where}.cache.{field}",
            hint=error.hint,
        ) from None
    for private in _PRIVATE:
        if private in declared.data_classes and declared.cache.scope == "project":
            raise Invalid(
                f"The intent {name!r} has {private} data and would share answers between users.",
                param=f"{where}.cache.scope",
                hint="Leave `cache.scope` out, or say `user`.",
            )


def _judge_bounds(name: str, where: str, declared: Declaration) -> None:
    """What is looser than the stakes allow is refused."""
    defaults = DEFAULTS[declared.stakes]
    if not defaults.binding:
        return
    bound = {f"cache.{field}": value for field, value in defaults.cache.given().items()}
    bound |= {
        "review.human": defaults.human_review,
        "review.auto_rollout": defaults.auto_rollout,
        "review.baseline_holdout": defaults.baseline_holdout,
    }
    given = {f"cache.{field}": value for field, value in declared.cache.given().items()}
    given |= {f"review.{field}": value for field, value in msgspec.structs.asdict(declared.review).items()}
    for rule, value in bound.items():
        if given.get(rule) is not None and given[rule] != value:
            raise _too_loose(name, where, declared.stakes, rule, f"only {_told(value)}")
    if declared.review.hold and declared.review.hold_default == "release":
        raise _too_loose(name, where, declared.stakes, "review.hold_default", "only fallback or reject")
    if declared.review.approvals is not None and declared.review.approvals < defaults.approvals:
        raise _too_loose(name, where, declared.stakes, "review.approvals", f"at least {defaults.approvals}")
    if not declared.owner.strip():
        raise Invalid(
            f"The intent {name!r} has {declared.stakes} stakes and no owner.",
            code="owner_missing",
            param=f"{where}.owner",
            hint="Say who answers for it: `owner`.",
        )


def _too_loose(name: str, where: str, stakes: str, rule: str, allowed: str) -> Invalid:
    return Invalid(
        f"The intent {name!r} declares {rule!r} looser than its {stakes} stakes allow.",
        code="stakes_bound",
        param=f"{where}.{rule}",
        hint=f"Allowed at these stakes: {allowed}. Leave it out, or lower the stakes.",
    )


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
