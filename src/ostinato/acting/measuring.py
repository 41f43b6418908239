"""Figures for alerts and breakers, and what intents declare."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from ostinato import access, intents, prompts, releases, signals
from ostinato.breakers import Place, Safety
from ostinato.cases.figures import Figure, Measured
from ostinato.cases.model import Scope, Severity
from ostinato.core.errors import NotFound
from ostinato.storage import Current

SYSTEM = access.SystemActor("cases")
_JUDGES = ("scorer", "review")
"""Sources of signals that say how good an answer is; where there are none, feedback does."""


def safety_of(current: Current[intents.Intents]) -> Callable[[str, str], Safety | None]:
    """What an intent declares for its breaker."""

    def find(project: str, key: str) -> Safety | None:
        found = current.value.of(project, key)
        return None if found is None else found.declared.safety

    return find


def about(current: Current[intents.Intents]) -> Callable[[str, str], tuple[str, Severity] | None]:
    """Owner and stakes of an intent."""

    def find(project: str, key: str) -> tuple[str, Severity] | None:
        found = current.value.of(project, key)
        return None if found is None else (found.declared.owner, found.stakes)

    return find


def serves(
    prompted: Current[prompts.PromptSnapshot], room: releases.Releases
) -> Callable[[str, str, str], Awaitable[tuple[str, str]]]:
    """The intent and the prompt of a release, else of a prompt."""

    async def find(project: str, prompt: str, release: str) -> tuple[str, str]:
        intent = ""
        if release:
            try:
                found = (await room.show(SYSTEM, release)).release
            except NotFound:
                found = None
            if found is not None and found.project == project:
                intent, prompt = found.intent, found.prompt
        return intent or prompted.value.intent_of(project, prompt), prompt

    return find


def places(current: Current[intents.Intents], door: access.Access) -> Callable[[], Awaitable[list[Place]]]:
    """Every intent of every project that declares what trips it, or what it may spend in a day."""

    async def find() -> list[Place]:
        watched = [one for one in current.value.all if one.declared.safety.watched or one.declared.budgets.daily]
        if not watched:
            return []
        found: list[Place] = []
        for project in await door.list_projects(SYSTEM):
            for intent in watched:
                if current.value.of(project.id, intent.key) is intent:
                    found.append(Place(project.org_id, project.id, intent.key, intent.declared.safety))
        return found

    return find


def budget_figure(figure: Figure) -> Callable[[str, Place, int, int], Awaitable[Measured]]:
    """What breakers ask of figures."""
    names = {"quality": "quality", "violations": "blocked"}

    async def measure(name: str, place: Place, since: int, until: int) -> Measured:
        scope = Scope(org=place.org, project=place.project, intent=place.intent)
        return await figure(names[name], scope, since, until)

    return measure


def quality(door: signals.Signals) -> Callable[[Scope, int, int], Awaitable[Measured]]:
    """Mean of what scorers and reviewers said of answers."""

    async def measure(scope: Scope, since: int, until: int) -> Measured:
        filters = signals.Filter(
            org=scope.org,
            project=scope.project,
            intent=scope.intent,
            prompt=scope.prompt,
            release=scope.release,
            since=since,
            until=until,
        )
        told = [one for one in await door.summary(filters) if one.mean is not None and one.valued]
        chosen = [one for one in told if one.source in _JUDGES] or [one for one in told if one.source == "feedback"]
        count = sum(one.valued for one in chosen)
        if not count:
            return None, 0
        return sum((one.mean or 0.0) * one.valued for one in chosen) / count, count

    return measure


def scores(door: signals.Signals) -> Callable[[Sequence[str]], Awaitable[Mapping[str, float]]]:
    """Mean score of each request that has one."""

    async def find(request_ids: Sequence[str]) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for request_id in request_ids:
            told = [one for one in await door.of(request_id) if one.value is not None]
            chosen = [one for one in told if one.source in _JUDGES] or [one for one in told if one.source == "feedback"]
            values = [one.value for one in chosen if one.value is not None]
            if values:
                found[request_id] = sum(values) / len(values)
        return found

    return find
