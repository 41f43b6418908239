"""Where messages go is governed: secrets told once and kept sealed, rotation, reach, one leaf for each change."""

import re

import pytest
import sqlalchemy as sa
from notifying_kit import SYSTEM, House, Receiver, deliver, endpoint
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ostinato import access, audit, notifying
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.notifying import tables


class At(Webhook):
    """The reference implementation, at the clock of the test."""

    now = 0

    def verify_at(self, body: bytes, headers: dict[str, str], now: int) -> object:
        import standardwebhooks.webhooks as theirs

        class Clock(theirs.datetime):
            @classmethod
            def now(cls, tz=None):
                return cls.fromtimestamp(now, tz)

        kept, theirs.datetime = theirs.datetime, Clock
        try:
            return self.verify(body, headers)
        finally:
            theirs.datetime = kept


async def leaves(home: House) -> list[audit.Leaf]:
    return [one.leaf for one in reversed(await home.log.page(audit.Filter(), limit=100))]


async def test_the_reference_implementation_takes_our_signatures(home: House, receiver: Receiver) -> None:
    room = await home.process()
    _, secret = await endpoint(room, home, receiver.url)
    await room.tell(home.org, home.project, "cases:open", "case:1", {"severity": "high"})
    await deliver(room, home)
    (hit,) = receiver.hits
    now = home.clock.now() // 1_000_000
    told = At(secret).verify_at(hit.body, hit.headers, now)
    assert told["type"] == "cases:open"
    with pytest.raises(WebhookVerificationError):
        At(secret).verify_at(hit.body + b" ", hit.headers, now)
    with pytest.raises(WebhookVerificationError):
        At(secret).verify_at(hit.body, hit.headers, now + 3_600)
    await room.stop()


async def test_two_secrets_sign_until_the_old_one_is_over(home: House, receiver: Receiver) -> None:
    room = await home.process(rotation_hours=24.0)
    hook, old = await endpoint(room, home, receiver.url)
    _, new = await room.endpoints.rotate(SYSTEM, hook.id)
    assert new != old

    async def verified() -> list[bool]:
        receiver.hits.clear()
        await room.tell(home.org, home.project, "cases:open", "case:1")
        await deliver(room, home)
        (hit,) = receiver.hits
        found = []
        for secret in (old, new):
            try:
                At(secret).verify_at(hit.body, hit.headers, home.clock.now() // 1_000_000)
                found.append(True)
            except WebhookVerificationError:
                found.append(False)
        return found

    assert await verified() == [True, True]
    home.clock.advance(23 * 3_600)
    assert await verified() == [True, True]
    home.clock.advance(2 * 3_600)
    assert await verified() == [False, True]
    await room.stop()


async def test_rotating_again_and_again_keeps_few_and_prolongs_none(home: House, receiver: Receiver) -> None:
    room = await home.process(rotation_hours=24.0)
    hook, _ = await endpoint(room, home, receiver.url)
    for _ in range(5):
        await room.endpoints.rotate(SYSTEM, hook.id)
        home.clock.advance(3_600)
    await room.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(room, home)
    assert len(receiver.hits[0].headers["webhook-signature"].split(" ")) == 3
    home.clock.advance(24 * 3_600)
    await room.tell(home.org, home.project, "cases:open", "case:2")
    await deliver(room, home)
    assert len(receiver.hits[1].headers["webhook-signature"].split(" ")) == 1
    await room.stop()


async def test_secrets_and_addresses_lie_nowhere_in_clear(both: House, receiver: Receiver) -> None:
    room = await both.process(follow=True)
    hook, secret = await endpoint(room, both, receiver.url)
    _, second = await room.endpoints.rotate(SYSTEM, hook.id, reason="the old one was in a mail")
    await room.effects.test(SYSTEM, hook.id)
    await deliver(room, both)
    needles = [secret.removeprefix("whsec_"), second.removeprefix("whsec_"), "t0ken"]

    def everything(connection: sa.Connection) -> str:
        names = sa.inspect(connection).get_table_names()
        return "".join(repr(connection.exec_driver_sql(f'SELECT * FROM "{name}"').all()) for name in names)

    for database in (both.control, both.work):
        found = await database.read(everything)
        assert hook.id in found
        assert not [needle for needle in needles if needle in found]
    shown = repr(await room.endpoints.list(SYSTEM)) + repr(room.endpoints.current.value)
    assert not [needle for needle in needles if needle in shown]
    await room.stop()


async def test_every_change_is_one_leaf(both: House, receiver: Receiver) -> None:
    room = await both.process()
    before = len(await leaves(both))
    hook, _ = await endpoint(room, both, receiver.url, reason="to be told")
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(events=("cases:*",)))
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(enabled=False))
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(enabled=False))
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(enabled=True))
    await room.endpoints.rotate(SYSTEM, hook.id)
    await room.endpoints.remove(SYSTEM, hook.id)
    found = (await leaves(both))[before:]
    assert [one.action for one in found] == [
        f"webhooks:{verb}" for verb in ("create", "update", "disable", "enable", "rotate", "remove")
    ]
    assert {one.resource for one in found} == {f"webhook:{hook.id}"}
    assert "t0ken" not in repr(found)
    with pytest.raises(NotFound):
        await room.endpoints.show(SYSTEM, hook.id)
    await room.stop()


