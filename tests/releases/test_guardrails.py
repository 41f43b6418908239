"""Guardrails: fair pairs, harm that is found, none that is imagined; the same figures whoever reads them, and when."""

import random
from typing import Any

import msgspec
import pytest

from ostinato import releases, signals, statistics, storage
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid
from ostinato.releases import (
    Guarded,
    Guardrails,
    Judgement,
    Observing,
    Outcome,
    Plan,
    Reading,
    Release,
    Step,
    guardrails,
)
from ostinato.releases.guardrails import WAITING, Pairing, Quality, Watch
from ostinato.traces import CallRow, HitRow, Ledger, Recorder, Settings
from ostinato.traces.arms import ArmCall

PLAN = Plan(steps=(Step(0.1, 50, 10.0), Step(1.0)), control=0.5, guardrails=Guardrails())
MINUTE = 60_000_000
ARMS = ("canary", "control")


def release(plan: Plan = PLAN, **fields: Any) -> Release:
    values = {
        "id": "r" * 32,
        "org": "acme",
        "project": "support",
        "prompt": "answer",
        "label": "production",
        "number": 2,
        "base_number": 1,
        "plan": plan,
        "digest": "",
        "author": "principal:alice",
        "proposed_by": "key:alice",
        "proposed_at": 0,
        "request_id": "",
        "salt": "s",
        "state": "canary",
        "step": 0,
        "step_since": 1,
        "started_at": 1,
    }
    return Release(**{**values, **fields})


def call(arm: str, number: int, **fields: Any) -> ArmCall:
    values = {
        "request_id": f"{arm}{number}",
        "at": number,
        "arm": arm,
        "session": f"{arm} {number}",
        "user_digest": "",
        "fingerprint": f"{number}",
        "cache": "miss" if arm == "canary" else "bypass",
        "status": 200,
        "error": "",
        "cost": 1_000,
        "total_us": 500_000,
        "tags": (),
    }
    return ArmCall(**{**values, **fields})


def reading(watch: Watch, guardrail: str, slice_: str = "") -> Reading:
    return next(one for one in watch.readings() if one.guardrail == guardrail and one.slice == slice_)


def both(count: int, canary: dict[str, Any], control: dict[str, Any] | None = None) -> list[ArmCall]:
    found: list[ArmCall] = []
    for number in range(count):
        found += [call("canary", number, **canary), call("control", number, **(control or {}))]
    return found


@pytest.mark.parametrize(
    ("guardrail", "worse"),
    [
        ("error", {"error": "upstream_failed", "status": 502}),
        ("policy", {"error": "content_blocked", "status": 422}),
        ("cost", {"cost": 1_400}),
        ("latency", {"total_us": 900_000}),
    ],
)
def test_each_guardrail_finds_its_own_harm_and_no_other_one(guardrail: str, worse: dict[str, Any]) -> None:
    watch = Watch(Guardrails())
    watch.take(both(120, worse))
    harmful = [one.guardrail for one in watch.readings() if one.harmful]
    assert harmful == [guardrail]
    better = Watch(Guardrails())
    better.take(both(120, {}, worse))
    assert [one.guardrail for one in better.readings() if one.harmful] == []
    assert reading(better, guardrail).beneficial


def test_a_margin_is_no_harm() -> None:
    watch = Watch(Guardrails())
    watch.take(both(2_000, {"cost": 1_095, "total_us": 545_000}))
    assert not any(one.harmful for one in watch.readings())
    strict = Watch(Guardrails(cost=0.0))
    strict.take(both(2_000, {"cost": 1_095}))
    assert reading(strict, "cost").harmful


def test_a_conversation_counts_once_and_a_request_once_for_each_arm() -> None:
    watch = Watch(Guardrails())
    watch.take(call("canary", n, session="the same") for n in range(50))
    watch.take(call("canary", n, session=f"another {n}", fingerprint="0") for n in range(50))
    watch.take(call("control", n) for n in range(50))
    assert reading(watch, "error").pairs == 1
    alone = Watch(Guardrails())
    alone.take(call(arm, n, session="", user_digest="") for n in range(30) for arm in ("canary", "control"))
    alone.take(call(arm, n, session="", user_digest="") for n in range(30) for arm in ("canary", "control"))
    assert reading(alone, "latency").pairs == 30


