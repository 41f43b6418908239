"""Confidences: read from log probabilities, from several answers; calibrated; and judges held against people."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import wire
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.scorers import Score, Spec, calibrating, calibration, confidence
from ostinato.scorers.declared import Declared
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Usage

Alternatives = dict[str, float]


def answer(*steps: tuple[str, Alternatives], key: str = "logprob") -> Answer:
    """An answer of OpenAI's shape: each step the token that was said, and the likeliest at its place."""

    def told(text: str, probability: float) -> dict[str, Any]:
        return {"token": text, key: math.log(probability) if key == "logprob" else probability}

    listed = "top_logprobs" if key == "logprob" else "top_probs"
    content = [{**told(said, here[said]), listed: [told(*pair) for pair in here.items()]} for said, here in steps]
    text = "".join(said for said, _ in steps)
    body = {
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": {"content": content},
                "finish_reason": "stop",
            }
        ],
    }
    import json

    return wire.codec("openai.chat").read_answer(json.dumps(body).encode())


PLAIN = Answer(
    "openai.chat", (Start("m"), BlockStart(0, "text"), Delta(0, "yes"), BlockStop(0), Finish("stop"), Usage())
)


@pytest.mark.parametrize("key", ["logprob", "prob"])
def test_the_posterior_is_how_labels_share_the_probability(key: str) -> None:
    said = answer(("Pos", {"Pos": 0.6, "Neg": 0.2, "The": 0.2}), ("itive", {"itive": 1.0}), key=key)
    shares = confidence.posterior(said, ["positive", "negative"])
    assert shares == pytest.approx({"positive": 0.75, "negative": 0.25})
    assert confidence.from_logprobs(said, ["positive", "negative"]) == pytest.approx(0.75)


def test_labels_that_begin_alike_are_told_apart_further_on() -> None:
    said = answer(
        (" card", {" card": 0.5, " refund": 0.5}),
        (" lost", {" lost": 0.8, " arrival": 0.2}),
    )
    shares = confidence.posterior(said, ["card lost", "card arrival", "refund"])
    assert shares == pytest.approx({"card lost": 0.4, "card arrival": 0.1, "refund": 0.5})


def test_an_alternative_that_leads_to_several_labels_is_shared_evenly() -> None:
    said = answer(("refund", {"refund": 0.6, "card": 0.4}))
    shares = confidence.posterior(said, ["card lost", "card arrival", "refund"])
    assert shares == pytest.approx({"card lost": 0.2, "card arrival": 0.2, "refund": 0.6})


def test_spaces_and_quotation_marks_before_a_label_are_read_over() -> None:
    said = answer(("\n", {"\n": 1.0}), ('"', {'"': 1.0}), ("Yes", {"Yes": 0.9, "No": 0.1}), ('"', {'"': 1.0}))
    assert confidence.from_logprobs(said, ["yes", "no"]) == pytest.approx(0.9)


def test_a_label_that_was_not_told_of_is_unlikely_never_impossible() -> None:
    shares = confidence.posterior(answer(("yes", {"yes": 0.99})), ["yes", "no"])
    assert shares is not None
    assert 0 < shares["no"] < 0.02
    assert sum(shares.values()) == pytest.approx(1)


def test_a_label_that_a_model_was_forced_to_is_nothing_it_is_sure_of() -> None:
    wanted = {"The": 0.5, "I": 0.3, "Well": 0.1, "It": 0.05, "yes": 0.001}
    labels = ["yes", "no", "maybe", "never"]
    forced = confidence.from_logprobs(answer(("yes", wanted)), labels)
    token = confidence.Token("yes", 1e-6, tuple((text, likely) for text, likely in wanted.items() if text != "yes"))
    assert confidence._weights("", {**dict(token.others), "yes": 1e-6}, {one: one for one in labels}, 0.05)["no"] > 1e-2
    asked = confidence.from_logprobs(answer(("yes", {"yes": 0.9, "no": 0.09})), ["yes", "no", "maybe", "never"])
    assert forced is not None
    assert asked is not None
    assert forced < 0.45 < 0.85 < asked


