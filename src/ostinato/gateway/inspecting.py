"""Checks in the path, before a model is asked and before its answer is given out."""

from collections.abc import Mapping
from typing import cast

import msgspec

from ostinato import checks
from ostinato.checks import Checker, Rule
from ostinato.core.errors import Invalid
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.wire.model import Answer, EmbeddingRequest


class Checkers:
    """Check rules by the names that policies list; immutable, swapped whole when a rule changes."""

    def __init__(self, rules: Mapping[str, Rule], settings: checks.Settings) -> None:
        self._rules = dict(rules)
        self._settings = settings
        self._made: dict[tuple[str, ...], Checker | None] = {}

    def of(self, names: tuple[str, ...]) -> Checker | None:
        """The checker of some rules, made on first use. Names that do not exist were refused with their policy."""
        try:
            return self._made[names]
        except KeyError:
            rules = [self._rules[name] for name in names if name in self._rules]
            made = self._made[names] = checks.compile(rules, self._settings)
            return made


def compile_checkers(declared: Mapping[str, object], settings: checks.Settings) -> Checkers:
    """Declared rules, judged and made ready. Raises ``Invalid`` naming the rule, the key and what is allowed."""
    rules: dict[str, Rule] = {}
    for name, body in declared.items():
        if not isinstance(body, dict):
            raise Invalid(f"The check rule {name!r} must be a table.", param=f"checks.rules.{name}")
        fields = {**cast("dict[str, object]", body), "name": name}
        try:
            rules[name] = msgspec.convert(fields, Rule)
        except msgspec.ValidationError as error:
            raise Invalid(
                f"checks.rules.{name}: {error}.",
                param=f"checks.rules.{name}",
                hint="kind: secrets, pii or banned (with terms); action: allow, redact, no-store or block; "
                "applies: input, output or both.",
            ) from None
    checks.compile(rules.values(), settings)
    return Checkers(rules, settings)


def inspect(turn: Turn, rooms: Rooms) -> None:
    """Apply the rules of the caller's policy to the input: it passes, is redacted, is not kept, or is refused."""
    request = turn.request
    checker = _checker(turn, rooms)
    if checker is None or request is None:
        return
    verdict = checker.input(request)
    _heed(turn, verdict.action, verdict.findings)
    turn.request = verdict.request


def inspect_embedding(turn: Turn, rooms: Rooms, request: EmbeddingRequest) -> EmbeddingRequest:
    """The same for a request for vectors; gives the request as it may be sent."""
    checker = _checker(turn, rooms)
    if checker is None:
        return request
    verdict = checker.embedding(request)
    _heed(turn, verdict.action, verdict.findings)
    return verdict.request


def checked_answer(turn: Turn, answer: Answer) -> Answer:
    """The answer as the rules allow it. Raises ``Invalid`` where a rule blocks it."""
    checker = turn.checker
    if checker is None:
        return answer
    verdict = checker.output(answer)
    _heed(turn, verdict.action, verdict.findings, "answer")
    return verdict.answer


def checked_stream(turn: Turn, answer: Answer) -> Answer:
    """A streamed answer, seen whole only now that it has been sent (what rules forbid was held back on the way).

    What they forbid, or what was too long for them to read, is not kept.
    """
    checker = turn.checker
    if checker is None:
        return answer
    verdict = checker.output(answer)
    if verdict.action in ("block", "no-store"):
        turn.no_store = "checks"
    return verdict.answer


def _checker(turn: Turn, rooms: Rooms) -> Checker | None:
    policy = turn.policy
    assert policy is not None
    names = policy.checks
    turn.checker = rooms.checkers.value.of(names) if names else None
    return turn.checker


def _heed(turn: Turn, action: checks.Action, findings: tuple[checks.Finding, ...], what: str = "request") -> None:
    if action == "block":
        raise checks.refusal(findings, what)
    if action == "no-store":
        turn.no_store = "checks"
