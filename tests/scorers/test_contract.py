"""What every scorer keeps to, whatever its kind; and what happens to those that do not."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostinato import scorers
from ostinato.calls.model import Asked, Called
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid, LimitReached
from ostinato.core.secret import ApiKey
from ostinato.datasets.model import Passage
from ostinato.scorers import Context, Hook, Score, Spec, Subject
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Usage


class Model:
    """Answers what it is told to; keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts or ('{"rationale": "r", "label": "good", "confidence": 0.9}',)
        self.asked: list[Asked] = []

    async def ask(self, asked: Asked, budget: Any = None, *, timeout: float = 60) -> Called:  # noqa: ASYNC109
        text = self.texts[len(self.asked) % len(self.texts)]
        self.asked.append(asked)
        events = (Start("m"), BlockStart(0, "text"), Delta(0, text), BlockStop(0), Finish("stop"), Usage(1, 0, 0, 1))
        return Called(
            key="0" * 64,
            answer=Answer("openai.chat", events),
            text=text,
            finish="stop",
            usage=Usage(1, 0, 0, 1),
            cost=7,
            target="fake/m",
            upstream_us=1,
            paid=True,
        )


class Encoder:
    id = "letters@00000000"
    dimensions = 26

    async def embed(self, texts: Any) -> Any:
        counts = np.array([[1e-9 + text.lower().count(chr(97 + at)) for at in range(26)] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    async def close(self) -> None: ...


class Server:
    """Stands for the way out: what was posted, and what comes back."""

    def __init__(self, body: bytes = b'{"value": 0.5, "label": "fair"}', status: int = 200) -> None:
        self.body, self.status = body, status
        self.posted: list[tuple[str, bytes, dict[str, str]]] = []

    async def post(self, url: str, body: bytes, headers: dict[str, str], seconds: float, **_: Any) -> Any:
        from ostinato.outbound import Response

        self.posted.append((url, body, headers))
        return Response(self.status, {}, self.body, 0.0)


def half(subject: Subject) -> float:
    return 0.5


def context(**changes: Any) -> Context:
    given: dict[str, Any] = {
        "clock": ManualClock(),
        "calls": Model(),
        "embedder": Encoder(),
        "client": Server(),
        "functions": {"half": half},
        "hooks": {"mine": Hook("https://score.example.com/", ApiKey("s3cret"))},
    }
    return Context(**{**given, **changes})


CONFIGS: dict[str, dict[str, Any]] = {
    "exact": {},
    "normalized": {},
    "contains": {},
    "label": {"labels": ["yes", "no"]},
    "numeric": {},
    "regex": {"pattern": "y"},
    "refusal": {},
    "policy": {},
    "json-schema": {"schema": {"type": "string"}},
    "json-difference": {},
    "precision-at-k": {},
    "recall-at-k": {},
    "mrr": {},
    "ndcg": {},
    "similarity": {},
    "groundedness": {},
    "length": {"good": 100},
    "latency": {"good": 1, "bad": 2},
    "cost": {"good": 1, "bad": 2},
    "judge": {"model": "m", "rubric": "Is it good?"},
    "python": {"function": "half"},
    "http": {"hook": "mine"},
    "autoevals": {"scorer": "Levenshtein"},
}
"""One for each kind."""

SUBJECT = Subject(
    output="yes",
    inputs={"question": "Is it?"},
    input_text="Is it?",
    reference="yes",
    passages=(Passage("a", "yes it is", 1.0),),
    retrieved=(Passage("a", "yes it is"),),
    usage=Usage(1, 0, 0, 1),
    cost=5,
    latency_us=10,
)


def test_every_kind_has_a_case() -> None:
    assert set(CONFIGS) == set(scorers.KINDS)


def one(kind: str, subject: Subject, within: Context | None = None) -> Score:
    built = scorers.build(Spec(kind=kind, config=CONFIGS[kind]), within or context())
    (score,) = asyncio.run(scorers.score_all([built], subject, timeout=20))
    assert score.scorer == built.id
    return score


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_score_is_from_0_to_1_and_equal_subjects_get_equal_ones(kind: str) -> None:
    subject = msgspec.structs.replace(SUBJECT, output="4", reference="4") if kind == "numeric" else SUBJECT
    first, second = one(kind, subject), one(kind, subject)
    assert first == second
    assert first.value is not None
    assert 0 <= first.value <= 1


HOSTILE = ("", " ", "\x00", "\ud800", "NaN", "null", "[" * 3000, "\u202e" * 50, "{{output}}", "9" * 400, "1e999")


@pytest.mark.parametrize("kind", CONFIGS)
def test_nothing_that_is_said_breaks_a_scorer(kind: str) -> None:
    within = context()
    built = scorers.build(Spec(kind=kind, config=CONFIGS[kind]), within)

    async def run() -> None:
        for text in HOSTILE:
            for reference in (None, "yes", text, 5, ["a"], {"a": [text]}):
                subject = Subject(output=text, reference=reference, input_text=text, inputs={"x": text})
                (score,) = await scorers.score_all([built], subject, timeout=20)
                assert score.value is None or 0 <= score.value <= 1
                msgspec.json.encode(score.value)
                if score.value is None:
                    assert score.rationale

    asyncio.run(run())


@given(st.text(max_size=60), st.one_of(st.none(), st.text(max_size=30), st.floats(allow_nan=False), st.integers()))
@settings(max_examples=60, deadline=None)
def test_pure_kinds_never_raise_and_never_leave_the_range(output: str, reference: object) -> None:
    pure = [Spec(kind=kind, config=config) for kind, config in CONFIGS.items() if not scorers.KINDS[kind].asking]
    built = scorers.build_all(pure, context())
    scores = asyncio.run(scorers.score_all(built, Subject(output=output, reference=reference)))
    assert [score.scorer for score in scores] == [one.id for one in built]
    assert not [score for score in scores if "raised" in score.rationale]
    assert all(score.value is None or 0 <= score.value <= 1 for score in scores)


# --- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_version_is_of_kind_and_configuration_not_of_name_or_weight(kind: str) -> None:
    built = scorers.build(Spec(kind=kind, config=CONFIGS[kind]), context())
    again = scorers.build(Spec(kind=kind, name="other", weight=0.2, config=CONFIGS[kind]), context())
    assert built.version == again.version
    assert len(built.version) == 8
    assert built.id == f"{kind}@{built.version}"


def test_whatever_decides_a_score_is_in_its_version() -> None:
    def version(kind: str, config: dict[str, Any], **changes: Any) -> str:
        return scorers.build(Spec(kind=kind, config=config), context(**changes)).version

    judge = {"model": "m", "rubric": "r"}
    assert version("judge", judge) != version("judge", {**judge, "model": "n"})
    assert version("judge", judge) != version("judge", {**judge, "rubric": "s"})
    assert version("judge", judge) == version("judge", {**judge, "temperature": 0.0})

    class Other(Encoder):
        id = "letters@11111111"

    assert version("similarity", {}) != version("similarity", {}, embedder=Other())
    assert version("http", {"hook": "mine"}) != version(
        "http", {"hook": "mine"}, hooks={"mine": Hook("https://elsewhere.example.com")}
    )
    newer = {"half": lambda subject: 0.5}
    assert version("python", {"function": "half"}) != version("python", {"function": "half"}, functions=newer)


# --- scorers that misbehave -----------------------------------------------------------------------------------------


class Bad:
    """A scorer of somebody else's."""

    id = "bad@00000000"

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act

    async def score(self, subject: Subject) -> Score:
        given = self._act()
        return await given if asyncio.iscoroutine(given) else given


def _raise(error: BaseException) -> Any:
    raise error


def _score(value: Any) -> Score:
    return Score(scorer="x", value=value)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda: _raise(ValueError("secret text")), "raised ValueError"),
        (lambda: _raise(TimeoutError()), "raised TimeoutError"),
        (lambda: _raise(RecursionError()), "RecursionError"),
        (lambda: _raise(LimitReached("No money is left.", code="budget_exhausted")), "budget_exhausted"),
        (lambda: _score(7), "7"),
        (lambda: _score(-0.1), "-0.1"),
        (lambda: _score(math.nan), "nan"),
        (lambda: _score(math.inf), "inf"),
        (lambda: _score("1"), "str"),
        (lambda: 1.0, "float"),
        (lambda: None, "NoneType"),
        (lambda: asyncio.sleep(30), "longer than 0.05 s"),
    ],
)
async def test_a_scorer_that_fails_leaves_the_answer_unscored(act: Callable[[], Any], why: str) -> None:
    good = scorers.build(Spec(kind="exact"), context())
    bad, fine = await scorers.score_all([Bad(act), good], SUBJECT, timeout=0.05)
    assert bad.value is None
    assert why in bad.rationale
    assert "secret text" not in bad.rationale
    assert bad.scorer == "bad@00000000"
    assert fine.value == 1.0