def test_without_labels_it_is_the_mean_of_the_tokens() -> None:
    said = answer(("a", {"a": 0.9}), ("b", {"b": 0.4}))
    assert confidence.from_logprobs(said) == pytest.approx(0.6)
    assert confidence.from_logprobs(said, ["x", "y"]) == pytest.approx(0.6)


def test_what_is_not_told_is_not_known() -> None:
    assert confidence.from_logprobs(PLAIN) is None
    assert confidence.from_logprobs(PLAIN, ["yes", "no"]) is None
    assert confidence.posterior(answer(("maybe", {"maybe": 1.0})), ["yes", "no"]) is None
    assert confidence.posterior(answer(("yes", {"yes": 1.0})), ["yes"]) is None


@pytest.mark.parametrize(
    "odd",
    [
        {"content": [{"token": 5}]},
        {"content": "x"},
        {"content": [None]},
        {"content": [{"token": "a", "logprob": None}]},
        [],
    ],
)
def test_odd_shapes_are_read_over(odd: Any) -> None:
    delta = Delta(0, "yes", {"logprobs": odd})
    said = Answer("openai.chat", (Start("m"), BlockStart(0, "text"), delta, BlockStop(0), Finish("stop")))
    assert confidence.from_logprobs(said, ["yes", "no"]) is None


@given(
    st.lists(st.sampled_from(["card", "card lost", "card stolen", "refund", "pin"]), min_size=2, unique=True),
    st.lists(st.floats(0.001, 1), min_size=4, max_size=4),
    st.sampled_from(["card", "refund", "pin"]),
)
def test_a_posterior_adds_up_to_one(labels: list[str], weights: list[float], said: str) -> None:
    names = ["card", "refund", "pin", "other"]
    total = sum(weights)
    shares = confidence.posterior(
        answer((said, {name: weight / total for name, weight in zip(names, weights, strict=True)})), labels
    )
    if shares is not None:
        assert set(shares) == set(labels)
        assert sum(shares.values()) == pytest.approx(1)
        assert all(share >= 0 for share in shares.values())


def test_a_leaning_to_some_labels_can_be_taken_off() -> None:
    leaning = confidence.leaning([{"a": 0.9, "b": 0.1}, {"a": 0.7, "b": 0.3}])
    assert leaning == pytest.approx({"a": 0.8, "b": 0.2})
    assert confidence.balanced({"a": 0.6, "b": 0.4}, leaning) == pytest.approx({"a": 0.75 / 2.75, "b": 2 / 2.75})
    assert confidence.balanced(leaning, leaning) == pytest.approx({"a": 0.5, "b": 0.5})
    with pytest.raises(Invalid):
        confidence.leaning([])


def test_self_consistency_counts_what_is_the_same() -> None:
    agreed = confidence.self_consistency(["Paris.", "paris", "Lyon", "PARIS!"])
    assert (agreed.answer, agreed.share, agreed.n) == ("Paris.", 0.75, 4)
    assert confidence.self_consistency(["b", "a"]).answer == "b"
    with pytest.raises(Invalid):
        confidence.self_consistency([])


def test_a_report_is_shown_on_another_part_than_it_was_learnt_from() -> None:
    rng = random.Random(5)
    overconfident = [0.5 + rng.random() / 2 for _ in range(800)]
    right = [float(rng.random() < 0.5 + (one - 0.5) * 0.4) for one in overconfident]
    report = confidence.report((overconfident[:400], right[:400]), (overconfident[400:], right[400:]))
    assert report.calibrated.ece < report.raw.ece / 2
    assert report.raw.n == 400
    assert report.raw.auroc is not None


# --- judges ---------------------------------------------------------------------------------------------------------


def scores(*values: float | None) -> list[Score]:
    return [Score(scorer="judge@1", value=value, confidence=0.9) for value in values]


def test_a_judge_that_agrees_may_promote() -> None:
    human = [1.0, 0.0] * 20
    found = calibration.calibrate("judge@1", scores(*human), human)
    assert found.passed
    assert found.kappa == pytest.approx(1)
    assert found.n == 40


