"""The course of a search: who was measured on what, what it took, who is in and who is out."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from ostinato.core.errors import LimitReached
from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate, Measured
from ostinato.optimization.search import pairing
from ostinato.optimization.search.grammar import Recipe
from ostinato.optimization.search.model import (
    Evaluate,
    Headroom,
    OnRound,
    Phase,
    Refused,
    Round,
    SearchPlan,
    SearchResult,
    Standing,
)


class Stopped(Exception):
    """The search ends here: its plan or its budget is spent. What complete rounds told stays."""

    def __init__(self, reason: str, told: str = "") -> None:
        """``reason``: a code; ``told``: what a limit said when it was reached."""
        super().__init__(reason)
        self.reason = reason
        self.told = told


class Course:
    """One search under way. Its decisions depend on complete rounds only, never on who answered first."""

    def __init__(self, base: Candidate, evaluate: Evaluate, plan: SearchPlan, on_round: OnRound) -> None:
        self.base = base
        self.plan = plan
        self.candidates: dict[str, Candidate] = {base.id: base}
        self.recipes: dict[str, Recipe] = {}
        self.table: dict[str, dict[str, Measured]] = {base.id: {}}
        self.out: dict[str, str] = {}
        self.refused: list[Refused] = []
        self.rounds: list[Round] = []
        self.calls = 0
        self.stopped = self.told = ""
        self.headroom: Headroom | None = None
        self._worth: dict[str, float] = {}
        self._evaluate = evaluate
        self._tell = on_round
        self._entered: list[Candidate] = []
        self._refused = 0

    def enter(self, candidate: Candidate, recipe: Recipe | None = None) -> bool:
        """Let a candidate in; ``False``: an equal one was in before."""
        if candidate.id in self.candidates:
            return False
        self.candidates[candidate.id] = candidate
        self.table[candidate.id] = {}
        self._entered.append(candidate)
        if recipe is not None:
            self.recipes[candidate.id] = recipe
        return True

    def refuse(self, edit: str, reason: str, parent: str = "") -> None:
        """Write down an edit that came to nothing."""
        self.refused.append(Refused(edit=edit, reason=reason, parent=parent))

    def room(self, candidates: int, examples: int, reserved: int = 0) -> bool:
        """Whether the plan allows for so many more measurements."""
        return self.calls + candidates * examples + reserved <= self.plan.calls

    async def measure(self, names: Sequence[str], examples: Sequence[Example]) -> None:
        """Measure candidates on ``examples``, candidate by candidate. Raises ``Stopped`` before too much is asked.

        The measurements of a round that could not be completed are kept, and used by nobody.
        """
        found: dict[str, Mapping[str, Measured]] = {}
        todo = {
            name: [example for example in examples if example.id not in self.table[name]]
            for name in dict.fromkeys(names)
        }
        if self.calls + sum(map(len, todo.values())) > self.plan.calls:
            raise Stopped("plan_spent")
        for name, missing in todo.items():
            if not missing:
                continue
            try:
                measured = await self._evaluate(self.candidates[name], missing)
            except LimitReached as error:
                raise Stopped(error.code, error.sentence) from error
            self.calls += len(missing)
            if [one.example for one in measured] != [example.id for example in missing]:
                raise ValueError("The measurements are not those of the examples that were asked for.")
            found[name] = {one.example: one for one in measured}
        for name, row in found.items():
            self.table[name].update(row)
        # In a thread: the loop that this runs on serves everybody's requests.
        self._worth = await asyncio.to_thread(pairing.estimates, self.table, self.base.id)

    def stop(self, stopped: Stopped) -> None:
        """Note why this ends here; that the plan was carried out is no reason."""
        if stopped.reason != "plan_spent":
            self.stopped, self.told = stopped.reason, stopped.told

    async def close(self, phase: Phase, names: Sequence[str], examples: Sequence[Example]) -> Round:
        """End a complete round: put out who cannot be scored, write down how everybody stands, and tell."""
        for name in names:
            lost = pairing.unscored(self.table, name, [example.id for example in examples])
            if name != self.base.id and lost > self.plan.unscored * len(examples):
                self.out.setdefault(name, f"{lost} of {len(examples)} answers could not be scored.")
        done = Round(
            number=len(self.rounds) + 1,
            phase=phase,
            examples=tuple(example.id for example in examples),
            entered=tuple(self._entered),
            standings=self.standings(names),
            refused=tuple(self.refused[self._refused :]),
            calls=self.calls,
        )
        self._entered = []
        self._refused = len(self.refused)
        self.rounds.append(done)
        await self._tell(done)
        return done

    def standings(self, names: Sequence[str] | None = None) -> tuple[Standing, ...]:
        """How ``names`` (or all) stand, best first; equal ones with fewer bytes first."""
        found = [self._standing(name, self._worth) for name in dict.fromkeys(names or self.candidates)]
        return tuple(
            sorted(found, key=lambda s: (bool(s.out), -round(s.estimate, 9), self._size(s.candidate), s.candidate))
        )

    def best(self, names: Sequence[str] | None = None) -> list[str]:
        """Those that are in and did better than the base, best first."""
        return [
            standing.candidate
            for standing in self.standings(names)
            if not standing.out and standing.candidate != self.base.id and standing.n and standing.estimate > 0
        ]

    def result(self, finalists: Sequence[str]) -> SearchResult:
        """The end."""
        return SearchResult(
            finalists=tuple(self.candidates[name] for name in finalists),
            standings=self.standings(),
            candidates=tuple(self.candidates.values()),
            measured=self.table,
            rounds=tuple(self.rounds),
            refused=tuple(self.refused),
            headroom=self.headroom,
            calls=self.calls,
            stopped=self.stopped,
            told=self.told,
        )

    def _standing(self, name: str, worth: Mapping[str, float]) -> Standing:
        pair = pairing.paired(self.table, self.base.id, name)
        row = self.table[name]
        return Standing(
            candidate=name,
            n=sum(one.value is not None for one in row.values()),
            mean=pairing.mean(self.table, name),
            estimate=worth.get(name, 0.0),
            wins=pair.wins,
            losses=pair.losses,
            unscored=sum(one.value is None for one in row.values()),
            out=self.out.get(name, ""),
        )

    def _size(self, name: str) -> int:
        return len(msgspec.json.encode(self.candidates[name].content))
