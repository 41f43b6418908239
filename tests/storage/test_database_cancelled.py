"""A caller who is told to end while a database answers: it ends, whatever the moment."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from ostinato import storage


class Thread:
    """Threads whose answer comes when the test says so."""

    def __init__(self) -> None:
        self.answer: Future[str] = Future()

    def submit(self, *_: Callable[..., Any]) -> Future[str]:
        self.answer.set_running_or_notify_cancel()
        return self.answer


@pytest.mark.parametrize("rounds", range(5))
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_a_cancellation_that_comes_with_the_answer_is_heeded(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, dialect: str, rounds: int
) -> None:
    """Else a loop that was told to end goes on, and the process never stops."""
    database = storage.open_database("control", tmp_path / "control.db")
    thread = Thread()
    monkeypatch.setattr(database, "dialect", dialect)
    waiting = asyncio.create_task(database._await(thread, lambda work: work, lambda: "answer"))  # pyright: ignore
    await asyncio.sleep(0.01)
    thread.answer.set_result("answer")
    for _ in range(rounds):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert waiting.result() == "answer"
    monkeypatch.undo()
    database.close()
