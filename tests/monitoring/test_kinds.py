"""One contract for every kind of detector, built in or a plug-in; and what each of them is there for."""

import math
import random
from importlib import metadata
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import monitoring
from ostinato.core.errors import Invalid
from ostinato.monitoring import Batch, Kind, Observation, State, defaults, kinds
from ostinato.monitoring.model import Found

DAY = 86_400_000_000
START = 1_760_000_000_000_000
CONFIGS: dict[str, Any] = {
    "probes": {"model": "plain"},
    "judge": {"scorer": "judge", "dataset": "gold"},
}
NAMES = sorted(kinds.BUILT_IN)


def made(name: str, **config: Any) -> tuple[Kind, Any, Any]:
    kind = kinds.find(name)
    return kind, kinds.configured(kind, {**CONFIGS.get(name, {}), **config}), kind.state()


def usual(name: str, at: int, draw: random.Random) -> Observation:
    """A sample as always."""
    if name == "quality":
        return Observation(at, float(draw.random() < 0.8))
    if name in ("errors", "refusals", "format", "stale"):
        return Observation(at, float(draw.random() < 0.02))
    if name == "false-hits":
        return Observation(at, float(draw.random() < 0.005))
    if name in ("latency", "cost", "latency-shape", "cost-shape"):
        return Observation(at, draw.lognormvariate(13, 0.5))
    if name == "mix":
        return Observation(at, label=draw.choice("aaabbc"))
    if name == "model":
        return Observation(at, label=draw.choice(("fp_1", "fp_2")))
    if name == "silence":
        return Observation(at, 1.0)
    if name == "embeddings":
        return Observation(at, draw.uniform(0.05, 1.0), n=100)
    if name == "probes":
        return Observation(at, label=f"q{draw.randrange(8)}:same")
    return Observation(at, 0.8, n=50)


def changed(name: str, at: int, draw: random.Random) -> Observation | None:
    """A sample after the change; ``None``: nothing comes."""
    if name == "quality":
        return Observation(at, float(draw.random() < 0.6))
    if name in ("errors", "refusals", "format", "stale", "false-hits"):
        return Observation(at, float(draw.random() < 0.2))
    if name in ("latency", "cost", "latency-shape", "cost-shape"):
        return Observation(at, draw.lognormvariate(13.7, 0.5))
    if name == "mix":
        return Observation(at, label=draw.choice("abccdd"))
    if name == "model":
        return Observation(at, label="fp_3")
    if name == "silence":
        return None
    if name == "embeddings":
        return Observation(at, 0.0001, n=100)
    if name == "probes":
        return Observation(at, label=f"q{draw.randrange(8)}:other")
    return Observation(at, 0.3, n=50)


def rhythm(name: str) -> tuple[int, int]:
    """Samples before and after the change, at a thousand a day; of what comes at night, nights."""
    return (60, 10) if kinds.find(name).feed in ("vectors", "gold") else (12_000, 3_000)


def fed(name: str, before: int, after: int, seed: int = 1, arl: float = 30.0, copied: bool = False) -> list[Any]:
    """Findings with the number of the sample at which each came; ``copied``: the state is kept and read again."""
    kind, config, state = made(name)
    draw, found = random.Random(seed), []
    step = DAY if before <= 100 else DAY // 1000
    at = START
    for number in range(before + after):
        at += step
        one = usual(name, at, draw) if number < before else changed(name, at, draw)
        some = (one,) if one is not None else ()
        told = kind.take(config, state, Batch(at, some, step / 1e6), arl)
        if copied:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=kind.state)
        if told is not None:
            found.append((number, told))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_found_and_nothing_before_it(name: str) -> None:
    before, after = rhythm(name)
    found = fed(name, before, after)
    assert found, "a change was not found"
    assert [number for number, _ in found if number < before] == []
    told = found[0][1]
    assert isinstance(told, Found)
    assert told.statistic >= told.threshold > 0
    assert math.isfinite(told.statistic)
    assert all(len(str(fact)) <= 200 for fact in told.evidence.values())


