"""The traffic is the same for everybody, and as skewed as it says."""

from collections import Counter

from ostinato.demo import task, traffic
from ostinato.demo.traffic import LEVELS, Level


def test_the_sample_is_what_its_notice_says():
    questions = task.questions()
    assert Counter(q.intent for q in questions) == dict.fromkeys(task.INTENTS, 70)
    assert len({q.text.lower() for q in questions}) == len(questions), "a repeated question would be a repeat of ours"
    assert all(q.text == q.text.strip() and q.text for q in questions)


def test_equal_seeds_give_equal_traffic():
    questions = task.questions()
    assert traffic.draw(questions, LEVELS[1], 200) == traffic.draw(questions, LEVELS[1], 200)
    assert traffic.draw(questions, LEVELS[1], 200) != traffic.draw(questions, LEVELS[1], 200, seed=1)


def test_a_longer_run_begins_like_a_shorter_one():
    # So that a quick look is a part of the whole.
    questions = task.questions()
    short, long = (traffic.draw(questions, LEVELS[2], n) for n in (50, 200))
    assert [a.question for a in short] == [a.question for a in long[:50]]


def test_a_larger_exponent_repeats_more():
    questions = task.questions()
    counts = [traffic.repeats(traffic.draw(questions, level, 400)) for level in LEVELS]
    assert counts == sorted(counts) and counts[0] < counts[-1] / 2


def test_shares_follow_the_law():
    questions = task.questions()[:50]
    drawn = Counter(a.question.text for a in traffic.draw(questions, Level("law", 1.0), 20_000))
    first, tenth = (count for _, count in [drawn.most_common()[0], drawn.most_common()[9]])
    assert 8 < first / tenth < 12.5  # by the law 10; the rest is chance


def test_a_third_streams():
    asks = traffic.draw(task.questions(), LEVELS[0], 3000)
    assert 0.3 < sum(a.stream for a in asks) / len(asks) < 0.37