def test_answers_from_cache_and_callers_who_left_say_nothing_of_errors() -> None:
    watch = Watch(Guardrails())
    watch.take(both(40, {"cache": "stale", "error": "upstream_failed"}))
    assert reading(watch, "error").pairs == 0
    watch.take(both(40, {"error": "caller_left", "status": 499}))
    assert reading(watch, "error").canary == 0
    assert reading(watch, "latency").pairs == 0


def test_pairs_are_made_by_order_alone_and_a_surplus_does_not_grow_old() -> None:
    pairing = Pairing()
    for number in range(WAITING + 10):
        assert pairing.add("canary", float(number)) is None
    assert pairing.dropped == 10
    assert pairing.add("control", 0.5) == (10.0, 0.5)
    assert pairing.add("control", 0.25) == (11.0, 0.25)


def test_quality_by_signals_and_by_slice() -> None:
    rails = Guardrails(slices=("lang:fr",), signals=("feedback",), policy_signals=("pii",))
    watch = Watch(rails)
    for number in range(150):
        french = ("lang:fr",) if number % 2 else ()
        for arm in ("canary", "control"):
            value = 0.0 if arm == "canary" and french and number % 3 else 1.0
            watch.hear([Quality(arm=arm, name="feedback", value=value, who=f"{arm}{number}", tags=french)])
            watch.hear([Quality(arm=arm, name="length", value=0.0, who=f"{arm}{number}")])
            watch.hear([Quality(arm=arm, name="feedback", value=0.0, who=f"{arm}{number}")])
            watch.hear([Quality(arm=arm, name="pii", value=1.0, who=f"{arm}{number}")])
    assert reading(watch, "quality").pairs == 150
    assert reading(watch, "quality", "lang:fr").pairs == 75
    assert reading(watch, "quality", "lang:fr").harmful
    assert reading(watch, "policy").pairs == 150
    assert reading(watch, "policy").canary == 0
    assert reading(watch, "quality").level == pytest.approx(0.05 / 6)
    waived = msgspec.structs.replace(rails, waived={"lang:fr": "Ada: French ends in May"})
    assert not msgspec.structs.replace(reading(watch, "quality", "lang:fr"), waived=waived.waived["lang:fr"]).harmful


def test_nothing_wrong_is_hardly_ever_rolled_back() -> None:
    """Reduced count: what is counted here must be possible with 5 % (99.9 % interval)."""
    drawn = random.Random(4)
    runs, false = 30, 0
    for _ in range(runs):
        watch = Watch(Guardrails(watch=("error", "cost", "latency", "policy"), cost=0.0, latency=0.0))
        for number in range(100):
            for arm in ("canary", "control"):
                error = "upstream_failed" if drawn.random() < 0.05 else ""
                cost, took = int(1_000 * drawn.lognormvariate(0, 0.5)), int(1_000 * drawn.lognormvariate(0, 0.5))
                watch.take([call(arm, number, error=error, cost=cost, total_us=took)])
        false += any(one.harmful for one in watch.readings())
    assert statistics.clopper_pearson(false, runs, 0.999).low <= 0.05


