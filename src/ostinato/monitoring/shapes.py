"""Detectors of distributions: what is asked (families), how long and dear answers are, and labels never seen before.

``psi`` compares whole windows, a day by default, so that morning is not held against night. ``news`` knows the labels
that there are, such as a target's ``system_fingerprint``, and tells of a new one once.
"""

import math

import msgspec

from ostinato.cases.model import Fact
from ostinato.monitoring.means import seen, usable
from ostinato.monitoring.model import DAY, Batch, Found, Observation, State, refuse
from ostinato.statistics import drift

_LABELS = 64
"""Labels told apart; the rest is ``other``."""
OTHER = "(other)"
_HOUR = 3_600_000_000
_DISPERSION = 5.0
"""Samples that come in bursts differ more than by chance; more than this is not put down to it."""
_DECADES = 4.0
"""Buckets for each tenfold of a number."""
_KNOWN = 200
_RECENT = 50


class Psi(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The population stability index of a window against the past."""

    hours: float = 24.0
    """Of a window."""
    least: int = 200
    """Samples of a window; it goes on until there are so many."""
    reference: int = 1_000
    """Samples that the past is learnt from, in whole windows."""
    smallest: float = 0.1
    """No change is told of that is smaller, however sure it is: 0.1 is called moderate, 0.25 large."""


class PsiState(State, kw_only=True):
    """Of a distribution."""

    usual: dict[str, float] = {}
    now: dict[str, float] = {}
    opened: int = 0
    """When the window began."""
    windows: int = 0
    dispersion: float = 1.0


class News(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Labels that were not there before."""

    warm_up: int = 100
    """Samples that labels are learnt from."""
    share: float = 0.2
    """Of the last 50 samples; a label that comes seldom is told of all the same, once ten have come."""


class NewsState(State, kw_only=True):
    """Of labels."""

    labels: dict[str, int] = {}
    new: dict[str, int] = {}
    """Not told of yet."""
    recent: list[bool] = []
    """Whether a label was new, of the last samples."""


def check_psi(config: Psi) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not 1 <= config.hours <= 24 * 31:
        raise refuse("hours", "A window has from an hour to a month.")
    if not 50 <= config.least <= 1_000_000 or not 50 <= config.reference <= 10_000_000:
        raise refuse("least", "A window has at least 50 samples, and so has the past.")
    if not 0 <= config.smallest <= 10:
        raise refuse("smallest", "The smallest change is from 0 to 10.")


def check_news(config: News) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not 10 <= config.warm_up <= 1_000_000 or not 0 < config.share <= 1:
        raise refuse("share", "Labels are learnt from at least 10 samples; the share lies above 0 and is at most 1.")


def labels(config: Psi, state: PsiState, batch: Batch, arl: float) -> Found | None:
    """Whether labels come in other shares than before."""
    found: Found | None = None
    for one in batch.observations:
        found = _window(config, state, one, one.label or OTHER, batch, arl) or found
    return found


def numbers(config: Psi, state: PsiState, batch: Batch, arl: float) -> Found | None:
    """Whether numbers are distributed as before; compared in four buckets for each tenfold."""
    found: Found | None = None
    for one in usable(state, batch, 0.0, math.inf):
        state.n -= one.n
        place = round(_DECADES * math.log10(max(one.value or 0.0, 1.0)))
        found = _window(config, state, one, str(place), batch, arl) or found
    return found


def _window(config: Psi, state: PsiState, one: Observation, label: str, batch: Batch, arl: float) -> Found | None:
    found: Found | None = None
    at = min(one.at, batch.until)
    state.opened = min(state.opened, batch.until)
    if state.opened and sum(state.now.values()) >= config.least and at - state.opened >= config.hours * _HOUR:
        found = _close(config, state, arl)
    seen(state, one.at, batch.until)
    state.n += one.n
    if not state.opened:
        state.opened = at
    if label not in state.now and len(state.now) >= _LABELS and label not in state.usual:
        label = OTHER
    state.now[label] = state.now.get(label, 0.0) + one.n
    return found


def _close(config: Psi, state: PsiState, arl: float) -> Found | None:
    """The end of a window: judged, or learnt from."""
    window, began = state.now, state.opened
    days = max((state.last - began) / DAY, config.hours / 24)
    state.now, state.opened = {}, 0
    known, n = sum(state.usual.values()), sum(window.values())
    if known < config.reference:
        _absorb(state, window)
        return None
    state.learning = False
    value, cells = drift.psi(state.usual, window)
    state.windows += 1
    chance = drift.psi_limit(known, n, cells, min(days / arl, 0.5), state.dispersion)
    limit = max(config.smallest, chance) if cells > 1 else math.inf
    state.statistic, state.threshold = value, limit if math.isfinite(limit) else max(config.smallest, 1.0)
    if value < limit:
        if cells > 1:
            ratio = value / ((1 / known + 1 / n) * (cells - 1))
            weight = 1 / min(state.windows + 1, 20)
            state.dispersion += weight * (min(ratio, _DISPERSION) - state.dispersion)
            state.dispersion = max(state.dispersion, 1.0)
        return None
    state.alarms += 1
    state.alarmed_at = state.last
    evidence: dict[str, Fact] = {
        "psi": round(value, 4),
        "limit": round(limit, 4),
        "cells": cells,
        "reference": int(known),
        "dispersion": round(state.dispersion, 3),
        **_moved(state.usual, window),
    }
    found = Found(statistic=value, threshold=limit, since=began, samples=int(n), evidence=evidence)
    # What is new becomes usual, or the same change would be told of every day.
    state.usual = {}
    state.learning = True
    _absorb(state, window)
    return found


def _moved(usual: dict[str, float], window: dict[str, float]) -> dict[str, Fact]:
    """The three shares that have moved most. Labels are ids of ours, never texts."""
    known, n = sum(usual.values()), sum(window.values())
    moves = {label: window.get(label, 0.0) / n - usual.get(label, 0.0) / known for label in {*usual, *window}}
    most = sorted(moves, key=lambda label: (-abs(moves[label]), label))[:3]
    return {f"share {label[:40]}": round(moves[label], 4) for label in most}


def _absorb(state: PsiState, window: dict[str, float]) -> None:
    for label, count in window.items():
        place = label if label in state.usual or len(state.usual) < _LABELS else OTHER
        state.usual[place] = state.usual.get(place, 0.0) + count


def news(config: News, state: NewsState, batch: Batch, arl: float) -> Found | None:
    """Whether a label comes that never came before. Told once of each: chance, and so ``arl``, has no part in it."""
    found: Found | None = None
    for one in batch.observations:
        seen(state, one.at, batch.until)
        state.n += one.n
        label = one.label
        if not label:
            state.ignored += one.n
            continue
        state.learning = sum(state.labels.values()) < config.warm_up
        known = state.learning or label in state.labels
        if known:
            if label in state.labels or len(state.labels) < _KNOWN:
                state.labels[label] = min(state.labels.get(label, 0) + one.n, 1 << 40)
        elif label in state.new or len(state.new) < _KNOWN:
            state.new[label] = state.new.get(label, 0) + one.n
        state.recent = [*state.recent[-(_RECENT - 1) :], not known]
        found = _told(config, state, label, one.at) or found
    return found


def _told(config: News, state: NewsState, label: str, at: int) -> Found | None:
    state.threshold = config.share
    state.statistic = 0.0 if state.learning else sum(state.recent) / _RECENT
    count = state.new.get(label, 0)
    if not count or (state.statistic < config.share and count < _RECENT * config.share):
        return None
    evidence: dict[str, Fact] = {"new": label[:120], "seen": count, "known": len(state.labels)}
    before = max(state.labels, key=lambda one: state.labels[one], default="")
    evidence["before"] = before[:120]
    statistic = max(state.statistic, config.share)
    for one, times in state.new.items():
        if len(state.labels) < _KNOWN:
            state.labels[one] = times
    state.new, state.recent, state.statistic = {}, [], 0.0
    state.alarms += 1
    state.alarmed_at = at
    return Found(statistic=statistic, threshold=config.share, since=at, samples=count, evidence=evidence)
