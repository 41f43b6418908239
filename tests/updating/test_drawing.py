"""Who is drawn into a trial: sticky by conversation, growing without taking anybody out, each intent by itself."""

from hypothesis import given
from hypothesis import strategies as st
from updating_kit import only, world

from ostinato.routing import Route, Target, trials
from ostinato.routing.catalog import sealed
from ostinato.routing.model import Trial

OLD = sealed(Route("used", (Target("fake", "plain"),)))
NEW = sealed(Route("used", (Target("other", "plain"),)))
_SEEDS = 4_000


def route(share: float, control: float = 0.0) -> Route:
    return Route("used", OLD.targets, digest=OLD.digest, trials=(Trial("u1", NEW, {"billing": (share, control)}),))


@given(st.binary(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_growing_share_takes_nobody_out(seed: bytes, one: float, two: float) -> None:
    small, large = sorted((one, two))
    if trials.drawn(route(small), "billing", seed)[1]:
        found, mark = trials.drawn(route(large), "billing", seed)
        assert (found.digest, mark) == (NEW.digest, "canary:u1")
    assert trials.drawn(route(1.0), "billing", seed)[0].digest == NEW.digest


@given(st.binary())
def test_other_intents_stay_where_they_are(seed: bytes) -> None:
    found, mark = trials.drawn(route(1.0), "legal", seed)
    assert (found.digest, mark) == (OLD.digest, "")


def test_shares_are_what_they_say_and_arms_do_not_meet() -> None:
    marks = [trials.drawn(route(0.25, 0.25), "billing", b"%d" % n)[1] for n in range(_SEEDS)]
    for arm in ("canary:u1", "control:u1"):
        assert abs(marks.count(arm) / _SEEDS - 0.25) < 0.03  # four standard deviations


async def test_a_session_stays_on_its_side_and_so_does_the_short_cut() -> None:
    async with world() as at:
        await only(at, 0.5)
        sides: set[str] = set()
        for session in range(12):
            headers = {"ostinato-session": f"s{session}"}
            found = {
                (await at.chat(text, headers, model="used", raw=raw)).headers["ostinato-target"]
                for text in ("one", "two", "three")
                for raw in (True, False)
            }
            assert len(found) == 1
            sides |= found
        assert sides == {"fake/plain", "other/plain"}


async def test_a_user_in_the_body_stays_on_its_side() -> None:
    async with world() as at:
        await only(at, 0.5)
        sides: set[str] = set()
        for user in range(12):
            found = {
                (await at.chat(text, model="used", user=f"u{user}")).headers["ostinato-target"]
                for text in ("one", "two", "three", "one")
            }
            assert len(found) == 1
            sides |= found
        assert sides == {"fake/plain", "other/plain"}
