"""``POST /v1/feedback``: by request id, in one's own project, of calls and of hits."""

from typing import Any

import pytest
from inside import SYSTEM, inside

from ostinato import access
from ostinato.access import ProjectChanges

FEEDBACK = "/v1/feedback"


async def told(world: Any, **body: Any) -> Any:
    key = body.pop("key", None)
    return await world.ask(FEEDBACK, body, key=key)


async def asked(world: Any, text: str = "How are you?", **headers: str) -> str:
    reply = await world.chat(text, headers)
    assert reply.status == 200
    return reply.headers["x-request-id"]


async def test_feedback_is_written_with_what_it_is_about() -> None:
    async with inside() as world:
        request_id = await asked(world)
        reply = await told(
            world, request_id=request_id, value=True, label="good", outcome={"type": "resolved", "value": 0.5}
        )
        assert reply.status == 202
        assert reply.json()["request_id"] == request_id
        first, second = await world.app.signals.of(request_id)
        assert [first.id, second.id] == reply.json()["signals"]
        assert (first.source, first.name, first.value, first.label) == ("feedback", "feedback", 1.0, "good")
        assert (second.source, second.name, second.value) == ("outcome", "resolved", 0.5)
        row = next(one for one in await world.rows(2) if one.request_id == request_id)
        assert (first.org, first.project, first.entry) == (row.org, row.project, row.fingerprint)
        assert first.actor == f"key:{world.key_id(world.key)}"
        assert (first.origin, first.weight, first.comment) == ("", 1.0, None)
        own = next(one for one in await world.rows(2) if one.wire == "feedback")
        assert (own.status, own.reason) == (202, "feedback")


async def test_a_hit_is_told_apart_from_the_call_that_it_repeats() -> None:
    async with inside() as world:
        call, hit = await asked(world), await asked(world)
        assert (await told(world, request_id=hit, value="down")).status == 202
        assert await world.app.signals.of(call) == ()
        (signal,) = await world.app.signals.of(hit)
        assert (signal.origin, signal.value) == (call, 0.0)
        assert len(signal.entry) == 32


async def test_the_callers_own_id_does_as_well() -> None:
    async with inside() as world:
        reply = await world.chat("Hello", {"x-request-id": "order-17"})
        assert reply.headers["x-request-id"] == "order-17"
        assert (await told(world, client_request_id="order-17", value=1)).status == 202
        wrong = await told(world, request_id="order-17", value=1)
        assert wrong.status == 404 and "give it as client_request_id" in wrong.json()["error"]["message"]
        unknown = await told(world, request_id="order-18", value=1)
        assert unknown.status == 404 and "client_request_id" not in unknown.json()["error"]["message"]


async def test_texts_are_kept_only_where_the_project_keeps_them_and_redacted() -> None:
    async with inside() as world:
        request_id = await asked(world)
        await told(world, request_id=request_id, comment="Write to me@example.org.", value=0)
        await world.app.access.update_project(SYSTEM, await world.first_project(), ProjectChanges(store_text=True))
        await world.app.access.snapshot.reload()
        await told(world, request_id=request_id, comment="Write to me@example.org.", label="ask me@example.org")
        without, kept = await world.app.signals.of(request_id)
        assert without.comment is None
        assert kept.comment == "Write to [EMAIL]."
        assert kept.label == "ask [EMAIL]"


async def test_requests_of_other_projects_do_not_exist() -> None:
    async with inside() as world:
        request_id = await asked(world)
        other = await world.new_key(await world.new_project("other"), permissions=access.permissions.of_role("service"))
        reply = await told(world, request_id=request_id, value=1, key=other)
        assert (reply.status, reply.json()["error"]["code"]) == (404, "request_not_found")
        assert (await told(world, request_id="0" * 32, value=1)).status == 404
        assert await world.app.signals.of(request_id) == ()


