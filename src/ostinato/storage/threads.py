"""Threads of a store's own, each with a tool (a connection) that only it touches.

Lighter than an executor, because the shared tier is asked on the way of a request: a hop there and back costs some
20 us of CPU. The event loop's default executor, which others may have filled, is never used.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from ostinato.core.errors import Unavailable

Tool = TypeVar("Tool")
T = TypeVar("T")


class Lane(Generic[Tool]):
    """``count`` threads and one queue. A job is called with the tool of its thread, then with its arguments.

    ``make`` builds a tool on the thread that will use it, when a job first asks or after ``renew``; ``drop`` takes it
    apart there. What either raises goes to the caller of the job.
    """

    def __init__(
        self,
        name: str,
        count: int,
        make: Callable[[], Tool],
        drop: Callable[[Tool], None],
        *,
        waiting: int,
    ) -> None:
        self._name = name
        self._make = make
        self._drop = drop
        self._most = waiting
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._generation = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def call(self, job: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
        """Run ``job(tool, *arguments)`` on a thread; await what it gives. A cancelled caller does not stop the job."""
        if self._closed or self._queue.qsize() >= self._most:
            raise Unavailable(
                f"The store {self._name!r} {'is closed' if self._closed else 'has too much to do'}.",
                code="storage_closed" if self._closed else "storage_busy",
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((loop, future, job, arguments))
        return future

    def renew(self) -> None:
        """Every thread drops its tool before its next job and makes a new one."""
        self._generation += 1

    async def close(self) -> None:
        """Do what is queued, then end. May be called twice."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in self._threads]
        for future in futures:
            self._queue.put((loop, future, None, ()))
        await asyncio.gather(*futures)

    def _work(self) -> None:
        tool: Tool | None = None
        generation = 0
        take = self._queue.get
        while True:
            loop, future, job, arguments = take()
            result: Any = None
            failure: BaseException | None = None
            try:
                if tool is not None and (job is None or generation != self._generation):
                    old, tool = tool, None
                    self._drop(old)
                if job is not None:
                    if tool is None:
                        generation = self._generation
                        tool = self._make()
                    result = job(tool, *arguments)
            except BaseException as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                loop.call_soon_threadsafe(_settle, future, result, failure)
            if job is None:
                return
            # Nothing may be held while waiting for the next job: not the answer, not the caller's future.
            del loop, future, job, arguments, result, failure


def _settle(future: "asyncio.Future[Any]", result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
