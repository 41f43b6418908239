"""The texts of an answer: the fragments of a block are one text, however they were cut."""

from collections.abc import Callable

import msgspec

from ostinato.checks import trees
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Event, Json

Apply = Callable[[str], str]

LOGPROBS = "logprobs"
"""A second copy of the text, token by token: it goes when the text is changed."""


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
            result.append(event)
            continue
        extra = event.extra and extra_of(event.extra, change, keep_logprobs=event.index not in changed)
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


def extra_of(extra: Json, change: Apply, *, keep_logprobs: bool) -> Json | None:
    """What else came with a fragment, with ``change`` applied; the same object where nothing changed."""
    if not keep_logprobs and LOGPROBS in extra:
        extra = {name: value for name, value in extra.items() if name != LOGPROBS}
    return trees.body(extra, change) or None
