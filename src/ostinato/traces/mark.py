"""Counters that survive ``kill -9``: a few bytes of memory that belong to a file.

A row in memory is gone when the process is killed, and nothing in the database tells that it existed. So the number
of accepted rows is also kept in a shared memory map: the operating system writes it out even if the process cannot.
At the next start, accepted less accounted-for is what was lost, to the row. (A power cut may take the last bytes of
the map with it; then what it took is not counted.)
"""

import fcntl
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ostinato.core import ids

_MAGIC = b"OSTMARK1"
_SIZE = 4_096
_MOST = 256
"""Processes that may share a directory."""

REGISTERED, ACCEPTED, DROPPED = 8, 9, 10
"""Places in :attr:`Mark.counts`, in words of eight bytes; the eight before hold the magic, the writer, and nothing."""


class Counts(Protocol):
    """Integers by place."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, value: int, /) -> None: ...


class Mark:
    """One writer's counters. ``counts`` is written to directly, from the hot path."""

    def __init__(self, writer: str, counts: Counts, memory: mmap.mmap | None = None, file: int | None = None) -> None:
        self.writer = writer
        self.counts: Counts = counts
        self._memory = memory
        self._file = file

    def renew(self, now: int, less: tuple[int, int] | None = None) -> None:
        """Begin again as a new writer: the database that knew this one is gone.

        ``less``: how much of accepted and dropped belongs to the past; everything, where it is left out.
        """
        self.writer = ids.new(now)
        if self._memory is not None:
            self._memory[8:40] = self.writer.encode()
        accepted, dropped = less or (self.counts[ACCEPTED], self.counts[DROPPED])
        self.counts[REGISTERED] = 0
        self.counts[ACCEPTED] -= accepted
        self.counts[DROPPED] -= dropped

    def close(self) -> None:
        """Let another process adopt the file."""
        view, self.counts = self.counts, copied(self.counts)
        if self._memory is not None:
            if isinstance(view, memoryview):
                view.release()
            self._memory.flush()
            self._memory.close()
            self._memory = None
        if self._file is not None:
            os.close(self._file)
            self._file = None


def copied(counts: Counts) -> Counts:
    """The same numbers in plain memory."""
    return [counts[place] if place >= REGISTERED else 0 for place in range(DROPPED + 1)]


def in_memory(now: int) -> Mark:
    """Counters that die with the process: where there is no directory to put them."""
    return Mark(ids.new(now), [0] * (DROPPED + 1))


def open_marks(directory: Path, now: int) -> list[Mark]:
    """Every mark in ``directory`` that no living process holds; the first is the caller's to use, made if need be.

    The others are what stopped processes left behind: settle and close them. Raises ``OSError`` where nothing can be
    written.
    """
    found: list[Mark] = []
    for number in range(_MOST):
        path = directory / f"traces-{number}.mark"
        fresh = not path.exists()
        if fresh and found:
            break
        mark = _open(path, now)
        if mark is not None:
            found.append(mark)
    return found or [in_memory(now)]


def _open(path: Path, now: int) -> Mark | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    memory: mmap.mmap | None = None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_size < _SIZE:
            # Blocks are allocated now: a store into a hole of a full disk would be a SIGBUS, not an error.
            os.posix_fallocate(file, 0, _SIZE)
        memory = mmap.mmap(file, _SIZE)
        mark = Mark(bytes(memory[8:40]).decode("ascii", "replace"), memoryview(memory).cast("Q"), memory, file)
        if memory[:8] != _MAGIC or not ids.is_id(mark.writer):
            memory[:8] = _MAGIC
            mark.renew(now)
        return mark
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        if memory is not None:
            with suppress(BufferError):
                memory.close()
        os.close(file)
        raise
