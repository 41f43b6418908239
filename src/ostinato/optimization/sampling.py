"""Some answers for a run's report: where the new prompt did better, where worse, or what one says that is never right.

Of open examples only: the sealed ones are shown to nobody. Read from the journal, so that what is erased there is gone.
"""

import msgspec

from ostinato.optimization.meter import variant_of
from ostinato.optimization.needs import Rooms
from ostinato.optimization.report import figures
from ostinato.optimization.run import Detail, Sample
from ostinato.wire.model import Json

_EACH = 5
_LONGEST = 600
"""Characters of a text that the page shows."""


async def samples(rooms: Rooms, detail: Detail) -> tuple[Sample, ...]:
    """Up to five examples that the new prompt won, and lost; without a new prompt, of what the incumbent says."""
    run = detail.run
    by = {one.id: one for one in detail.candidates}
    base, new = by.get(run.base_digest[:16]), by.get(figures.chosen(detail))
    if base is None:
        return ()
    values: dict[str, dict[str, float]] = {}
    for one in detail.records:
        if one.stage == "search" and one.measured.value is not None:
            values.setdefault(one.candidate, {})[one.measured.example] = one.measured.value
    before, after = values.get(base.id, {}), values.get(new.id, {}) if new is not None and new.id != base.id else {}
    both = sorted(before.keys() & after.keys())
    found = [(name, "won") for name in both if after[name] > before[name]][:_EACH]
    found += [(name, "lost") for name in both if after[name] < before[name]][:_EACH]
    if not found:
        found = [(name, "said") for name in sorted(before, key=lambda name: (before[name], name))][:_EACH]
    open_ = {one.id: one for one in await rooms.data.load(run.dataset_version, ("dev",)) if not one.erased}
    chosen = [(open_[name], kind) for name, kind in found if name in open_]
    asked = [one for one, _ in chosen]
    said = await rooms.measuring.recall(run, variant_of(run, base), asked)
    other = (
        [None] * len(asked)
        if new is None or not after
        else await rooms.measuring.recall(run, variant_of(run, new), asked)
    )
    return tuple(
        msgspec.convert(
            {
                "kind": kind,
                "asked": _cut(_told(one.inputs)),
                "reference": _cut(one.reference if isinstance(one.reference, str) else _told(one.reference)),
                "incumbent": _cut(mine or ""),
                "new": _cut(theirs or ""),
            },
            Sample,
        )
        for (one, kind), mine, theirs in zip(chosen, said, other, strict=True)
        if mine is not None or theirs is not None
    )


def _told(value: Json | object) -> str:
    if isinstance(value, dict) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType] - JSON of unknown shape
        (value,) = value.values()  # pyright: ignore[reportUnknownVariableType] - the same
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [...]"
