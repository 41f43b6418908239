"""Figures: with their n and interval, cut by what they can be cut by, and missing where nothing is known."""

import itertools

import pytest

from ostinato.core.errors import Invalid
from ostinato.intents.model import Kpi as Wanted
from ostinato.kpis import CATALOGUE, PRESETS, Kpis, Reading, Scope
from ostinato.kpis.kpis import verdict
from ostinato.kpis.measuring import percentile, share
from ostinato.traces import Window
from ostinato.traces.rollup import bucket_of


async def test_where_nothing_happened_everything_is_missing_and_nothing_is_zero(house) -> None:
    page = await house.kpis.figures(house.scope, house.window)
    assert {one.name for one in page.figures} == set(CATALOGUE)
    for one in page.figures:
        assert one.value is None and one.low is None, one.name
        assert one.missing and one.n == 0 and one.freshness is None, one.name


async def test_hits_and_misses_are_cut_and_never_pooled(house) -> None:
    first = house.call(total_us=2_000_000, upstream_us=1_900_000)
    for _ in range(3):
        house.hit(first, total_us=100)
    whole = await house.figure("hit_rate")
    assert (whole.value, whole.n, whole.detail["raw"]) == (0.75, 4, 3)
    hit, miss = await house.figure("response_hit_p50"), await house.figure("response_miss_p50")
    assert hit.value == pytest.approx(0.0001, rel=0.03) and miss.value == pytest.approx(2.0, rel=0.03)
    page = await house.kpis.figures(house.scope, house.window, names=["first_pass_success", "spent"], by=["tier"])
    told = {(one.name, one.by["tier"]): one for one in page.figures if "tier" in one.by}
    assert told["first_pass_success", "hit"].n == 3 and told["first_pass_success", "miss"].n == 1
    assert told["spent", "hit"].value == 0 and told["spent", "miss"].value == pytest.approx(0.001)


async def test_cuts_add_up_to_the_whole(house) -> None:
    for number in range(30):
        first = house.call(f"q{number}", intent=f"i{number % 3}", release=f"r{number % 2}", session=f"s{number % 11}")
        house.hit(first)
        if number % 4 == 0:
            house.tell(first, "resolved")
    window = house.window
    names = ["first_pass_success", "resolution_rate", "spent", "hit_rate"]
    whole = {one.name: one for one in (await house.kpis.figures(house.scope, window, names=names)).figures}
    for count in (1, 2, 3):
        for by in itertools.combinations(("intent", "release", "tier"), count):
            parts = (await house.kpis.figures(house.scope, window, names=names, by=by)).figures
            for name in ("first_pass_success", "resolution_rate"):
                some = [one for one in parts if one.name == name]
                assert sum(one.n for one in some) == whole[name].n - (0 if name[0] == "f" else sum_untold(some, whole))
                told = sum(one.detail.get("count", 0) for one in some)
                assert told == whole[name].detail["count"]
            # Hit rates cannot be told of hits alone: they are of the whole.
            rates = [one for one in parts if one.name == "hit_rate"]
            assert ("tier" in by) == (rates[0].by == {}) and (not rates[0].by or len(rates) > 1)
            if not rates[0].by:
                assert rates[0].value == whole["hit_rate"].value


def sum_untold(parts, whole) -> int:
    """Groups of which nobody told an outcome have no resolution rate."""
    return whole["resolution_rate"].n - sum(one.n for one in parts)


async def test_figures_come_with_what_they_are_paired_with(house) -> None:
    first = house.call()
    house.tell(first, "escalated")
    page = await house.kpis.figures(house.scope, house.window, names=["containment", "csat"])
    names = [one.name for one in page.figures]
    assert names == ["containment", "reopen_rate", "csat", "csat_response_rate"]
    for name, members in PRESETS.items():
        page = await house.kpis.figures(house.scope, house.window, preset=name)
        assert set(members) <= {one.name for one in page.figures}


async def test_costs_are_those_of_all_calls_and_per_success(house) -> None:
    for number in range(4):
        house.call(f"q{number}", cost=1_000_000_000)
    house.call(
        "j", key_id="", reason="loop", cache="bypass", tags="loop:judge,run:x", cost=2_000_000_000, fingerprint="x"
    )
    found = await house.figure("cost_per_success")
    assert found.detail["own"] == {"judge": 2.0} and found.detail["traffic"] == 4.0
    assert (found.value, found.n) == (1.5, 4)
    assert found.low <= found.value <= found.high
    assert (await house.figure("error_rate")).n == 4  # calls of our own are no traffic