def test_the_judge() -> None:
    judge = Guarded()
    good = Reading(guardrail="quality", pairs=100, seen=200, last=MINUTE)
    others = [msgspec.structs.replace(good, guardrail=name) for name in ("error", "policy", "latency")]
    others.append(Reading(guardrail="cost", pairs=0))
    bad = msgspec.structs.replace(good, p_harm=1e-5, canary=0.5, control=0.7)
    better = msgspec.structs.replace(good, p_benefit=1e-5)
    seen, soon, later = {"canary": 50}, MINUTE, 11 * MINUTE

    def outcome(samples: dict[str, int], now: int, *readings: Reading, plan: Plan = PLAN) -> Outcome:
        return judge.judge(release(plan), samples, now, [*readings, *others]).outcome

    assert outcome(seen, soon, good) is Outcome.WAIT
    assert outcome(seen, later, good) is Outcome.ADVANCE
    assert outcome(seen, soon, better) is Outcome.ADVANCE, "a proven benefit shortens the time"
    assert outcome({"canary": 49}, later, better) is Outcome.WAIT, "but never the samples"
    assert outcome(seen, later, better, bad) is Outcome.HARM
    assert outcome(seen, later, msgspec.structs.replace(bad, waived="Ada: as agreed")) is Outcome.ADVANCE
    assert outcome({}, 61 * MINUTE, good) is Outcome.HARM, "no data"
    why = judge.judge(release(), seen, later, [bad]).why
    assert "0.500 against 0.700 over 100 pairs" in why
    told = msgspec.structs.replace(better, canary=0.9, control=0.6)
    why = judge.judge(release(), seen, soon, [told, *others]).why
    assert "better quality is proven: 0.900 against 0.600 over 100 pairs (p = 1e-05" in why, "what it went on for stays"
    few = msgspec.structs.replace(PLAN, guardrails=Guardrails(min_pairs=120))
    unseen = msgspec.structs.replace(good, pairs=0, seen=0, last=0)
    assert outcome(seen, later, good, plan=few) is Outcome.WAIT
    assert outcome(seen, 61 * MINUTE, unseen, plan=few) is Outcome.HARM
    without = msgspec.structs.replace(PLAN, guardrails=None)
    assert outcome(seen, later, bad, plan=without) is Outcome.ADVANCE


def test_a_guardrail_that_sees_nothing_holds_the_canary_and_then_takes_it_back() -> None:
    """G6: data that are missing, or cease, stop a canary within the step; a plan that asks for nothing goes on."""
    watch = Watch(Guardrails())
    watch.take(both(120, {"cost": None, "at": 5 * MINUTE}, {"cost": None, "at": 5 * MINUTE}))
    seen = {"canary": 120}

    def judged(now: float, plan: Plan = PLAN, **fields: Any) -> Judgement:
        return Guarded().judge(release(plan, **fields), seen, round(now * MINUTE), watch.readings())

    assert judged(11).outcome is Outcome.WAIT, "nobody has rated or scored anything"
    assert "its quality" in judged(11).why, "and no price is no reason"
    assert judged(61).outcome is Outcome.HARM
    blind = Guarded().judge(release(), seen, 11 * MINUTE)
    assert blind.outcome is Outcome.WAIT, "a judge that is shown no figures does not let it go on either"
    for number in range(3):
        watch.hear(Quality(arm=arm, name="n", value=1.0, who=f"{arm}{number}", at=6 * MINUTE) for arm in ARMS)
    assert judged(11).outcome is Outcome.ADVANCE
    second = Plan(steps=(Step(0.1), Step(0.5)), control=0.5, guardrails=Guardrails())
    later = {"plan": second, "step": 1, "step_since": 12 * MINUTE}
    assert judged(13, **later).outcome is Outcome.WAIT, "signals that came before this step say nothing of it"
    assert judged(73, **later).outcome is Outcome.HARM
    for plan in (
        msgspec.structs.replace(PLAN, guardrails=None),
        msgspec.structs.replace(PLAN, steps=(Step(1.0),)),
        msgspec.structs.replace(PLAN, guardrails=Guardrails(watch=("error", "latency"))),
    ):
        assert judged(61, plan).outcome is Outcome.ADVANCE, plan