async def test_to_be_cancelled_is_no_failure() -> None:
    task = asyncio.create_task(scorers.score_all([Bad(lambda: asyncio.sleep(30))], SUBJECT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_judges_wait_as_long_as_calls_do_but_not_on_traffic() -> None:
    class Slow(Model):
        async def ask(self, asked: Asked, budget: Any = None, *, timeout: float = 60) -> Called:  # noqa: ASYNC109
            await asyncio.sleep(0.05)
            return await super().ask(asked, budget)

    built = scorers.build(Spec(kind="judge", config=CONFIGS["judge"]), context(calls=Slow()))
    (patient,) = await scorers.score_all([built], SUBJECT, timeout=0.01)
    (hasty,) = await scorers.score_all([built], SUBJECT, timeout=0.01, patient=False)
    assert patient.value == 1.0
    assert hasty.label == "timeout"


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(Invalid, match="exact"):
        scorers.build_all([Spec(kind="exact"), Spec(kind="normalized", name="exact")], context())


@pytest.mark.parametrize("name", ["a b", "a@b", "x" * 65, "\u00e4"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(Invalid):
        scorers.build(Spec(kind="exact", name=name), context())


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_is_a_number(weight: float) -> None:
    with pytest.raises(Invalid):
        scorers.build(Spec(kind="exact", weight=weight), context())


# --- the mean -------------------------------------------------------------------------------------------------------


def test_the_mean_weighs_and_a_missing_measurement_leaves_none() -> None:
    specs = [Spec(kind="exact", weight=3), Spec(kind="numeric"), Spec(kind="length", weight=0)]
    good, bad = Score(scorer="exact@1", value=1.0), Score(scorer="numeric@1", value=0.0)
    unscored = Score(scorer="length@1")
    assert scorers.mean([good, bad, unscored], specs) == 0.75
    assert scorers.mean([bad, good], specs) == 0.75
    assert scorers.mean([good, Score(scorer="numeric@1")], specs) is None
    assert scorers.mean([good], specs) is None
    assert scorers.mean([good], [Spec(kind="exact", weight=0)]) is None
    assert scorers.mean([], []) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, allow_infinity=False)), min_size=1, max_size=8))
@example([(0.5, 5e-324)])
@example([(0.5, 1.7e308), (0.25, 1.7e308)])
def test_a_mean_lies_between_its_parts(parts: list[tuple[float, float]]) -> None:
    specs = [Spec(kind="exact", name=f"s{at}", weight=weight) for at, (_, weight) in enumerate(parts)]
    scores = [Score(scorer=f"s{at}@1", value=value) for at, (value, _) in enumerate(parts)]
    mean = scorers.mean(scores, specs)
    counted = [value for value, weight in parts if weight > 0]
    if mean is not None:
        assert min(counted) - 1e-9 <= mean <= max(counted) + 1e-9
