"""What every section of the run is given: where, how long, how often, and whom to tell of progress."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import servers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from yardstick import Yardstick


class Sizes(msgspec.Struct, frozen=True):
    """How much of everything."""

    rounds: int = 5
    seconds: float = 3.0
    """Of one round of one case."""
    ledger_rows: int = 200_000
    entries: int = 1_000_000
    steady_seconds: float = 15.0


class Bench(msgspec.Struct):
    """One run."""

    place: Path
    """A directory that is removed at the end."""
    shared: Path
    sizes: Sizes
    progress: Progress
    yardstick: Yardstick | None = None
    """``None`` where it is not to be had: its sections are skipped, and ``without`` says why."""
    without: str = ""

    def ticker(self, title: str, total: int) -> Callable[[str], None]:
        """A bar of ``total`` steps; call it with the name of the step that begins."""
        task = self.progress.add_task(title, total=total, step="")
        done = -1

        def tick(step: str) -> None:
            nonlocal done
            done += 1
            self.progress.update(task, completed=done, step=step)
            if done >= total:
                self.progress.update(task, completed=total, step="done")

        return tick

    def needed(self) -> Yardstick:
        """The yardstick; raises ``servers.Missing`` where there is none."""
        if self.yardstick is None:
            raise servers.Missing(self.without)
        return self.yardstick

    def start_mock(self, stack: ExitStack) -> Yardstick:
        """The yardstick with its upstream running until ``stack`` is left."""
        yardstick = self.needed()
        process, url = servers.mock(yardstick.directory, self.place / "mock.log")
        stack.enter_context(process)
        yardstick.upstream = url
        return yardstick

    def gateway(self, name: str, upstream: str, *, ledger: bool = True, more: str = "") -> servers.Gateway:
        """A gateway with a directory of its own, not started."""
        return servers.Gateway(self.place / name, upstream, ledger=ledger, more=more)


def progress(console: Console) -> Progress:
    """The bars of a run."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[step]}"),
        console=console,
    )