async def test_the_permission_is_its_own() -> None:
    async with inside() as world:
        request_id = await asked(world)
        calls = await world.new_key(permissions=frozenset({"chat:call"}))
        assert (await told(world, request_id=request_id, value=1, key=calls)).status == 403
        tells = await world.new_key(permissions=frozenset({"feedback:write"}))
        assert (await told(world, request_id=request_id, value=1, key=tells)).status == 202
        assert (await world.chat("Hello", key=tells)).status == 403
        assert (await told(world, request_id=request_id, value=1, key="ost_wrong")).status == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "request_id"),
        ({"request_id": "a", "client_request_id": "b", "value": 1}, "request_id"),
        ({"request_id": "a" * 200, "value": 1}, "request_id"),
        ({"client_request_id": "a\x00", "value": 1}, "request_id"),
        ({"request_id": "a"}, "value"),
        ({"request_id": "a", "value": 1, "stars": 5}, None),
        ({"request_id": "a", "value": [1]}, "value"),
        ({"request_id": 7, "value": 1}, "request_id"),
        ({"request_id": "a", "label": "x" * 3_000}, "label"),
        ({"request_id": "a", "comment": "x" * 20_000}, "comment"),
        ({"request_id": "a", "outcome": {"value": 1}}, "outcome"),
    ],
)
async def test_what_cannot_be_used_is_refused(body: dict[str, Any], param: str | None) -> None:
    async with inside() as world:
        reply = await told(world, **body)
        assert reply.status == 400, reply.body
        assert reply.json()["error"]["param"] == param


async def test_values_beyond_their_scale_are_refused() -> None:
    async with inside() as world:
        request_id = await asked(world)
        for wrong in (2, -0.1, "great", 1e300):
            assert (await told(world, request_id=request_id, value=wrong)).status == 400
        assert (await told(world, request_id=request_id, value=1, name="Wrong Name")).status == 400
        assert (await told(world, request_id=request_id, outcome={"type": "sold", "value": 12.5})).status == 400
        assert await world.app.signals.of(request_id) == ()
        for right, value in ((True, 1.0), (False, 0.0), ("up", 1.0), (0.25, 0.25), (0, 0.0)):
            assert (await told(world, request_id=request_id, value=right)).status == 202
            assert (await world.app.signals.of(request_id))[-1].value == value


async def test_a_full_queue_is_said_and_counted() -> None:
    async with inside("[signals]\nqueue = 1\nbatch_seconds = 60.0\n") as world:
        request_id = await asked(world)
        assert (await told(world, request_id=request_id, value=1)).status == 202
        reply = await told(world, request_id=request_id, value=1)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        page = world.app.metrics_page().decode()
        assert 'ostinato_signals_total{source="feedback"} 1.0' in page
        assert "ostinato_signals_dropped_total 1.0" in page


async def test_a_label_that_is_a_text_is_kept_only_where_texts_are() -> None:
    async with inside() as world:
        request_id = await asked(world)
        text = "You can find the answer to your question about the account of Mrs Roe in the letter of last week. " * 2
        got = await told(world, request_id=request_id, label=text)
        assert got.status == 400 and got.json()["error"]["code"] == "label_is_text"
        assert (await told(world, request_id=request_id, label="parcel")).status == 202
        await world.app.access.update_project(SYSTEM, await world.first_project(), ProjectChanges(store_text=True))
        assert (await told(world, request_id=request_id, label=text)).status == 202


async def test_an_outcome_that_no_figure_counts_is_kept_and_said() -> None:
    async with inside() as world:
        request_id = (await world.chat("one")).headers["x-request-id"]
        await world.rows(1)
        slip = (await told(world, request_id=request_id, outcome={"type": "resovled", "value": True})).json()
        assert len(slip["signals"]) == 1 and "resolved" in slip["uncounted"]["outcome"]
        right = (await told(world, request_id=request_id, outcome={"type": "resolved", "value": True})).json()
        assert "uncounted" not in right
