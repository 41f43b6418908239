"""What other rooms tell: of one project, and of all of an organization."""

from types import SimpleNamespace
from typing import Any

from ostinato.kpis import told
from ostinato.kpis.model import Scope
from ostinato.traces import Window

_ORG, _WINDOW = Scope(org="acme"), Window(0, 1)


async def projects(org: str) -> list[tuple[str, str]]:
    return [("p1", "support"), ("p2", "search")] if org == "acme" else []


class Scorers:
    async def list(self, _: object, *, project: str, **__: object) -> list[Any]:
        return [SimpleNamespace(name="tone", version="1")]

    async def calibrated(self, project: str, name: str, version: str) -> Any:
        kappa = {"p1": 0.8, "p2": 0.55}[project]
        result = SimpleNamespace(kappa=kappa, n=200, low=kappa - 0.1, high=kappa + 0.1, brier=0.12)
        return SimpleNamespace(result=result)


async def test_the_judges_of_an_organization_are_those_of_its_projects() -> None:
    read = told.judge_reliability(Scorers(), projects)  # type: ignore[arg-type]
    found = await read(_ORG, _WINDOW)
    assert (found.value, found.detail["judge"], found.detail["calibration_error"]) == (0.55, "search/tone", 0.12)
    assert found.detail["all"] == {"support/tone": 0.8, "search/tone": 0.55}
    assert (await read(Scope(org="acme", project="p1"), _WINDOW)).detail["judge"] == "tone"


class Explainer:
    """Everything is there; of release ``r2`` an approval is missing."""

    async def explain(self, _: object, request_id: str, within: object) -> Any:
        word = SimpleNamespace(decision="approve", bound=True)
        release = SimpleNamespace(approvals=(word,), approvals_needed=1 + int(self.two))
        cache = SimpleNamespace(origin=object())
        return SimpleNamespace(input=1, target=1, prompt=1, audit=1, absent={}, cache=cache, release=release)

    two = False


async def test_auditability_is_of_the_window_that_was_asked_for(house) -> None:
    """More than a thousand answers came since: the window of the day before has as many as ever."""
    begun = house.clock.now()
    for number in range(40):
        house.hit(house.call(f"q{number}", release="r1"))
        house.clock.advance(60)
    house.call("theirs", project="other")
    ended = house.clock.now()
    house.clock.advance(86_400)
    for number in range(1_100):
        house.call(f"later{number}")
    house.recorder.flush()
    explainer = Explainer()
    read = told.auditability(house.ledger, explainer, 10)
    scope, window = Scope(org="acme", project="support"), Window(begun, ended)
    found = await read(scope, window)
    assert (found.value, found.n) == (1.0, 10)
    rows = await house.ledger.sample(window, told.within(scope), 10)
    assert {row.project for row in rows} == {"support"} and {bool(row.origin) for row in rows} == {True, False}
    assert rows[0].at < begun + 8 * 60_000_000 and rows[-1].at > ended - 8 * 60_000_000
    explainer.two = True
    found = await read(scope, window)
    assert (found.value, found.detail["lacking"]) == (0.0, {"approvals": 10})
    assert (await read(scope, Window(0, begun))).missing
    assert (await read(Scope(org="acme", project="nobody"), window)).missing
