"""Examples of recorded traffic: chosen by what they were for and how they did, each question once, a few of each kind.

The ledger has texts only of projects that keep them, redacted. Of a call by prompt the variables are there, too, and
become the inputs; of any other call the whole text that was asked does, as ``input``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, cast

import msgspec

from ostinato import checks
from ostinato.core import hashing
from ostinato.core.errors import Invalid
from ostinato.datasets import examples, leakage, likeness, splitting
from ostinato.datasets.model import NewExample
from ostinato.signals import Filter as SignalFilter
from ostinato.signals import Signal, Signals
from ostinato.traces import Filter, Ledger, RequestEvent, Window
from ostinato.wire.model import Json

Near = Callable[[Sequence[str]], Awaitable[Sequence[tuple[int, int]]]]
"""Pairs of texts (as places) that say nearly the same: by an embedder, where there is one."""

_PAGE = 1_000
_LATEST = 2**48 * 1_000 - 1
"""The last microsecond that the id of a request can tell."""
_LONGEST = 60_000
"""Characters of a text that an example takes over: what is longer does not fit."""


class Quality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Only requests of which a signal says so."""

    source: str = ""
    """``feedback``, ``outcome``, ``scorer``, ``review``; empty: any."""
    name: str = ""
    least: float | None = None
    most: float | None = None


class Traffic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests become examples, and how."""

    since: int
    """UTC microseconds, included."""
    until: int
    """Excluded."""
    intent: str = ""
    prompt: str = ""
    alias: str = ""
    release: str = ""
    quality: Quality | None = None
    reference: Literal["none", "answer", "label"] = "none"
    """What is taken for right: nothing, the answer that was given, or the label that a signal told (those without are
    left out)."""
    stratum: Literal["reference", "intent", "prompt", "label"] = "reference"
    """What ``per_stratum`` goes by."""
    per_stratum: int | None = None
    """Most examples of each stratum."""
    limit: int = 1_000
    """Most examples in all."""
    seed: int = 0
    """Which are taken where there are more: the same seed takes the same."""


class Gathered(msgspec.Struct, frozen=True):
    """Examples, and what became of the other rows."""

    examples: list[NewExample]
    seen: int
    dropped: dict[str, int]
    """``duplicates``, ``near-duplicates``, ``unlabelled``, ``too-long``."""


async def gather(
    ledger: Ledger,
    signals: Signals,
    wanted: Traffic,
    *,
    org: str,
    project: str,
    most: int,
    near: Near | None = None,
) -> Gathered:
    """Examples of a project's traffic. ``most``: rows that are read. Raises ``Invalid`` where there is nothing."""
    _check(wanted)
    known = await _signals(signals, wanted, org, project, most)
    seen, dropped = 0, {"duplicates": 0, "near-duplicates": 0, "unlabelled": 0, "too-long": 0}
    found: dict[str, NewExample] = {}
    chosen = Filter(
        org=org,
        project=project,
        alias=wanted.alias,
        intent=wanted.intent,
        prompt=wanted.prompt,
        release=wanted.release,
    )
    async for row in _rows(ledger, chosen, wanted, most):
        seen += 1
        said = known.get(row.request_id, []) if known is not None else []
        if known is not None and not said:
            continue
        label = next((one.label for one in reversed(said) if one.label), "")
        if wanted.reference == "label" and not label:
            dropped["unlabelled"] += 1
        elif max(len(row.input_text or ""), len(row.output_text or "")) > _LONGEST:
            dropped["too-long"] += 1
        else:
            one = _example(row, wanted, label)
            key = splitting.inputs_key(one)
            dropped["duplicates"] += key in found
            # The newest one of those that ask the same.
            found[key] = one
    if not found:
        raise _nothing(seen, wanted, dropped)
    kept = await _apart(list(found.values()), near)
    dropped["near-duplicates"] = len(found) - len(kept)
    picked = _pick(kept, wanted)
    return Gathered(picked, seen, {name: count for name, count in dropped.items() if count})


def _check(wanted: Traffic) -> None:
    if not 0 <= wanted.since < wanted.until <= _LATEST:
        raise Invalid(
            "The window of time is empty: it ends before it begins.",
            param="until",
            hint="Give a since that has been, and an until after it.",
        )
    quality = wanted.quality or Quality()
    for text in (wanted.intent, wanted.prompt, wanted.alias, wanted.release, quality.source, quality.name):
        if "\x00" in text:
            raise Invalid("No name holds a NUL.", param="traffic")
    if wanted.limit < 1 or (wanted.per_stratum is not None and wanted.per_stratum < 1):
        raise Invalid("At least one example is asked for.", param="limit")
    if wanted.reference == "label" and wanted.quality is None:
        raise Invalid(
            "A label is told by a signal: say which.", param="quality", hint='Such as {"source": "feedback"}.'
        )


