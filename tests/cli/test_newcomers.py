"""What people met in their first hour: errors that name the line, addresses that are found, lists that begin at now."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import opened
from inside import inside

from ostinato.access import ProjectChanges, SystemActor
from ostinato.access.permissions import ROLES
from ostinato.cli import client, main, reviews
from ostinato.core import ids
from ostinato.signals import Filter, Signal

SYSTEM = SystemActor("test")


def test_the_address_is_found_in_the_configuration_that_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTINATO_KEY", "ost_x")
    monkeypatch.delenv("OSTINATO_URL", raising=False)
    assert client._server()[0] == "http://127.0.0.1:8000"
    for told, wanted in (
        ("[server]\nport = 8123\n", "http://127.0.0.1:8123"),
        ('[server]\nhost = "0.0.0.0"\n', "http://127.0.0.1:8000"),
        ('[server]\nhost = "gateway.internal"\nport = 80\n', "http://gateway.internal:80"),
        ("[server]\nport = 'x'\n", "http://127.0.0.1:8000"),
        ("server = 3", "http://127.0.0.1:8000"),
        ("[broken", "http://127.0.0.1:8000"),
    ):
        (tmp_path / "ostinato.toml").write_text(told)
        assert client._server()[0] == wanted, told
    monkeypatch.setenv("OSTINATO_URL", "http://elsewhere:1/")
    assert client._server()[0] == "http://elsewhere:1", "the environment goes before it"


@pytest.mark.parametrize(
    ("text", "refusal", "wanted"),
    [
        ('{"content": {}}\n\n{"content"\n', None, "line 3 is not JSON"),
        ('\n{"a": 1}\n\n{"b": 2}\n', ("items[1]: It is empty.", ""), "line 4 of some.jsonl: It is empty."),
        ('{"a": 1}\n', ("Validation failed.", "items[0].origin: Invalid"), "line 1 of some.jsonl.origin: Invalid"),
    ],
)
def test_items_that_cannot_be_put_are_named_by_their_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    refusal: tuple[str, str] | None,
    wanted: str,
) -> None:
    def call(*_: Any, **__: Any) -> Any:
        assert refusal is not None
        raise client.Refused(refusal[0], code="invalid_item", hint=refusal[1])

    monkeypatch.setattr(reviews, "call", call)
    file = tmp_path / "some.jsonl"
    file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["review", "put", "q", str(file)])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code and wanted in said, said


async def test_words_that_may_stand_there_are_told() -> None:
    async with opened() as plane:
        key = await plane.key(ROLES["owner"])
        for method, path, body, wanted in (
            ("GET", "/signals?source=nope", None, "allowed: feedback, outcome, review, scorer"),
            ("POST", "/experiments", {"dataset": "d", "variants": [], "splits": ["holdout"]}, "allowed: dev, train"),
            (
                "POST",
                "/reviews/queues/q/items",
                {"items": [{"content": {}}, {"content": {}, "origin": "x"}]},
                "items[1].origin: Invalid enum value 'x'; allowed: experiment, hold",
            ),
        ):
            got = await plane.call(method, path, body, key)
            assert got.status_code == 400 and wanted in got.json()["hint"], got.text


async def test_a_comment_that_is_not_kept_is_said_to_be_dropped() -> None:
    async with inside() as world:
        answer = await world.chat("Hello")
        (row,) = await world.rows(1)
        caller = world.app.access.authenticate(
            await world.new_key(permissions=frozenset({"feedback:write"})), world.clock.now()
        )
        told = {"request_id": row.request_id, "value": True, "comment": "Thanks, Ada"}
        assert answer.status == 200
        said = await world.app.gateway.rooms.feedback.take(caller, told)
        assert list(said["dropped"]) == ["comment"] and "keeps no texts" in said["dropped"]["comment"]
        assert "dropped" not in await world.app.gateway.rooms.feedback.take(caller, {**told, "comment": ""})
        await world.app.access.update_project(SYSTEM, await world.first_project(), ProjectChanges(store_text=True))
        keeping = world.app.access.authenticate(
            await world.new_key(permissions=frozenset({"feedback:write"})), world.clock.now()
        )
        assert "dropped" not in await world.app.gateway.rooms.feedback.take(keeping, told)


async def test_signals_newest_first_page_by_page() -> None:
    async with inside() as world:
        project = await world.first_project()
        names = [f"n{number}" for number in range(7)]
        for name in names:
            now = world.clock.now()
            world.app.signals.record(
                [
                    Signal(
                        id=ids.new(now), request_id=ids.new(now), at=now, org="o", project=project, source="feedback",
                        name=name, value=1.0, actor="",
                    )
                ]
            )  # fmt: skip
        world.app.signals.flush()
        found: list[str] = []
        after = ""
        while True:
            page = await world.app.signals.query(Filter(project=project), after, 3, newest=True)
            if not page.signals:
                break
            found += [one.name for one in page.signals]
            after = page.after
        assert found == names[::-1]
