"""Datasets on each engine, of a project of their own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from ostinato import access, audit, storage
from ostinato.access import Caller
from ostinato.core.clock import ManualClock
from ostinato.datasets import Datasets, NewExample, Settings

SYSTEM = access.SystemActor("test")
PERMISSIONS = frozenset({"datasets:read", "datasets:text", "datasets:write", "projects:read", "traces:text"})


class Kit:
    """The room, on a database with two projects."""

    def __init__(self, database: storage.Database, clock: ManualClock, log: audit.Log) -> None:
        self.database = database
        self.clock = clock
        self.log = log
        self.projects: list[access.Project] = []
        self.datasets = self.room()

    def room(self, **settings: Any) -> Datasets:
        return Datasets(self.database, self.clock, self.log, Settings(**settings))

    def caller(self, *without: str, project: int = 0) -> Caller:
        home = self.projects[project]
        return Caller(
            key_id="k", key_prefix="k", org=home.org_id, project=home.id, permissions=PERMISSIONS - set(without)
        )

    async def leaves(self) -> list[Any]:
        return [entry.leaf for entry in await self.log.page(audit.Filter(), limit=500)][::-1]


@pytest_asyncio.fixture
async def kit(control: storage.Database, clock: ManualClock) -> Kit:
    log = audit.Log(control, clock, storage.Notices(), secret=b"s" * 32)
    made = Kit(control, clock, log)
    door = access.Access(control, storage.Notices(), clock, access.Settings(), log)
    await door.create_organization(SYSTEM, "acme", "Acme")
    for name in ("one", "two"):
        made.projects.append(await door.create_project(SYSTEM, name, name, organization="acme"))
    return made


def examples(count: int, start: int = 0, **fields: Any) -> list[NewExample]:
    """So many different questions, of two classes."""
    return [
        NewExample(
            **{
                "inputs": {"question": f"What is the meaning of entry number {n * n}, and of {n}?"},
                "reference": "odd" if n % 2 else "even",
                **fields,
            }
        )
        for n in range(start, start + count)
    ]


@pytest.fixture
def make() -> Callable[..., list[NewExample]]:
    return examples
