"""What may be an address: judged when it is declared, and for URLs again at every try."""

import re
from urllib.parse import urlsplit

from ostinato.core.errors import Invalid
from ostinato.notifying.settings import Settings
from ostinato.outbound import guard

_LONGEST = 2_000
_RECIPIENTS = 20
_INWARD = "If that is meant, have the host named in `notifying.allow_private` of the server."
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


def checked(kind: str, address: str, settings: Settings) -> str:
    """``address`` as it is kept. Raises ``Invalid`` (``Refused`` of the guard) for what cannot be delivered to."""
    address = address.strip()
    if len(address) > _LONGEST:
        raise _wrong(f"An address has at most {_LONGEST} characters.")
    if kind == "email":
        return ",".join(recipients(address, settings))
    try:
        endpoint = guard.parse(address, allow_private=private(address, settings))
    except guard.Refused as refused:
        # What the guard proposes to whoever writes a configuration is not to be had here.
        refused.hint = _INWARD if "allow_private" in refused.hint else refused.hint
        raise
    if endpoint.scheme != "https" and not endpoint.allow_private:
        raise _wrong(
            "Messages go over https.", "Plain http is for hosts that `notifying.allow_private` of the server names."
        )
    return address


def private(url: str, settings: Settings) -> bool:
    """Whether the configuration allows the host of ``url`` to be on loopback or in a private network."""
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return False
    return host in settings.allow_private


def recipients(address: str, settings: Settings) -> tuple[str, ...]:
    """E-mail addresses, each once."""
    mail = settings.mail
    if not mail.host:
        raise _wrong("This server sends no e-mail.", "Its configuration must name one in [notifying.mail].")
    found = tuple(dict.fromkeys(one.strip() for one in address.split(",")))
    if not 1 <= len(found) <= _RECIPIENTS:
        raise _wrong(f"Name 1 to {_RECIPIENTS} e-mail addresses, with commas.")
    for one in found:
        if not _MAIL.fullmatch(one):
            raise _wrong("One of these is no e-mail address.")
        domain = one.rpartition("@")[2].lower()
        if mail.domains and domain not in mail.domains:
            raise _wrong(
                f"No mail is sent to {domain}.", "`notifying.mail.domains` of the server says where it may go."
            )
    return found


def shown(kind: str, address: str) -> str:
    """What everybody may see of it. Paths and queries of such URLs are secrets as often as not."""
    if kind == "email":
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}/…"


def _wrong(message: str, hint: str = "") -> Invalid:
    return Invalid(message, code="invalid_address", param="address", hint=hint)