async def test_reviewers_time_is_part_of_what_a_success_costs(house) -> None:
    from ostinato.kpis.model import Reviewed

    spent = [Reviewed(0, "help", "", 3_600.0, 30.0), Reviewed(0, "other", "", 1_800.0, 15.0)]
    asked: list[int] = []

    async def reviewing(scope: Scope, window: object, seconds: int) -> list[Reviewed]:
        asked.append(seconds)
        bucket = house.clock.now() - house.clock.now() % 3_600_000_000 if seconds else 0
        found = [one for one in spent if scope.intent in ("", one.intent)]
        return [Reviewed(bucket, *(getattr(one, name) for name in one.__struct_fields__[1:])) for one in found]

    house.kpis.reviewing = reviewing
    for number in range(4):
        house.call(f"q{number}", cost=1_000_000_000)
    house.call("x", intent="other", cost=1_000_000_000)
    whole = await house.figure("cost_per_success")
    assert (whole.value, whole.detail["review"]) == (10.0, 45.0)
    assert (await house.figure("cost_per_interaction", intent="help")).value == 8.5
    page = await house.kpis.figures(house.scope, house.window, names=["cost_per_success"], by=["intent"])
    by = {one.by["intent"]: one.value for one in page.figures if one.name == "cost_per_success"}
    assert by == {"help": 8.5, "other": 16.0}
    (point,) = await house.kpis.series("cost_per_success", house.scope, house.window)
    assert point.value == 10.0
    assert asked == [0, 0, 0, 3_600]
    page = await house.kpis.figures(house.scope, house.window, names=["cost_per_success"], by=["tier"])
    (untold,) = [one for one in page.figures if one.name == "cost_per_success" and one.by["tier"] == "miss"]
    assert (untold.value, "tier" in untold.detail["review_missing"]) == (1.0, True)
    spent.append(Reviewed(0, "help", "", 60.0, None))
    assert "hour" in (await house.figure("cost_per_success")).detail["review_missing"]


async def test_what_asks_for_no_answer_is_no_request_and_shown_on_its_own(house) -> None:
    house.hit(house.call())
    for wire in ("feedback", "models", "held", "anthropic.count_tokens"):
        house.call(wire, wire=wire, cache="bypass", reason=wire, cost=None, usage=None)
    house.call("m", wire="models", cache="bypass", reason="refused", status=404, error="model_not_found", cost=None)
    stats = await house.ledger.stats(house.window)
    assert (stats.requests, stats.asides, stats.bypasses, stats.errors, stats.hit_rate) == (2, 5, 0, 0, 0.5)
    assert stats.latency["miss"].count == 1
    assert stats.reasons["feedback"] == 1
    found = await house.figure("error_rate")
    assert (found.value, found.n, found.detail["asides"]) == (0.0, 2, 5)


async def test_wrong_hits_are_bounded_exactly(house) -> None:
    first = house.call()
    hits = [house.hit(first) for _ in range(40)]
    house.recorder.flush()
    house.signals.record(
        [house.signal(one, "review", "review", float(number > 0)) for number, one in enumerate(hits)]
        + [house.signal(first, "review", "review", 0.0)]
    )
    found = await house.figure("false_hit_rate")
    assert (found.value, found.n) == (1 / 40, 40)
    assert found.high == pytest.approx(0.1316, abs=1e-3)  # Clopper-Pearson of 1 in 40


async def test_scores_are_weighted_as_their_rows_say(house) -> None:
    from ostinato.statistics import weighted_mean

    first = house.call()
    values, weights = [0.2, 0.9, 0.4, 1.0, 0.7], [1.0, 4.0, 2.0, 1.0, 8.0]
    house.recorder.flush()
    house.signals.record(
        [
            house.signal(first, "scorer", "accuracy", value, weight=weight, scorer="a@1", actor=f"s:{number}")
            for number, (value, weight) in enumerate(zip(values, weights, strict=True))
        ]
    )
    found, right = await house.figure("accuracy"), weighted_mean(values, weights)
    assert (found.value, found.n) == (pytest.approx(right.mean), 5)
    assert (found.low, found.high) == (pytest.approx(max(0, right.low)), pytest.approx(min(1, right.high)))


async def test_sums_of_signals_are_what_the_rows_come_to(house) -> None:
    """Whatever is said again: the sums and the summary over rows agree."""
    import random

    dice = random.Random(3)
    requests = [house.call(f"q{number}") for number in range(6)]
    house.recorder.flush()
    for _ in range(120):
        house.clock.advance(dice.randrange(400))
        value = dice.choice([None, 0.0, 0.5, 1.0])
        who = f"key:{dice.randrange(3)}"
        house.signals.record([house.signal(dice.choice(requests), "feedback", "feedback", value, actor=who)])
        if dice.random() < 0.3:
            house.signals.flush()
    from ostinato.signals import Filter

    (right,) = await house.signals.summary(Filter(source="feedback"))
    found = await house.figure("satisfaction")
    assert (found.detail["told"], found.n) == (right.count, right.valued)
    assert found.value == pytest.approx(right.mean)


