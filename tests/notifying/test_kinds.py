"""Slack's blocks and e-mail: what others wrote into names stays text."""

import asyncio
import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from notifying_kit import SYSTEM, House, Receiver, deliver, endpoint

from ostinato import config, notifying
from ostinato.config.reading import Source
from ostinato.config.show import shown
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.core.secret import ApiKey
from ostinato.notifying import mail, payload, slack
from ostinato.notifying.model import Message
from ostinato.notifying.settings import Mail

ANN = "ann" + "@example.com"
BOB = "bob" + "@example.com"
GATE = "gateway" + "@example.com"


class Smtp:
    """A mail server on loopback."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], bytes]] = []
        self.greeting = b"220 here"
        self.refuse: set[str] = set()
        self.after_data = b"250 taken"
        self.logins: list[bytes] = []
        house = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line: bytes) -> None:
                self.wfile.write(line + b"\r\n")

            def handle(self) -> None:
                self.say(house.greeting)
                to: list[str] = []
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word in (b"EHLO", b"HELO"):
                        self.say(b"250-here")
                        self.say(b"250 AUTH PLAIN")
                    elif word == b"AUTH":
                        house.logins.append(line)
                        self.say(b"235 in")
                    elif word == b"RCPT":
                        name = line.decode().partition("<")[2].partition(">")[0]
                        if name in house.refuse:
                            self.say(b"550 not here")
                        else:
                            to.append(name)
                            self.say(b"250 yes")
                    elif word == b"DATA":
                        self.say(b"354 go on")
                        text = b""
                        while (piece := self.rfile.readline()) not in (b".\r\n", b""):
                            text += piece
                        if house.after_data.startswith(b"2"):
                            house.letters.append((to, text))
                        self.say(house.after_data)
                        to = []
                    elif word == b"QUIT":
                        self.say(b"221 bye")
                        return
                    else:
                        self.say(b"250 yes")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def settings(self, **more: Any) -> Mail:
        plain = {"host": "127.0.0.1", "port": self.port, "security": "none", "sender": GATE, "timeout": 2.0}
        return Mail(**{**plain, **more})


@pytest.fixture
def smtp() -> Iterator[Smtp]:
    made = Smtp()
    yield made
    made.server.shutdown()
    made.server.server_close()


async def test_slack_gets_blocks_in_which_nothing_is_a_link(home: House, receiver: Receiver) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url, kind="slack")
    wicked = "<!channel> <https://evil.example|click> *bold* & `code`"
    await room.tell(home.org, home.project, "cases:open", wicked, {"prompt": wicked, "samples": 7, "nested": {"a": 1}})
    await deliver(room, home)
    (hit,) = receiver.hits
    assert "webhook-signature" not in hit.headers
    told = msgspec.json.decode(hit.body)
    kinds = [block["type"] for block in told["blocks"]]
    assert kinds == ["header", "section", "context"]
    fields = " ".join(field["text"] for field in told["blocks"][1]["fields"])
    assert "*samples*\n7" in fields and '{"a":1}' in fields
    for text in (told["text"], fields, told["blocks"][2]["elements"][0]["text"]):
        assert "<" not in text and ">" not in text
    assert "&lt;!channel&gt;" in told["text"] and "*bold*" not in fields
    assert told["blocks"][0]["text"]["type"] == "plain_text" and len(told["blocks"][0]["text"]["text"]) <= 150
    await room.stop()


def test_a_case_says_first_what_it_is_and_nothing_that_is_empty() -> None:
    told = {"case": "c1", "kind": "threshold", "severity": "high", "intent": "", "target": "", "owner": "rui", "at": 1}
    body = msgspec.json.encode({"timestamp": "2026-01-01T00:00:00Z", "data": {**told, "subject": "case:c1"}})
    message = Message(id="id", org="o", project="p", event="cases:open", subject="case:c1", at=1, body=body)
    sent = msgspec.json.decode(slack.body(message))
    assert sent["text"] == "cases:open: high threshold case:c1"
    fields = [one["text"] for one in sent["blocks"][1]["fields"]]
    assert fields == ["*case*\nc1", "*kind*\nthreshold", "*severity*\nhigh", "*owner*\nrui"]
    letter = mail.letter(message, Mail(host="h", sender=GATE), [ANN])
    assert letter["Subject"] == "[Ostinato] cases:open: high threshold case:c1"
    assert "intent:" not in letter.get_content()


def test_slack_takes_every_message_that_can_be_composed() -> None:
    data = {f"name{number}": "x" * 500 for number in range(60)}
    message = payload.compose(1, "o", "p", "cases:open", "s" * 500, data)
    blocks = msgspec.json.decode(slack.body(message))["blocks"]
    assert len(blocks[1]["fields"]) <= 10
    assert all(len(field["text"]) <= 2_000 for field in blocks[1]["fields"])


async def test_a_letter_arrives_once_with_the_messages_id(home: House, smtp: Smtp) -> None:
    settings = smtp.settings(user="gate", password=ApiKey("s3cret-pass"))
    room = await home.process(mail=settings)
    hook, secret = await endpoint(room, home, f"{ANN}, {BOB}", kind="email")
    assert secret == "" and hook.address == f"{ANN},{BOB}"
    smtp.after_data = b"451 later, s3cret-pass"
    await room.tell(home.org, home.project, "breakglass:begin", "breakglass:1", {"minutes": 30})
    await deliver(room, home)
    (tried,) = await room.deliveries(SYSTEM, hook.id)
    assert tried.state == "waiting" and tried.status == 451 and "s3cret" not in tried.said
    smtp.after_data = b"250 taken"
    home.clock.advance(6)
    await deliver(room, home)
    ((to, text),) = smtp.letters
    letter = email.message_from_bytes(text, policy=email.policy.default)
    assert to == [ANN, BOB] and letter["From"] == GATE
    assert letter["Message-ID"] == f"<{tried.message}@example.com>"
    assert "breakglass:begin" in letter["Subject"] and "minutes: 30" in letter.get_content()
    assert smtp.logins
    await room.stop()


async def test_a_name_with_line_breaks_makes_no_headers(home: House, smtp: Smtp) -> None:
    room = await home.process(mail=smtp.settings())
    await endpoint(room, home, ANN, kind="email")
    await room.tell(home.org, home.project, "cases:open", f"case\r\nBcc: {BOB}\r\n\r\nbody", {"a\nb": "c\r\n.\r\nd"})
    await deliver(room, home)
    ((to, text),) = smtp.letters
    letter = email.message_from_bytes(text, policy=email.policy.default)
    assert to == [ANN] and letter["Bcc"] is None
    await room.stop()


async def test_who_takes_it_is_not_sent_it_again_for_who_does_not(home: House, smtp: Smtp) -> None:
    room = await home.process(mail=smtp.settings())
    await endpoint(room, home, f"{ANN},{BOB}", kind="email")
    smtp.refuse = {BOB}
    await room.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(room, home)
    assert await home.states() == {"delivered": 1} and smtp.letters[0][0] == [ANN]
    smtp.refuse = {ANN, BOB}
    await room.tell(home.org, home.project, "cases:open", "case:2")
    await deliver(room, home)
    assert await home.states() == {"delivered": 1, "waiting": 1}
    await room.stop()


async def test_a_mail_server_that_is_away_is_waited_for(home: House, smtp: Smtp) -> None:
    room = await home.process(mail=Mail(host="127.0.0.1", port=1, security="none", sender=GATE, timeout=1.0))
    hook, _ = await endpoint(room, home, ANN, kind="email")
    await room.tell(home.org, home.project, "cases:open", "case:1")
    await deliver(room, home)
    (tried,) = await room.deliveries(SYSTEM, hook.id)
    assert tried.state == "waiting" and "mail server" in tried.said
    await room.stop()


def test_without_tls_where_tls_is_asked_for_nothing_is_sent(smtp: Smtp) -> None:
    message = payload.compose(1, "o", "p", "cases:open", "case:1")
    for security in ("starttls", "tls"):
        sent = mail.send(message, smtp.settings(security=security, user="u", password=ApiKey("p")), [ANN])
        assert not sent.ok and smtp.letters == [] and smtp.logins == []


async def test_letters_go_only_to_domains_that_are_allowed(home: House, smtp: Smtp) -> None:
    room = await home.process(mail=smtp.settings(domains=("example.com",)))
    await endpoint(room, home, ANN, kind="email")
    for address in ("ann" + "@elsewhere.example", f"{ANN},\nBcc: {BOB}", f"<{BOB}>", "", "a" * 70 + "@example.com"):
        with pytest.raises(Invalid):
            await endpoint(room, home, address, kind="email", name="other")
    await room.stop()


async def test_long_texts_never_leave(home: House, receiver: Receiver) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url)
    text = "a prompt that somebody wrote " * 100
    deep: Any = text
    for _ in range(30):
        deep = {"in": [deep]}
    data = {"text": text, "deep": deep, "nan": float("nan"), "odd": object(), "many": list(range(10_000)), 7: text}
    await room.tell(home.org, home.project, "cases:open", text, data)
    await room.tell(home.org, home.project, "cases:open", "s", {f"k{n}": "v" * 199 for n in range(10_000)})
    await deliver(room, home)
    assert len(receiver.hits) == 2
    for hit in receiver.hits:
        assert len(hit.body) <= payload.LARGEST and text[:300].encode() not in hit.body
        assert msgspec.json.decode(hit.body)["data"]["organization"] == home.org
    await room.stop()


async def test_what_is_no_event_is_counted_and_raises_nothing(home: House, receiver: Receiver) -> None:
    room = await home.process()
    await endpoint(room, home, receiver.url)
    await asyncio.wait_for(room.tell(home.org, home.project, "not an event", "x"), 1)
    assert room.refused == 1
    assert await home.states() == {}
    await room.stop()


def test_the_mail_servers_password_comes_by_reference_and_is_not_shown() -> None:
    table = {"host": "mail.example", "sender": GATE, "password": {"env": "SMTP_PASSWORD"}}
    source = Source("test.toml", "")
    found = config.parse({"notifying": {"mail": table}}, source, {"SMTP_PASSWORD": "s3cret-pass"})
    assert found.notifying.mail.password == ApiKey("s3cret-pass")
    assert "s3cret" not in repr(found) + repr(shown(found))
    with pytest.raises(OstinatoError):
        config.parse({"notifying": {"mail": {**table, "password": "s3cret-pass"}}}, source, {})


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in (
        notifying.Settings(retry_seconds=()),
        notifying.Settings(concurrency=0),
        notifying.Settings(mail=Mail(host="mail.example")),
    ):
        with pytest.raises(Invalid):
            wrong.check()