def test_a_canary_of_any_size_is_watched_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been met is forgotten in the end; harm that begins late is found all the same."""
    monkeypatch.setattr(guardrails.Lately.__init__, "__defaults__", (200,))
    watch = Watch(Guardrails(watch=("quality", "error")))
    for number in range(2_000):
        worse = number >= 1_500
        for arm in ARMS:
            failed = {"error": "upstream_failed", "status": 502} if worse and arm == "canary" else {}
            watch.take([call(arm, number, at=number, **failed), call(arm, number, at=number)])
            value = 0.0 if failed else float(number % 2)
            watch.hear([Quality(arm=arm, name="n", value=value, who=f"{arm}{number}", at=number)])
    assert reading(watch, "error").pairs == reading(watch, "quality").pairs == 2_000
    assert reading(watch, "error").harmful and reading(watch, "quality").harmful
    assert reading(watch, "error").last == 1_999
    lately = guardrails.Lately(200)
    for number in range(10_000):
        lately.add(number)
        assert len(lately) <= 200
        assert all(one in lately for one in range(max(0, number - 99), number + 1, 33))


def test_plans_that_cannot_be() -> None:
    for wrong in (
        Plan(steps=(Step(0.5),), guardrails=Guardrails()),
        Plan(guardrails=Guardrails(), control=0.1),
        *(
            Plan(steps=(Step(0.5),), control=0.1, guardrails=rails)
            for rails in (
                Guardrails(watch=()),
                Guardrails(watch=("error", "error")),
                Guardrails(alpha=0.0),
                Guardrails(cost=-1.0),
                Guardrails(waived={"x": "Ada"}),
                Guardrails(slices=("x",), waived={"x": " "}),
                Guardrails(slices=("x",), watch=("error",)),
                Guardrails(min_pairs=-1),
            )
        ),
    ):
        with pytest.raises(Invalid):
            wrong.check()
    plan = PLAN.check()
    assert [plan.control_at(0), plan.control_at(1)] == [0.1, 0.0]


@pytest.fixture
def recorder(traces: storage.Database, clock: ManualClock) -> Any:
    made = Recorder(traces, clock, Settings(batch_seconds=60.0))
    made.start()
    yield made
    made.stop()


async def test_read_from_the_ledger_in_parts_and_again_by_another_process(
    traces: storage.Database, clock: ManualClock, recorder: Recorder
) -> None:
    ledger = Ledger(traces, clock)
    told = signals.Signals(traces, clock, signals.Settings())
    started = clock.now()
    canary = release(started_at=started, step_since=started)

    def observing() -> Observing:
        return Observing(ledger.arms, ledger.askers, told.query)

    def add(count: int, first: int) -> None:
        for number in range(first, first + count):
            clock.advance(0.01)
            for arm, of, version in (("canary", canary.id, 2), ("control", "", 1), ("stable", "", 1)):
                row = CallRow(
                    request_id=ids.new(clock.now()),
                    at=clock.now(),
                    org="acme",
                    project="support",
                    prompt="answer",
                    prompt_version=version,
                    release=of,
                    arm=arm,
                    cache="bypass" if arm == "control" else "miss",
                    session=f"{arm} {number}",
                    fingerprint=f"{number}",
                    error="upstream_failed" if arm == "canary" and number % 2 else "",
                    cost=1_000,
                    total_us=2_000,
                    tags="lang:fr,web",
                )
                recorder.call(row)
                again = HitRow(
                    ids.new(clock.now()), clock.now(), "k", row.request_id, 5, 0, 1, 0, False, "", row.session
                )
                recorder.hit(again)
                told.record([_signal(clock, row, again.request_id, 1.0), _signal(clock, row, row.request_id, 0.0)])
        recorder.flush()
        told.flush()

    recorder.call(CallRow(request_id=ids.new(started - MINUTE), at=started - MINUTE, arm="control", prompt="answer"))
    add(20, 0)
    mine = observing()
    first = await mine.readings(canary)
    by_name = {one.name: one for one in first}
    assert by_name["error"].pairs == 20
    assert by_name["error"].canary == 0.5
    assert by_name["quality"].pairs == 20, "two signals of one conversation are one"
    add(60, 20)
    assert await observing().readings(canary) == (later := await mine.readings(canary))
    assert {one.name: one.pairs for one in later}["error"] == 80
    assert any(one.harmful for one in later)
    assert await mine.readings(canary) == later, "to look changes nothing"
    page = await ledger.arms(_arms(canary), None, 7)
    assert (len(page.calls), page.more) == (7, True)
    assert await mine.readings(msgspec.structs.replace(canary, state="active")) == ()


def _arms(canary: Release) -> Any:
    return releases.observing.Arms(
        project="support",
        prompt="answer",
        release=canary.id,
        base_release="",
        base_number=1,
        since=canary.started_at or 0,
    )


def _signal(clock: ManualClock, row: CallRow, request: str, value: float) -> signals.Signal:
    return signals.Signal(
        id=ids.new(clock.now()),
        request_id=request,
        at=clock.now(),
        org="acme",
        project="support",
        source="feedback",
        name="feedback",
        value=value,
        prompt=row.prompt,
        prompt_version=row.prompt_version,
        release=row.release,
        arm=row.arm,
    )
