"""``[families]``: how many families are kept, and for how long they are remembered."""

import msgspec

from ostinato.core.errors import Invalid


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[families]``. Times in seconds unless they say otherwise."""

    enabled: bool = True
    most: int = 2_000
    """Families of one project; what is beyond them is counted as the family ``other``."""
    most_altogether: int = 20_000
    """Families of all projects together, in the memory of one process."""
    queue: int = 2_000
    """Answers that wait to be looked at; beyond it they are passed over, and counted."""
    looked_per_second: int = 100
    """Answers that are compared with others, at most: each takes some hundred microseconds of a core. Sums are exact
    all the same; what is beyond is passed over, and counted."""
    meant_per_second: int = 5
    """Questions that the packaged encoder compares by their meaning, at most, where it is installed: each takes a
    millisecond or two of a core, beside the traffic. 0: none."""
    write_seconds: float = 10.0
    """How often what was seen is written down: what a figure may lag."""
    window_hours: float = 24.0
    """A request counts as repeated where the same was asked within this window."""
    half_life_days: float = 7.0
    """After which what was seen counts half."""
    samples: int = 512
    """Requests with their answers that are held in memory, for comparing them with later ones."""
    sample_chars: int = 32_768
    """Characters of one of them at most, with all that was said before; longer ones are not compared, nor are those
    with other than texts in them."""

    def check(self) -> None:
        """Raise ``Invalid`` for what cannot be."""
        if not (1 <= self.most <= self.most_altogether <= 1_000_000):
            raise Invalid(
                "[families] keeps from 1 to 1,000,000 families, of one project not more than altogether.",
                param="families.most",
            )
        if not (0 < self.window_hours <= 24 * 31 and 0 < self.half_life_days <= 3_650 and self.write_seconds > 0):
            raise Invalid("Windows, half-lives and pauses of [families] are above 0.", param="families.window_hours")