def test_a_judge_that_guesses_may_not() -> None:
    rng = random.Random(1)
    human = [1.0, 0.0] * 50
    found = calibration.calibrate("judge@1", scores(*(rng.choice([0.0, 1.0]) for _ in human)), human)
    assert not found.passed
    assert "kappa" in found.why


def test_few_labels_or_one_label_prove_nothing() -> None:
    few = calibration.calibrate("judge@1", scores(1.0, 0.0), [1.0, 0.0])
    assert not few.passed
    assert "too few" in few.why
    same = calibration.calibrate("judge@1", scores(*[1.0] * 40), [1.0] * 40)
    assert not same.passed
    assert "the same" in same.why
    none = calibration.calibrate("judge@1", [], [])
    assert (none.n, none.passed) == (0, False)


def test_to_keep_quiet_is_to_disagree() -> None:
    human = [1.0, 0.0] * 20
    quiet = [value if at % 2 else None for at, value in enumerate(human)]
    found = calibration.calibrate("judge@1", scores(*quiet), human)
    assert found.unscored == 20
    assert found.agreement == 0.5
    assert not found.passed
    assert "unscored" in found.why and "20 of 40" in found.why
    silent = Score(scorer="judge@1", label="nonsense", rationale="Not in the asked\nform.")
    found = calibration.calibrate("judge@1", [silent] * 40, human)
    assert found.why.endswith(
        "it left 40 of 40 unscored, which count as disagreement: Not in the asked form (40 times)."
    )


@pytest.mark.parametrize(
    ("said", "value"),
    [("1", 1.0), (" 0.5 ", 0.5), ("True", 1.0), ("false", 0.0), ("good", 1.0), (True, 1.0), (0, 0.0)]
    + [(said, None) for said in ("7", "nan", "-1", "fine", "", None, [1], "1e999")],
)
def test_what_people_said_in_a_cell_of_a_file(said: object, value: float | None) -> None:
    spec = Spec(kind="judge", config={"model": "m", "rubric": "Right?"})
    judge = Declared(
        id="i", org="o", project="p", name="judge", number=1, version="1", spec=spec, created_at=0, created_by="key:a"
    )
    one = Example(id="e", digest="", split="dev", inputs={"q": 1}, reference=said, metadata={"answer": "Yes."})
    assert [known for _, known in calibrating.pairs(judge, [one])] == ([] if value is None else [value])


def test_what_several_answers_tell_of_the_first_one() -> None:
    labels = ["yes", "no", "maybe"]
    sure = confidence.of_outputs(["Yes.", "yes", "no", "yes"], labels)
    assert math.fsum(sure.shares.values()) == pytest.approx(1.0)
    assert sure.value == sure.shares["yes"] and 0.6 < sure.value < 0.75
    assert sure.shares["maybe"] > 0, "four answers do not make anything impossible"
    assert confidence.of_outputs(["a", "A!", "b", "c"]).value == 0.5
    assert confidence.of_outputs(["Berlin", "berlin", "Rome"], labels).shares == {}
    with pytest.raises(Invalid):
        confidence.of_outputs([])


def test_which_label_an_answer_is() -> None:
    labels = ["card", "card lost", "refund"]
    assert confidence.answered(" Card lost.", labels) == "card lost"
    assert confidence.answered('"card"', labels) == "card"
    assert confidence.answered("refunded", labels) == ""
    assert confidence.answered("", labels) == ""


def test_a_leaning_can_be_taught_by_other_answers() -> None:
    leaning_to_a = [{"a": 0.9, "b": 0.1}] * 30
    assert confidence.evened(["a"], [{"a": 0.9, "b": 0.1}], leaning_to_a) == pytest.approx([0.5])
    assert confidence.evened(["a"], [{"a": 0.9, "b": 0.1}]) is None, "one answer teaches nothing"
    assert confidence.evened(["a"], [{}], leaning_to_a) is None
    assert confidence.evened(["neither"], [{"a": 0.9, "b": 0.1}], leaning_to_a) is None
    assert confidence.evened(["a"], [{"a": 0.9, "c": 0.1}], leaning_to_a) is None