def _nothing(seen: int, wanted: Traffic, dropped: dict[str, int]) -> Invalid:
    if not seen:
        return Invalid(
            "There is no request of this kind and time whose texts were kept.",
            code="no_traffic",
            hint="Only projects with store_text keep texts (`ostinato projects`), and only from then on.",
        )
    quality = wanted.quality or Quality()
    named = ":".join(name for name in (quality.source, quality.name) if name)
    message = f"Of {seen:,} requests whose texts were kept, none has such a signal{f' ({named})' if named else ''}."
    hint = "`ostinato signals summary` shows which there are."
    if any(dropped.values()):
        why = ", ".join(f"{count:,} {name}" for name, count in dropped.items() if count)
        message, hint = f"Of {seen:,} requests whose texts were kept, none is of use: {why}.", ""
    return Invalid(message, code="no_traffic", hint=hint)


async def _rows(ledger: Ledger, chosen: Filter, wanted: Traffic, most: int) -> AsyncIterator[RequestEvent]:
    after, left = "", most
    window = Window(wanted.since, wanted.until)
    while left > 0:
        page = await ledger.answered(window, chosen, after=after, limit=min(_PAGE, left))
        for row in page:
            yield row
        if len(page) < min(_PAGE, left):
            return
        left -= len(page)
        after = page[-1].request_id


async def _signals(
    signals: Signals, wanted: Traffic, org: str, project: str, most: int
) -> dict[str, list[Signal]] | None:
    """Request -> what was said of it or of a hit that repeated it; ``None`` where that does not matter."""
    quality = wanted.quality
    if quality is None:
        return None
    chosen = SignalFilter(
        org=org,
        project=project,
        source=quality.source,
        name=quality.name,
        prompt=wanted.prompt,
        release=wanted.release,
        intent=wanted.intent,
        since=wanted.since,
    )
    # Of what one actor said again of a request, the last counts: values are compared when all has been read.
    last: dict[tuple[str, ...], Signal] = {}
    after, left = "", most
    while left > 0:
        page = await signals.query(chosen, after, min(_PAGE, left))
        for one in page.signals:
            same = (one.request_id, one.source, one.name, one.scorer, one.actor)
            last.pop(same, None)
            last[same] = one
        if len(page.signals) < min(_PAGE, left):
            break
        left -= len(page.signals)
        after = page.after
    found: dict[str, list[Signal]] = {}
    for one in last.values():
        if _within(one.value, quality):
            found.setdefault(one.origin or one.request_id, []).append(one)
    return found


def _within(value: float | None, quality: Quality) -> bool:
    """Whether a value is what was asked for; none is no value at least, nor at most."""
    if value is None:
        return quality.least is None and quality.most is None
    return (quality.least is None or value >= quality.least) and (quality.most is None or value <= quality.most)


def _example(row: RequestEvent, wanted: Traffic, label: str) -> NewExample:
    variables: Any = (row.extra or {}).get("variables")
    inputs: Json = cast("Json", variables) if isinstance(variables, dict) and variables else {"input": row.input_text}
    reference = {"none": None, "answer": row.output_text, "label": label}[wanted.reference]
    strata = {"reference": examples.label_of(reference), "intent": row.intent, "prompt": row.prompt, "label": label}
    metadata: Json = {"prompt": row.prompt, "prompt_version": row.prompt_version, "target": row.target}
    if row.user_digest:
        metadata[examples.SUBJECT] = row.user_digest
    return NewExample(
        inputs=_redacted(inputs),
        reference=_redacted(reference),
        metadata={name: value for name, value in metadata.items() if value},
        group=f"session:{row.session}" if row.session else "",
        stratum=strata[wanted.stratum][:64],
        source=f"request:{row.request_id}",
    )


async def _apart(found: Sequence[NewExample], near: Near | None) -> list[NewExample]:
    """Without those that say nearly the same as an earlier one."""
    texts = [leakage.text_of(one) for one in found]
    pairs: Iterable[tuple[int, int]] = await asyncio.to_thread(lambda: list(likeness.pairs(texts)))
    if near is not None:
        pairs = [*pairs, *await near(texts)]
    gone: set[int] = set()
    for first, second in sorted(pairs):
        if first not in gone:
            gone.add(second)
    return [one for place, one in enumerate(found) if place not in gone]


def _pick(found: Sequence[NewExample], wanted: Traffic) -> list[NewExample]:
    """So many of each stratum and in all, drawn by the seed; strata take turns."""
    seed = str(wanted.seed).encode()
    strata: dict[str, list[tuple[bytes, int]]] = {}
    for place, one in enumerate(found):
        drawn = hashing.digest(b"pick", seed, splitting.inputs_key(one).encode())
        strata.setdefault(one.stratum, []).append((drawn, place))
    ranked: list[tuple[int, bytes, int]] = []
    for some in strata.values():
        ranked += [(rank, *pair) for rank, pair in enumerate(sorted(some)[: wanted.per_stratum])]
    chosen = sorted(place for _, _, place in sorted(ranked)[: wanted.limit])
    return [found[place] for place in chosen]


def _redacted(value: Any) -> Any:
    """What the ledger has is redacted when it is written; what rules have learnt since is heeded here."""
    if isinstance(value, str):
        return checks.redact(value)
    if isinstance(value, dict):
        return {name: _redacted(item) for name, item in cast("Json", value).items()}
    if isinstance(value, list):
        return [_redacted(item) for item in cast("list[Any]", value)]
    return value
