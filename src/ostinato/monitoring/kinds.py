"""The kinds of detectors that there are. A plug-in point: ``Kind``s in the entry-point group ``ostinato.detectors``."""

from importlib import metadata
from typing import Any, Final

import msgspec

from ostinato.core.errors import Invalid
from ostinato.monitoring import means, nightly, shapes, silences
from ostinato.monitoring.model import Kind, State, refuse
from ostinato.wire.model import Json

GROUP: Final = "ostinato.detectors"


class Share(means.Mean, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of a share that has a limit."""

    baseline: float | None = 0.01


_MEAN: dict[str, Any] = {"state": means.MeanState, "check": means.check_mean}
_RISING: dict[str, Any] = {**_MEAN, "config": means.Mean, "take": means.rising}
_QUANTILE: dict[str, Any] = {
    "config": means.Quantile,
    "state": means.MeanState,
    "take": means.slower,
    "check": means.check_quantile,
}
_PSI: dict[str, Any] = {"config": shapes.Psi, "state": shapes.PsiState, "check": shapes.check_psi}

BUILT_IN: Final[dict[str, Kind]] = {
    one.name: one
    for one in (
        Kind(
            name="quality",
            title="Scores, feedback or verdicts have become worse.",
            feed="scores",
            raises="quality",
            config=means.Mean,
            take=means.falling,
            weight=4.0,
            **_MEAN,
        ),
        Kind(name="errors", title="More calls fail.", feed="errors", raises="errors", weight=2.0, **_RISING),
        Kind(name="refusals", title="More answers are refusals.", feed="refusals", raises="refusals", **_RISING),
        Kind(
            name="format",
            title="More answers are cut off, empty or not of the asked form.",
            feed="format",
            raises="format",
            **_RISING,
        ),
        Kind(
            name="false-hits",
            title="More checked hits are wrong than the stakes allow.",
            feed="checked-hits",
            raises="cache",
            config=Share,
            take=means.rising,
            **_MEAN,
        ),
        Kind(name="stale", title="More hits are stale.", feed="stale", raises="cache", **_RISING),
        Kind(name="latency", title="More calls are slow.", feed="latency", raises="latency", **_QUANTILE),
        Kind(name="cost", title="More calls are dear.", feed="cost", raises="cost", **_QUANTILE),
        Kind(
            name="latency-shape",
            title="Latency is distributed in another way.",
            feed="latency",
            raises="latency",
            take=shapes.numbers,
            **_PSI,
        ),
        Kind(
            name="cost-shape",
            title="Cost is distributed in another way.",
            feed="cost",
            raises="cost",
            take=shapes.numbers,
            **_PSI,
        ),
        Kind(name="mix", title="Other things are asked.", feed="families", raises="mix", take=shapes.labels, **_PSI),
        Kind(
            name="model",
            title="A target's answers carry a fingerprint never seen before.",
            feed="fingerprints",
            raises="model",
            config=shapes.News,
            state=shapes.NewsState,
            take=shapes.news,
            check=shapes.check_news,
        ),
        Kind(
            name="silence",
            title="Nothing comes any more.",
            feed="volume",
            raises="missing-data",
            config=silences.Silence,
            state=silences.SilenceState,
            take=silences.silence,
            check=silences.check_silence,
            ticks=True,
        ),
        Kind(
            name="embeddings",
            title="Questions mean other things than before (MMD, nightly).",
            feed="vectors",
            raises="mix",
            config=nightly.Vectors,
            state=State,
            take=silences.unlikely,
            check=nightly.check_vectors,
        ),
        Kind(
            name="probes",
            title="A model answers the same questions differently (nightly).",
            feed="probes",
            raises="model",
            config=nightly.Probes,
            state=nightly.ProbeState,
            take=nightly.differing,
            check=nightly.check_probes,
        ),
        Kind(
            name="judge",
            title="A judge no longer agrees with people on a frozen gold set (nightly).",
            feed="gold",
            raises="judge",
            config=nightly.Gold,
            state=State,
            take=nightly.disagreeing,
            check=nightly.check_gold,
        ),
    )
}


def find(name: str) -> Kind:
    """The kind of this name. Raises ``Invalid`` naming those there are."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            found = point.load()
            if isinstance(found, Kind):
                return found
    raise Invalid(
        f"There is no kind of detector {name[:80]!r}.",
        code="unknown_detector",
        param="kind",
        hint=f"There are: {', '.join(names())}.",
    )


def names() -> tuple[str, ...]:
    """The kinds that can be named here, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in metadata.entry_points(group=GROUP))}))


def configured(kind: Kind, config: Json) -> Any:
    """A configuration of a kind. Raises ``Invalid`` for what cannot work."""
    try:
        found = msgspec.convert(config, kind.config)
    except msgspec.ValidationError as error:
        raise refuse(
            "config",
            f"A detector of the kind {kind.name!r} cannot be configured so: {error}.",
            f"It takes: {', '.join(kind.config.__struct_fields__) or 'nothing'}.",
        ) from None
    if kind.check is not None:
        kind.check(found)
    return found
