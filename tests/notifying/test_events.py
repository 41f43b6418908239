"""What can be asked for is what is told: no endpoint waits for an event that never comes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from notifying_kit import SYSTEM, House, Receiver, endpoint

import ostinato
from ostinato import notifying
from ostinato.access.permissions import ALL
from ostinato.core.errors import Invalid
from ostinato.notifying.events import AUDITED, EVENTS
from ostinato.triage.model import State

HOUSE = Path(ostinato.__file__).parent
PAGE = HOUSE.parents[1] / "docs" / "how-to" / "webhooks.md"


def calls(folder: str, name: str, place: int) -> Iterator[str]:
    """The texts that stand at ``place`` in the calls of ``name``."""
    for path in (HOUSE / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and len(node.args) > place:
                called = node.func
                said = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                argument = node.args[place]
                if said == name and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def literals(*folders: str) -> set[str]:
    """Texts of the form ``resource:verb`` that are no permission."""
    found: set[str] = set()
    for folder in folders:
        for path in (HOUSE / folder).glob("*.py"):
            found |= set(re.findall(r'"([a-z]+:[a-z_-]+)"', path.read_text()))
    return found - ALL


def told(resource: str) -> set[str]:
    return {f"{resource}:{verb}" for verb in EVENTS[resource]}


def test_every_verb_of_the_house_is_an_event() -> None:
    releases = {*calls("releases", "done", 2), *calls("releases", "_activate", 2)}
    assert releases == set(EVENTS["releases"])
    moved = {*calls("cases", "move", 2), *calls("cases", "write", 0), *calls("cases", "_begin", 4)}
    assert moved | {"notify"} == set(EVENTS["cases"])
    assert {*calls("breakers", "write", 0)} == set(EVENTS["breakers"])
    deeds = {*calls("notifying", "_deed", 1)} - {"test", "resend"}
    assert deeds | {"update", "enable"} == set(EVENTS["webhooks"])
    assert set(State.__args__) - {"superseded"} == set(EVENTS["triage"])
    ends = {*calls("optimization", "Ending", 0), *calls("optimization", "_change", 2), "start"}
    named = {"paused": "pause", "reviewing": "review", "proposed": "propose", "failed": "fail", "cancelled": "cancel"}
    assert {named.get(one, one) for one in ends} - {"fail", "cancel"} == set(EVENTS["optimizations"]) - {
        "fail",
        "cancel",
    }


def test_every_leaf_that_is_named_in_full_is_an_event() -> None:
    found = literals("releases", "access", "prompts", "intents", "optimization", "breakers")
    found = {one for one in found if one.partition(":")[0] in AUDITED}
    assert found and found <= {f"{resource}:{verb}" for resource, verbs in AUDITED.items() for verb in verbs}
    assert {one for one in literals("updating") if one.startswith("updates:")} - {
        "updates:plan",
        "updates:suspect",
    } <= (told("updates"))


def test_the_page_names_every_event() -> None:
    page = PAGE.read_text()
    rows = {row[1]: row[2] for row in re.finditer(r"^\| `([a-z]+)` \| (`[^|]*`) \|$", page, re.MULTILINE)}
    assert {name: tuple(re.findall(r"`([a-z_-]+)`", verbs)) for name, verbs in rows.items()} == dict(EVENTS)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("case:*", "Of cases: open"),
        ("cases:opened", "Of cases: open"),
        ("webhooks:test", "Of webhooks: create"),
        ("nothing:happens", "There are events of breakers"),
        ("*:open", "`*` for everything"),
        ("cases:o*", "Of cases: open"),
        ("**", "`*` for everything"),
    ],
)
async def test_what_never_comes_is_refused_with_what_does(home: House, pattern: str, hint: str) -> None:
    room = await home.process()
    wish = notifying.NewEndpoint(name="hook", address="https://example.com/", events=("releases:*", pattern))
    with pytest.raises(Invalid) as error:
        await room.endpoints.create(SYSTEM, wish, project=home.project)
    assert (error.value.code, error.value.param) == ("invalid_events", "events")
    assert hint in error.value.hint and repr(pattern) in error.value.message
    await room.stop()


async def test_every_event_may_be_asked_for(home: House, receiver: Receiver) -> None:
    room = await home.process()
    hook, _ = await endpoint(room, home, receiver.url)
    for resource, verbs in EVENTS.items():
        every = (f"{resource}:*", *(f"{resource}:{verb}" for verb in verbs))
        changed = await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(events=every))
        assert changed.events == every
    await room.stop()
