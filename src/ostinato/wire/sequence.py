"""Overlapping blocks in a row, for wires whose blocks never overlap.

Chat Completions may interleave the fragments of parallel tool calls. Messages and Responses end one block before the
next begins: what belongs to a later block waits until the one before it has ended. Nothing else ever waits.
"""

from collections.abc import Iterator

from ostinato.wire.model import BlockStart, BlockStop, Delta, Event, Finish


class Sequence:
    """Arranges the events of one answer."""

    def __init__(self) -> None:
        self._open: int | None = None
        self._waiting: dict[int, list[Event]] = {}

    def arrange(self, events: list[Event]) -> Iterator[Event]:
        """The events, those of overlapping blocks later; ``Finish`` ends every block that is still open."""
        for event in events:
            if type(event) is Delta:
                if self._waiting and event.index in self._waiting:
                    self._waiting[event.index].append(event)
                else:
                    yield event
            elif isinstance(event, BlockStart):
                if self._open is None:
                    self._open = event.index
                    yield event
                else:
                    self._waiting[event.index] = [event]
            elif isinstance(event, BlockStop):
                if event.index in self._waiting:
                    self._waiting[event.index].append(event)
                else:
                    yield event
                    if event.index == self._open:
                        self._open = None
                        yield from self._release()
            else:
                if isinstance(event, Finish):
                    yield from self._finish()
                yield event

    def _release(self) -> Iterator[Event]:
        """Blocks whose turn it is."""
        while self._open is None and self._waiting:
            index = next(iter(self._waiting))
            held = self._waiting.pop(index)
            yield from held
            if not isinstance(held[-1], BlockStop):
                self._open = index

    def _finish(self) -> Iterator[Event]:
        while self._open is not None:
            index, self._open = self._open, None
            yield BlockStop(index)
            yield from self._release()
