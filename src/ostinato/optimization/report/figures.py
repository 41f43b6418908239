"""Figures of a run, from what it wrote down: what the page and the terminal show. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ostinato.optimization.model import Candidate
from ostinato.optimization.run import Detail, Record
from ostinato.optimization.search.model import Round
from ostinato.prompts import Content

PHASES: Mapping[str, str] = {
    "headroom": "headroom probe",
    "race": "race of edits",
    "reflection": "reflection",
    "polish": "polish",
    "unfinished": "unfinished rounds",
    "holdout": "sealed examples",
    "other": "judges, reflection model",
}
"""What a stage is called on the page, in the order in which they come."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How a candidate did on the open examples."""

    candidate: Candidate
    n: int
    mean: float | None
    tokens: float
    """Of one answer, prompt and output, those from the prefix cache included."""
    nano: float
    """Nano-dollars of one answer."""
    out: str = ""
    """Why it went no further; empty: it did."""


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage took."""

    stage: str
    calls: int
    tokens: int
    cached: int
    nano: int


def tried(detail: Detail) -> tuple[Tried, ...]:
    """Everybody, in the order in which they entered."""
    by: dict[str, list[Record]] = {}
    for one in detail.records:
        if one.stage == "search":
            by.setdefault(one.candidate, []).append(one)
    why = left(detail)
    return tuple(_tried(one, by.get(one.id, []), why.get(one.id, "")) for one in detail.candidates)


def _tried(one: Candidate, found: Sequence[Record], out: str) -> Tried:
    values = [record.measured.value for record in found if record.measured.value is not None]
    count = max(1, len(found))
    return Tried(
        candidate=one,
        n=len(values),
        mean=sum(values) / len(values) if values else None,
        tokens=sum(record.measured.input_tokens + record.measured.output_tokens for record in found) / count,
        nano=sum(record.measured.cost for record in found) / count,
        out=out,
    )


def left(detail: Detail) -> dict[str, str]:
    """Why candidates went no further, by their ids."""
    found: dict[str, str] = {}
    for one in detail.rounds:
        for standing in one.standings:
            if standing.out:
                found[standing.candidate] = standing.out
    decided = decision(detail, "search") or {}
    for standing in decided.get("standings", ()):
        if standing.get("out"):
            found[standing["candidate"]] = standing["out"]
    for proof in (decision(detail, "gate") or {}).get("proofs", ()):
        if not proof.get("passed"):
            said = [one["sentence"] for one in proof.get("rulings", ()) if one["passed"] is False]
            found[proof["id"]] = "Refused by the gate. " + " ".join(said)
    return found


def took(detail: Detail) -> tuple[Took, ...]:
    """What each stage took, in their order."""
    phases = _phases(detail.rounds)
    sums: dict[str, list[int]] = {}
    for one in detail.records:
        key = (one.candidate, one.measured.example)
        stage = "holdout" if one.stage == "holdout" else phases.get(key, "unfinished")
        found = one.measured
        row = sums.setdefault(stage, [0, 0, 0, 0])
        for place, value in enumerate((1, found.input_tokens + found.output_tokens, found.cached_tokens, found.cost)):
            row[place] += value
    spent = detail.spent
    rest = [
        max(0, spent.calls - sum(row[0] for row in sums.values())),
        max(0, spent.tokens - sum(row[1] for row in sums.values())),
        0,
        max(0, spent.nano - sum(row[3] for row in sums.values())),
    ]
    if rest[0] or rest[3]:
        sums["other"] = rest
    return tuple(
        Took(stage=name, calls=row[0], tokens=row[1], cached=row[2], nano=row[3])
        for name in PHASES
        if (row := sums.get(name)) is not None
    )


def _phases(rounds: Sequence[Round]) -> dict[tuple[str, str], str]:
    """(Candidate, example) -> the phase in which it was first measured."""
    found: dict[tuple[str, str], str] = {}
    for one in rounds:
        for standing in one.standings:
            for example in one.examples:
                found.setdefault((standing.candidate, example), one.phase)
    return found


def learning(detail: Detail) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(Measurements, mean) after each round: of the best in it, and of the incumbent."""
    base = detail.run.base_digest[:16]
    best: list[tuple[float, float]] = []
    incumbent: list[tuple[float, float]] = []
    for one in detail.rounds:
        means = [standing.mean for standing in one.standings if standing.mean is not None and not standing.out]
        if means:
            best.append((one.calls, 100 * max(means)))
        found = next((standing.mean for standing in one.standings if standing.candidate == base), None)
        if found is not None:
            incumbent.append((one.calls, 100 * found))
    return best, incumbent


def decision(detail: Detail, name: str) -> dict[str, Any] | None:
    """What was decided under a name; ``None``: nothing."""
    return next((one.body for one in detail.decided if one.name == name), None)


def chosen(detail: Detail) -> str:
    """Id of the candidate that the run is about: the champion, else the best finalist; empty: there is none."""
    gate = decision(detail, "gate") or {}
    proofs: list[dict[str, Any]] = list(gate.get("proofs", ()))
    if detail.run.champion or gate.get("champion"):
        return detail.run.champion or str(gate["champion"])
    if proofs:
        return str(max(proofs, key=lambda one: (one["gain"], one["id"]))["id"])
    finalists = (decision(detail, "search") or {}).get("finalists", ())
    return str(finalists[0]) if finalists else ""


def text_of(content: Content) -> str:
    """A content as people read it."""
    if content.kind != "chat":
        return content.text
    return "\n".join(f"[{turn.role}]\n{turn.template}\n" for turn in content.messages)
