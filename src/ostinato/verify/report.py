"""What a bundle turned out to be: for people and for programs."""

import json

_MOST_PROBLEMS = 20


class Report:
    """What a bundle turned out to be."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        """Empty: the chain is valid. Each names what is wrong, and where."""
        self.origin = ""
        self.first = 0
        self.end = 0
        """The bundle holds the leaves from ``first`` up to, not including, ``end``."""
        self.size = 0
        """Leaves that the log had at the export, as the bundle says."""
        self.withheld = 0
        """Leaves that are there as hashes alone: those of organizations that the bundle is not for."""
        self.checkpoints = 0
        self.signed_by: set[str] = set()
        self.own_key = True
        """Whether the signatures were checked by keys of the bundle itself, and not by one that was given."""
        self.anchored = 0
        """Leaves that a checkpoint from elsewhere vouches for; 0: none."""
        self.anchors: list[str] = []
        self.beyond = 0
        """Leaves that the largest checkpoint from elsewhere vouches for, where the bundle ends before it; else 0."""

    @property
    def valid(self) -> bool:
        return not self.problems

    @property
    def standing(self) -> str:
        """``invalid``, ``anchored`` or ``self-attested``."""
        return "invalid" if self.problems else "anchored" if self.anchored else "self-attested"

    def found(self, problem: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)

    def lines(self) -> list[str]:
        """The report for people."""
        if self.problems:
            return ["NOT VALID", *(f"  - {problem}" for problem in self.problems)]
        part = "" if self.first == 0 and self.end == self.size else f" (a part: the log had {self.size} at the export)"
        told = [
            f"Chain valid: {leaves(self.first, self.end)} of {self.origin}{part}.",
            f"Signed checkpoints: {self.checkpoints}, by {', '.join(sorted(self.signed_by))}"
            + (": the bundle's own word for it; --public-key takes yours." if self.own_key else ", the key you gave."),
        ]
        if self.withheld:
            told.append(f"Withheld: {self.withheld} leaves are there as hashes alone.")
        if not self.anchored:
            return [
                *told,
                *self._missing(),
                "Self-attested: nothing from elsewhere vouches for it. The operator could have written another history,"
                " or have left out the newest leaves; --anchor or --checkpoint would tell.",
            ]
        told.append(f"Anchored: the first {self.anchored} leaves, by {' and '.join(self.anchors)}.")
        if self.end > self.anchored:
            told.append(f"Self-attested: {leaves(max(self.first, self.anchored), self.end)}, which came after.")
        return told + self._missing()

    def _missing(self) -> list[str]:
        """That a part says nothing of what is known to have followed: the log's size is the bundle's own word."""
        if not self.beyond:
            return []
        return [
            f"Not shown: {leaves(self.end, self.beyond)}, for which there is a checkpoint elsewhere."
            " Ask for the whole log to see that they were not cut off."
        ]

    def as_json(self) -> str:
        """The same for programs."""
        names = (
            "origin",
            "first",
            "end",
            "size",
            "withheld",
            "checkpoints",
            "own_key",
            "anchored",
            "anchors",
            "beyond",
            "problems",
        )
        values = {name: getattr(self, name) for name in names}
        return json.dumps(
            {"standing": self.standing, "valid": self.valid, "signed_by": sorted(self.signed_by), **values}, indent=2
        )


def leaves(start: int, end: int) -> str:
    """A range of leaves in words."""
    return f"leaf {start}" if end - start == 1 else f"leaves {start} to {end - 1}"
