"""Worlds in which the true saving of a cache is known, because both sides of every session are."""

import math
from typing import Any

import msgspec
import numpy as np

from ostinato.savings import holdout
from ostinato.statistics import Interval
from ostinato.traces import Window
from ostinato.traces.drawing import KEPT, Drawn, place_of


class World(msgspec.Struct, frozen=True):
    """What a hold-out saw, and what was true."""

    kind: str
    interval: Interval | None
    """Of the saving, nano-dollars."""
    truth: float


KINDS = ("plain", "heavy", "sticky", "negative", "none", "zipf", "rare")


def world(kind: str, seed: int, sessions: int = 6_000, share: float = 0.02) -> World:
    """``sessions`` drawn at ``share``.

    plain: many small sessions; heavy: costs of a session spread over orders of magnitude; sticky: sessions of very
    unequal length whose requests are alike; negative: what the cache takes (vectors, look-ups) costs more than it
    saves; none: it never hits; zipf: few questions make most of the traffic, no sessions; rare: one in fifty costs
    a hundred times as much.
    """
    random: Any = np.random.default_rng([seed, KINDS.index(kind)])
    requests = 1 + random.poisson(3, sessions)
    spread = 1.3 if kind == "heavy" else 0.5
    price = 1e6 * random.lognormal(0, spread, sessions)
    rate = random.beta(2, 3, sessions)
    if kind == "sticky":
        requests = 1 + np.minimum(random.pareto(2.5, sessions) * 3, 300).astype(int)
        price *= random.lognormal(0, 0.8, sessions)
    if kind == "zipf":
        requests = 1 + (200 / (1 + random.permutation(sessions)) ** 0.7).astype(int)
        rate = 1 - 1 / requests
    if kind == "none":
        rate = np.zeros(sessions)
    if kind == "rare":
        price *= np.where(random.random(sessions) < 0.02, 100, 1)
    untreated = price * requests * random.lognormal(0, 0.2, sessions)
    hits = random.binomial(requests, rate)
    treated = untreated * (1 - hits / requests)
    if kind == "negative":
        treated = untreated * (1 - 0.05 * hits / requests) + 3e5 * requests
    held = random.random(sessions) < share
    known = np.where(hits > 0, untreated * hits / requests, 0)
    told = estimated(requests, np.where(held, untreated, treated), known, held)
    return World(kind, told, math.fsum((untreated - treated)[~held].tolist()))


def estimated(requests: Any, costs: Any, saved: Any, held: Any) -> Interval | None:
    """What the hold-out says of sessions, from the sums that the ledger's writer keeps of them."""
    sides = {name: Drawn() for name in ("held", "treated")}
    for number, (count, cost, spared, out) in enumerate(
        zip(requests.tolist(), costs.tolist(), saved.tolist(), held.tolist(), strict=True)
    ):
        side = sides["held" if out else "treated"]
        group, mark = place_of("p", f"s{number}", "")
        side.count(group, count, round(cost), 0 if out else round(spared), 0)
        if len(side.detail.smallest) < KEPT or mark < side.detail.smallest[-1]:
            side.see((mark,))
    cells = {("0.02", name): side for name, side in sides.items()}
    return holdout.told(Window(0, 1), cells, 0.02).saving


def coverage(worlds: list[World]) -> tuple[int, int]:
    """How many held the truth, of how many that said anything."""
    said = [one for one in worlds if one.interval is not None]
    return sum(one.truth in one.interval for one in said if one.interval is not None), len(said)


def growing(seed: int, part: float, sessions: int = 6_000) -> World:
    """The first ``part`` of a heavy world: what an earlier look has seen."""
    random: Any = np.random.default_rng([seed, 99])
    n = int(sessions * part)
    requests = (1 + random.poisson(3, sessions))[:n]
    price = (1e6 * random.lognormal(0, 1.0, sessions))[:n]
    hits = random.binomial(1 + random.poisson(3, sessions), 0.4)[:n]
    held = (random.random(sessions) < 0.02)[:n]
    hits = np.minimum(hits, requests)
    untreated = price * requests
    treated = untreated * (1 - hits / requests)
    told = estimated(requests, np.where(held, untreated, treated), untreated - treated, held)
    return World("growing", told, math.fsum((untreated - treated)[~held].tolist()))
