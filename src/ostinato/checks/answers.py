"""The texts of an answer: the fragments of a block are one text, however they were cut."""

from collections.abc import Callable

import msgspec

from ostinato.checks import trees
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Event, Json, Usage

Apply = Callable[[str], str]

_KEPT = frozenset({"signature"})
"""What of a fragment's ``extra`` outlives a change of its text. The rest may repeat the text, as ``logprobs`` does."""


def apply(answer: Answer, change: Apply) -> Answer:
    """``answer`` with ``change`` applied to the whole text of each block; the same object where nothing changed.

    A block that changed has its text in one fragment.
    """
    kinds: dict[int, str] = {}
    texts: dict[int, list[str]] = {}
    for event in answer.events:
        if isinstance(event, BlockStart):
            kinds[event.index] = event.kind
        elif isinstance(event, Delta):
            texts.setdefault(event.index, []).append(event.text)
    changed: dict[int, str] = {}
    for index, parts in texts.items():
        text = "".join(parts)
        fresh = trees.arguments(text, change) if kinds.get(index) == "tool_use" else change(text)
        if fresh != text:
            changed[index] = fresh
    events = _rewritten(answer.events, changed, change)
    same = len(events) == len(answer.events) and all(a is b for a, b in zip(events, answer.events, strict=True))
    return answer if same else msgspec.structs.replace(answer, events=events)


def _rewritten(events: tuple[Event, ...], changed: dict[int, str], change: Apply) -> tuple[Event, ...]:
    result: list[Event] = []
    written: set[int] = set()
    for event in events:
        if not isinstance(event, BlockStart | Delta | BlockStop):
            result.append(beside(event, change))
            continue
        extra = event.extra and extra_of(event.extra, change, text_changed=event.index in changed)
        if isinstance(event, Delta) and event.index in changed:
            if event.index not in written:
                written.add(event.index)
                result.append(Delta(event.index, changed[event.index], extra))
            elif extra:
                result.append(Delta(event.index, "", extra))
        elif extra is event.extra:
            result.append(event)
        else:
            result.append(msgspec.structs.replace(event, extra=extra))
    return tuple(result)


def beside(event: Event, change: Apply) -> Event:
    """An event that is no part of a block; unknown fields of the provider may hold text all the same."""
    if isinstance(event, Usage) or not event.extra:
        return event
    extra = trees.body(event.extra, change)
    return event if extra is event.extra else msgspec.structs.replace(event, extra=extra)


def extra_of(extra: Json, change: Apply, *, text_changed: bool) -> Json | None:
    """What else came with a piece of a block, with ``change`` applied; the same object where nothing changed."""
    if text_changed:
        extra = {name: value for name, value in extra.items() if name in _KEPT}
    return trees.body(extra, change) or None
