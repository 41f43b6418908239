"""A message as an e-mail, by the server of ``[notifying.mail]``. Blocking: to be called in a thread."""

import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, cast

import msgspec

from ostinato.notifying.model import Message, Sent
from ostinato.notifying.settings import Mail
from ostinato.notifying.slack import headline


def letter(message: Message, settings: Mail, to: Sequence[str]) -> EmailMessage:
    """The letter. Its ``Message-ID`` is the message's: of two tries that both arrive, one can be known to be the
    other."""
    told = cast("dict[str, Any]", msgspec.json.decode(message.body))
    made = EmailMessage()
    made["From"] = settings.sender
    made["To"] = ", ".join(to)
    made["Subject"] = _line(f"[Ostinato] {headline(message.event, message.subject, told['data'])}")
    made["Date"] = format_datetime(datetime.fromtimestamp(message.at / 1_000_000, UTC))
    made["Message-ID"] = f"<{message.id}@{settings.sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-Ostinato-Event"] = message.event
    data = cast("dict[str, Any]", told["data"])
    lines = [f"{name}: {_value(value)}" for name, value in data.items() if value not in ("", None, {})]
    made.set_content("\n".join([message.event, str(told["timestamp"]), "", *lines, ""]))
    return made


def send(message: Message, settings: Mail, to: Sequence[str]) -> Sent:
    """Hand the letter over; what the server says of it."""
    tls = ssl.create_default_context(cafile=settings.ca_file or None)
    try:
        with _connected(settings, tls) as server:
            if settings.security == "starttls":
                server.starttls(context=tls)
            if settings.user:
                server.login(settings.user, settings.password.reveal() if settings.password else "")
            refused = server.send_message(letter(message, settings, to))
    except smtplib.SMTPResponseException as error:
        # Words of the server may hold what was sent to it.
        return Sent(ok=False, status=error.smtp_code, said=f"the mail server answered {error.smtp_code}")
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        return Sent(ok=False, status=codes[0] if codes else 0, said=f"no recipient was taken ({codes})")
    except (smtplib.SMTPException, OSError) as error:
        return Sent(ok=False, said=f"the mail server cannot be used ({type(error).__name__})")
    # Taken for some: trying all again would repeat it to them.
    return Sent(ok=True, status=250, said=f"{len(refused)} of the recipients were refused" if refused else "")


def _connected(settings: Mail, tls: ssl.SSLContext) -> smtplib.SMTP:
    if settings.security == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=settings.timeout, context=tls)
    return smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout)


def _line(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)[:200]


def _value(value: object) -> str:
    return _line(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