@pytest.mark.parametrize("name", ["mix", "latency-shape", "cost-shape", "model", "probes"])
def test_what_is_new_becomes_usual_with_its_alarm(name: str) -> None:
    assert len(fed(name, 6_000, 8_000)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_was_kept_goes_on_as_if_nothing_had_happened(name: str) -> None:
    before, after = (20, 5) if rhythm(name)[0] < 100 else (2_500, 700)
    assert fed(name, before, after, copied=True) == fed(name, before, after)


@pytest.mark.parametrize("name", NAMES)
def test_what_means_nothing_is_counted_and_changes_nothing(name: str) -> None:
    kind, config, state = made(name)
    odd = [math.nan, math.inf, -math.inf, None, -5.0]
    observations = tuple(Observation(START, value) for value in odd)
    assert kind.take(config, state, Batch(START, observations, 0.0), 30.0) is None
    if kind.feed not in ("families", "probes"):  # those are of labels: values mean nothing there
        assert state.n == 0 or kind.name == "model"
        assert state.ignored == len(odd)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_at_all_is_no_alarm(name: str) -> None:
    kind, config, state = made(name)
    for day in range(400):
        assert kind.take(config, state, Batch(START + day * DAY, (), 86_400.0), 30.0) is None


@settings(deadline=None, max_examples=10)
@given(
    name=st.sampled_from(NAMES),
    jumps=st.lists(st.integers(-400 * DAY, 400 * DAY), min_size=1, max_size=30),
    seed=st.integers(0, 5),
)
def test_clocks_that_jump_and_late_samples_raise_nothing(name: str, jumps: list[int], seed: int) -> None:
    kind, config, state = made(name)
    draw, at = random.Random(seed), START
    for jump in jumps:
        for _ in range(40):
            at += DAY // 1000
            one = usual(name, max(at + jump, 0), draw)
            assert kind.take(config, state, Batch(at, (one,), 0.0), 3_000.0) is None
    assert state.last <= at
    assert math.isfinite(state.statistic)


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_a_day_raises_nothing_in_half_a_year(name: str) -> None:
    alarms = 0
    for seed in range(5):
        kind, config, state = made(name)
        draw = random.Random(seed)
        for day in range(180):
            at = START + day * DAY + draw.randrange(DAY // 3)
            one = usual(name, at, draw)
            alarms += kind.take(config, state, Batch(at, (one,), 86_400.0), 365.0) is not None
    assert alarms <= 1


@pytest.mark.parametrize("name", NAMES)
def test_states_stay_small(name: str) -> None:
    kind, config, state = made(name)
    draw = random.Random(0)
    for number in range(3_000):
        at = START + number * DAY // 1000
        odd = Observation(at, draw.random() * 10**9, label=f"label {number}: {number}")
        kind.take(config, state, Batch(at, (usual(name, at, draw), odd), 86.0), 30.0)
    assert len(msgspec.msgpack.encode(state)) < 60_000


@pytest.mark.parametrize("name", NAMES)
def test_only_what_a_kind_knows_can_be_configured(name: str) -> None:
    kind = kinds.find(name)
    with pytest.raises(Invalid) as told:
        kinds.configured(kind, {**CONFIGS.get(name, {}), "colour": "red"})
    assert told.value.code == "invalid_detector"
    kinds.configured(kind, CONFIGS.get(name, {}))


def test_a_plug_in_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        pass

    def take(config: Nothing, state: State, batch: Batch, arl: float) -> None:
        state.n += len(batch.observations)

    mine = Kind(name="mine", title="Mine.", feed="scores", raises="other", config=Nothing, state=State, take=take)

    class Point:
        name = "mine"

        def load(self) -> Kind:
            return mine

    def points(*, group: str) -> list[Point]:
        return [Point()] if group == monitoring.GROUP else []

    monkeypatch.setattr(metadata, "entry_points", points)
    assert kinds.find("mine") is mine
    assert "mine" in kinds.names()
    with pytest.raises(Invalid, match="no kind of detector"):
        kinds.find("yours")


def test_stakes_bring_along_what_the_page_says() -> None:
    rows = [line.split() for line in (defaults.__doc__ or "").splitlines()]
    for stakes, column in (("low", 1), ("medium", 2), ("high", 3), ("critical", 4)):
        wanted = set()
        for line in (defaults.__doc__ or "").splitlines():
            cells = [cell.strip() for cell in (line[:18], line[20:26], line[27:34], line[35:40], line[41:])]
            if len(line) > 40 and cells[1] in ("yes", "-", "1 %") and cells[column] != "-":
                wanted |= {name.strip() for name in cells[0].split(",")}
        assert rows
        assert set(defaults.of(stakes)) == wanted
        assert all(kinds.configured(kinds.find(one.kind), one.config) for one in defaults.of(stakes).values())


@pytest.mark.parametrize(
    ("name", "config", "field"),
    [
        ("quality", {"baseline": 1.5}, "baseline"),
        ("quality", {"warm_up": 3}, "warm_up"),
        ("quality", {"changes": [2.0]}, "changes"),
        ("latency", {"quantile": 0.2}, "quantile"),
        ("mix", {"hours": 0.1}, "hours"),
        ("silence", {"days": 0.1}, "days"),
        ("embeddings", {"size": 5}, "size"),
        ("probes", {"model": ""}, "model"),
        ("judge", {"scorer": ""}, "scorer"),
        ("model", {"share": 0.0}, "share"),
    ],
)
def test_what_cannot_work_is_refused_by_field(name: str, config: Any, field: str) -> None:
    with pytest.raises(Invalid) as told:
        kinds.configured(kinds.find(name), {**CONFIGS.get(name, {}), **config})
    assert told.value.param == field
