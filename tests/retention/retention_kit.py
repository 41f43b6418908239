"""Somebody's data in every store, and a search for words in all that is kept."""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import sqlalchemy as sa
from inside import SYSTEM, World

from ostinato import datasets, retention
from ostinato.access import ProjectChanges
from ostinato.reviews import Content, Declaration, NewItem, Output
from ostinato.storage import Database

CANARY = "canary-7f3a91c2e4"
"""In everything that is Alice's, and nobody else's."""
ALICE = f"alice-{CANARY}"
SESSION = f"talk-{CANARY}"


def dump(database: Database) -> dict[str, str]:
    """Table -> all of its rows as one text, bytes as they are read."""

    def read(connection: sa.Connection) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in sa.inspect(connection).get_table_names():
            rows = connection.exec_driver_sql(f'SELECT * FROM "{name}"').all()
            found[name] = "\n".join(
                "|".join(
                    bytes(cell).decode("latin-1") if isinstance(cell, bytes | memoryview) else str(cell) for cell in row
                )
                for row in rows
            )
        return found

    return database.query(read)


def where(world: World, *words: str) -> list[str]:
    """Tables in which one of the words stands."""
    found: list[str] = []
    for database in (world.app.control, world.app.ledger_database, world.app.work):
        found += [
            f"{database.name}.{name}" for name, text in dump(database).items() if any(word in text for word in words)
        ]
    return sorted(set(found))


def in_files(directory: Path, *words: str) -> list[str]:
    """Files of a data directory, logs of databases among them, in which one of the words stands."""
    encoded = [word.encode() for word in words]
    found: list[str] = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found += [path.name for word in encoded if word in data]
    return sorted(set(found))


async def project_of(world: World) -> str:
    project = await world.first_project()
    await world.app.access.update_project(SYSTEM, project, ProjectChanges(store_text=True))
    return project


async def seeded(world: World, calls: int = 4) -> str:
    """Alice's requests, hits, feedback, examples and reviews, and Bob's; gives the project."""
    project = await project_of(world)
    for number in range(calls):
        headers = {"ostinato-user": ALICE, "ostinato-session": SESSION, "x-request-id": f"{CANARY}-{number}"}
        got = await world.chat(f"My secret {CANARY} is {number}", headers)
        assert got.status == 200
        told = {"request_id": got.headers["x-request-id"], "value": 1}
        if got.headers["x-request-id"].startswith(CANARY):
            told = {"client_request_id": got.headers["x-request-id"], "value": 1}
        told |= {"comment": f"{CANARY} liked it", "label": f"of {CANARY}"}
        assert (await world.ask("/v1/feedback", told)).status == 202
    await world.chat(f"My secret {CANARY} is 1", {"ostinato-user": ALICE, "ostinato-session": SESSION})
    # In the same conversation, without her name.
    await world.chat(f"Without a name: {CANARY}", {"ostinato-session": SESSION})
    for number in range(calls):
        await world.chat(f"Bob's question {number}", {"ostinato-user": "bob", "ostinato-session": "bobs"})
    await world.rows(calls * 3 + 2)
    await examples(world, project)
    await world.app.reviews.declare(SYSTEM, "queue", Declaration(), project=project)
    items = [
        NewItem(content=Content(input_text=CANARY, outputs=(Output(text=CANARY),)), mark="a", subject=ALICE),
        NewItem(content=Content(input_text="Bob's", outputs=(Output(text="Bob's"),)), mark="b", subject="bob"),
    ]
    await world.app.reviews.put(SYSTEM, "queue", items, project=project)
    await world.app.governing.retention.settle()
    return project


async def examples(world: World, project: str) -> None:
    made = [
        datasets.NewExample(
            inputs={"question": f"{who} asks {number}: {word}"},
            reference="yes",
            metadata={"subject": who},
            group=f"g-{who}",
            source=f"upload:{word}",
        )
        for who, word in ((ALICE, CANARY), ("bob", "nothing"))
        for number in range(6)
    ]
    await world.app.datasets.create(SYSTEM, "questions", project=project, examples=made)


async def ended(world: World, erasure_id: str) -> retention.Erasure:
    """An erasure, as soon as it does not run any more."""
    room = world.app.governing.retention
    for _ in range(2_000):
        found = await room.erasure(SYSTEM, erasure_id)
        if found.state != "running":
            return found
        assert not room.failing, room.failing
        await asyncio.sleep(0.01)
    raise AssertionError("it never ends")


async def erased(world: World, **wish: Any) -> retention.Erasure:
    made = await world.app.governing.retention.erase(SYSTEM, retention.Wish(**wish))
    return await ended(world, made.erasure.id)