async def test_an_older_look_is_refused(home: House, receiver: Receiver) -> None:
    room = await home.process()
    hook, _ = await endpoint(room, home, receiver.url)
    await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(events=("cases:*",)), version=1)
    with pytest.raises(Conflict):
        await room.endpoints.change(SYSTEM, hook.id, notifying.Changes(events=("*",)), version=1)
    with pytest.raises(Conflict):
        await endpoint(room, home, receiver.url)
    await room.stop()


@pytest.mark.parametrize(
    ("kind", "address", "events", "param"),
    [
        ("webhook", "http://example.com/hook", ("*",), "address"),
        ("webhook", "ftp://127.0.0.1/hook", ("*",), None),
        ("webhook", "https://user:secret@example.com/", ("*",), None),
        ("webhook", "https://169.254.169.254/latest/meta-data", ("*",), None),
        ("webhook", "https://[::1]/", ("*",), None),
        ("webhook", "https://10.0.0.1/", ("*",), None),
        ("webhook", "https://0x7f000001/", ("*",), None),
        ("webhook", "https://2130706433/", ("*",), None),
        ("webhook", "https://metadata.google.internal/", ("*",), None),
        ("slack", "https://localhost.localdomain@10.1.1.1/", ("*",), None),
        ("email", "somebody" + "@example.com", ("*",), "address"),
        ("webhook", "https://example.com/", (), "events"),
        ("webhook", "https://example.com/", ("cases",), "events"),
        ("webhook", "https://example.com/", ("*:open",), "events"),
    ],
)
async def test_what_cannot_be_is_refused(
    home: House, kind: str, address: str, events: tuple[str, ...], param: str | None
) -> None:
    room = await home.process()
    wish = notifying.NewEndpoint(name="hook", kind=kind, address=address, events=events)
    with pytest.raises(Invalid) as error:
        await room.endpoints.create(SYSTEM, wish, project=home.project)
    assert param is None or error.value.param == param
    assert "secret" not in error.value.sentence
    await room.stop()


async def test_an_organizations_endpoint_takes_the_right_to_all_projects(home: House, receiver: Receiver) -> None:
    room = await home.process()
    door = access.Access(home.control, home.notices, home.clock, access.Settings(), home.log)
    await door.start()

    async def caller(*permissions: str) -> access.Caller:
        grant = access.Grant(permissions=frozenset(permissions))
        _, secret = await door.create_key(SYSTEM, "k", grant, home.project)
        return door.authenticate(secret, home.clock.now())

    few = await caller("webhooks:read", "webhooks:write")
    many = await caller("webhooks:read", "webhooks:write", "projects:write")
    wish = notifying.NewEndpoint(name="all", address=receiver.url, events=("*",))
    with pytest.raises(Denied):
        await room.endpoints.create(few, wish, organization=True)
    made, _ = await room.endpoints.create(many, wish, organization=True)
    own, _ = await room.endpoints.create(few, wish)
    assert made.project == "" and own.project == home.project
    assert [one.id for one in await room.endpoints.list(few)] == [own.id]
    assert {one.id for one in await room.endpoints.list(many)} == {own.id, made.id}
    with pytest.raises(NotFound):
        await room.endpoints.show(few, made.id)
    assert (await room.endpoints.show(few, "all")).id == own.id
    await door.stop()
    await room.stop()


async def test_tables_are_as_the_migrations_make_them(both: House, schema_drift) -> None:
    assert schema_drift(both.control, tables.metadata) == []
    assert schema_drift(both.work, tables.work_metadata) == []


async def test_what_another_installations_secret_sealed_stays_closed(home: House, receiver: Receiver) -> None:
    room = await home.process()
    _, secret = await endpoint(room, home, receiver.url)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    await room.stop()
    other = notifying.Notifying(
        home.control, home.work, home.clock, home.notices, home.log, home.client, secret=b"another", follow=False
    )
    await other.start()
    (target,) = other.endpoints.current.value
    assert target.address.reveal() == "" and target.secrets == ()
    await other.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(other, home)
    assert receiver.hits == [] and await home.states() == {"waiting": 1}
    await other.stop()
