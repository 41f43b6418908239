"""One number for "something that decides answers has changed"."""


class Epoch:
    """Counts swaps of any snapshot (keys, routes, policies, prices); part of every raw-body key.

    A swap makes all raw-body references unreachable at once; the entries behind them stay, and the next request of each
    kind finds its entry by fingerprint and is indexed again.
    """

    def __init__(self) -> None:
        self.value = 0

    def advance(self) -> None:
        self.value += 1
