"""Measures candidates for one run: through the journal, within the budget, written down as they are measured."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from ostinato.calls.model import Purpose
from ostinato.core import hashing
from ostinato.datasets.model import Example
from ostinato.evals.model import Cell, Variant
from ostinato.optimization.model import Candidate, Measured, stratum
from ostinato.optimization.needs import Measuring
from ostinato.optimization.records import Records
from ostinato.optimization.run import Run, Stage
from ostinato.optimization.stopping import Reins, Stopped
from ostinato.prompts import Content

_REASONS = 3
_OURS = re.compile(r"It (?:gave|raised|took) [\w .,'+-]{1,80}")
"""What ``scorers`` says of a scorer that failed."""
_CODE = re.compile(r"[a-z][a-z_-]{1,39}")


def digest(content: Content) -> str:
    """SHA-256 of a content, as its version would have it, in hexadecimal."""
    return hashlib.sha256(hashing.canonical_json(msgspec.to_builtins(content))).hexdigest()


def variant_of(run: Run, one: Candidate) -> Variant:
    """A candidate as it is asked."""
    return Variant(
        name=f"candidate {one.id}",
        content=one.content,
        digest=digest(one.content),
        alias=run.alias,
        prompt=run.prompt,
        number=run.base_number if one.origin == "base" else 0,
        retrieval=run.wish.retrieval,
    )


def candidate(content: Content) -> Candidate:
    """The incumbent as a candidate."""
    return Candidate(id=digest(content)[:16], content=content)


class Meter:
    """What a search and a gate measure with."""

    def __init__(self, run: Run, measuring: Measuring, records: Records, reins: Reins) -> None:
        self.run = run
        self.reins = reins
        self.purpose: Purpose = "search"
        """What the calls are made for: it stands in the ledger."""
        self.measurements = 0
        """Answers that were measured, or could not be."""
        self._lacking: Counter[str] = Counter()
        self._measuring = measuring
        self._records = records

    async def evaluate(self, one: Candidate, examples: Sequence[Example]) -> Sequence[Measured]:
        """How a candidate does on open examples, in their order: what a search is handed as ``Evaluate``."""
        cells = await self.cells(one, examples, "search")
        return [measured(cell, example) for cell, example in zip(cells, examples, strict=True)]

    async def cells(
        self, one: Candidate, examples: Sequence[Example], stage: Stage, *, confidence: bool = False
    ) -> Sequence[Cell]:
        """The same as cells. Raises ``Stopped`` where the run was told to stop meanwhile."""
        run = self.run
        if self.reins.wanted:
            raise Stopped(self.reins.wanted)
        variant = variant_of(run, one)
        await self._records.candidates(run.id, [one])
        cells = await self._measuring.measure(
            run, variant, examples, purpose=self.purpose, budget=self.reins, confidence=confidence
        )
        if self.reins.wanted and any(cell.value is None for cell in cells):
            # A judge that was not let ask any more says nothing of the answer.
            raise Stopped(self.reins.wanted)
        found = [measured(cell, example) for cell, example in zip(cells, examples, strict=True)]
        await self._records.measured(run.id, stage, one.id, found)
        self.measurements += len(found)
        self._lacking.update(why for cell in cells if cell.value is None for why in _lacking(cell))
        return cells

    @property
    def told(self) -> str:
        """Why answers have no value, the most frequent reason first."""
        reasons = "; ".join(f"{why} ({count} times)" for why, count in self._lacking.most_common(_REASONS))
        return f"The incumbent's answers could not be scored: {reasons or 'none came'}"


def _lacking(cell: Cell) -> list[str]:
    """Why a cell has no value. A scorer's own words stay out: they may hold texts."""
    if cell.error:
        return [f"no answer, {cell.error}"]
    return [f"{one.scorer} says {_plain(one.label, one.rationale)}" for one in cell.scores if one.value is None]


def _plain(label: str, rationale: str) -> str:
    if _OURS.fullmatch(rationale):
        return rationale.rstrip(".")
    code = rationale.partition(":")[0]
    return code if label == "error" and _CODE.fullmatch(code) else label if _CODE.fullmatch(label) else "unscored"


def measured(cell: Cell, example: Example) -> Measured:
    """A cell as searches and records have it."""
    usage = cell.usage
    return Measured(
        example=example.id,
        value=cell.value,
        output=cell.output,
        confidence=cell.confidence,
        stratum=stratum(example),
        input_tokens=0 if usage is None else usage.input + usage.cache_read + usage.cache_write,
        cached_tokens=0 if usage is None else usage.cache_read,
        output_tokens=0 if usage is None else usage.output + usage.reasoning,
        cost=cell.cost or 0,
        latency_us=cell.latency_us or 0,
        error=cell.error or ("" if cell.value is not None else "unscored"),
    )