async def test_feedback_under_names_of_its_own_is_not_taken_for_satisfaction_and_not_denied(house) -> None:
    assert "no feedback was given" in (await house.figure("satisfaction")).missing
    asked = house.call()
    house.recorder.flush()
    house.signals.record([house.signal(asked, "feedback", "too-long", 1.0)])
    found = await house.figure("satisfaction")
    assert found.value is None and "too-long" in found.missing


async def test_a_week_without_traffic_is_told_by_freshness(house) -> None:
    house.call()
    house.recorder.flush()
    house.clock.advance(7 * 86_400)
    long = Window(house.clock.now() - 8 * 86_400 * 1_000_000, house.clock.now() + 1)
    page = await house.kpis.figures(house.scope, long, names=["first_pass_success"])
    (found,) = page.figures
    assert found.n == 1 and found.freshness == pytest.approx(7 * 86_400, abs=3_600)
    assert (await house.figure("first_pass_success")).missing


async def test_the_course_of_a_figure_and_its_whole_agree(house) -> None:
    for number in range(5):
        house.call(f"q{number}", release="r1" if number < 3 else "r2")
        house.clock.advance(3_600)
    points = await house.kpis.series("first_pass_success", house.scope, house.window, step=3_600, by=["release"])
    assert [(one.n, one.by["release"]) for one in points] == [(1, "r1")] * 3 + [(1, "r2")] * 2
    assert sorted(one.at for one in points) == [one.at for one in points]
    with pytest.raises(Invalid):
        await house.kpis.series("drift_index", house.scope, house.window)
    with pytest.raises(Invalid):
        await house.kpis.series("csat", house.scope, Window(0, house.clock.now()), step=10)


async def test_targets_of_intents_are_judged_by_the_whole_interval(house) -> None:
    wanted = (Wanted("first_pass_success", 0.5), Wanted("p95 seconds", 2.0, "at-most"))
    kpis = Kpis(house.ledger, house.signals, house.clock, targets=lambda _project, intent: wanted if intent else ())
    for number in range(100):
        house.call(f"q{number}", intent="help" if number else "rare")
    page = await kpis.figures(house.scope, house.window, names=["first_pass_success"], by=["intent"])
    told = {one.by["intent"]: one.target for one in page.figures}
    assert told["help"].verdict == "met" and told["rare"].verdict == "not enough data"
    assert page.unknown == ("help: p95 seconds", "rare: p95 seconds")


@pytest.mark.parametrize(
    ("k", "direction", "target", "right"),
    [
        (90, "at-least", 0.8, "met"),
        (90, "at-least", 0.9, "not enough data"),  # its interval holds the target
        (50, "at-least", 0.9, "missed"),
        (5, "at-most", 0.2, "met"),
        (50, "at-most", 0.2, "missed"),
    ],
)
def test_a_verdict_waits_until_the_interval_is_clear(k, direction, target, right) -> None:
    from ostinato.kpis import Figure

    found = share(k, 100, 0.95)
    figure = Figure(
        name="x",
        value=found.value,
        unit="share",
        n=100,
        low=found.low,
        high=found.high,
        window=Window(0, 1),
        freshness=0,
    )
    assert verdict(figure, Wanted("x", target, direction), 30) == right


def test_the_interval_of_a_percentile_covers_the_true_one() -> None:
    """Order statistics of an exponential law: 95 % of the intervals hold its median and its p95."""
    import math
    import random

    dice = random.Random(11)
    for below, right in ((0.5, math.log(2)), (0.95, math.log(20))):
        held = 0
        for _ in range(300):
            counts: dict[int, int] = {}
            for _ in range(400):
                bucket = bucket_of(int(dice.expovariate(1.0) * 1_000_000) + 1)
                counts[bucket] = counts.get(bucket, 0) + 1
            found = percentile(counts, below, 0.95)
            low, high = found.low or 0.0, found.high or math.inf
            held += low / 1.026 <= right <= high * 1.026
        assert held >= 279  # 93 %: a buckets' width of 5 % only makes them wider


async def test_another_room_tells_what_is_not_made_from_sums(house) -> None:
    async def read(scope: Scope, window: Window) -> Reading:
        return Reading(value=0.4, n=7)

    assert "not in use" in (await house.figure("drift_index")).missing
    house.kpis.bind("drift_index", read)
    found = await house.figure("drift_index")
    assert (found.value, found.n) == (0.4, 7)
    with pytest.raises(Invalid):
        house.kpis.bind("hit_rate", read)


@pytest.mark.parametrize("wrong", [{"names": ["nothing"]}, {"preset": "nobody"}, {"by": ["colour"]}])
async def test_what_is_unknown_is_refused(house, wrong) -> None:
    with pytest.raises(Invalid):
        await house.kpis.figures(house.scope, house.window, **wrong)
