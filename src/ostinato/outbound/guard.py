"""Which addresses Ostinato may call: the guard against server-side request forgery.

Two checks. The *text* of a URL is checked when it is parsed: scheme, user information, odd spellings of an address.
The *address* is checked after the name was resolved, and the connection goes to the very address that was checked, so
that a name which changes its mind in between (DNS rebinding) gains nothing. Redirects are never followed.

Link-local, metadata, multicast and reserved addresses are refused always; loopback and private ones unless the place
that declares the URL says ``allow_private``.
"""

import ipaddress
import re
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from ostinato.outbound.errors import Refused

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "instance-data"}
)
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\.?")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*\.?")
_EMBEDDING = tuple(
    # Network, and the bits to shift out so that the IPv4 address inside remains.
    (ipaddress.IPv6Network(network), shift)
    for network, shift in (("::ffff:0:0/96", 0), ("::/96", 0), ("64:ff9b::/96", 0), ("2002::/16", 80))
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_TEREDO = ipaddress.IPv6Network("2001::/32")


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """A URL that passed the check of its text."""

    scheme: str
    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int
    target: str
    """Path and query, as they go into the request line."""
    allow_private: bool

    @property
    def authority(self) -> str:
        """What the ``host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str, *, allow_private: bool = False) -> Endpoint:
    """The parts of ``url``; raises :class:`Refused` where its text alone is reason enough."""
    if not url.isprintable() or " " in url or "\\" in url:
        raise Refused("The URL holds a space, a backslash or a control character.")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").lower()
    except ValueError as error:
        raise Refused("The URL cannot be read.", hint="Write https://host/path.") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise Refused(f"Only http and https are called, not {parts.scheme or 'nothing'!s}.")
    if "@" in parts.netloc:
        raise Refused("A URL with user name or password is refused.", hint="Give credentials in their own setting.")
    if parts.fragment or port == 0 or not host:
        raise Refused("The URL needs a host, a port above 0 if any, and no fragment.", hint="Write https://host/path.")
    host = _checked_host(host, allow_private=allow_private)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        raise Refused("The path of the URL must be percent-encoded.")
    return Endpoint(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], target, allow_private)


def _checked_host(host: str, *, allow_private: bool) -> str:
    literal = literal_address(host)
    if literal is not None:
        check(literal, host, allow_private=allow_private)
        return str(literal)
    if _NUMERIC.fullmatch(host):
        raise Refused(
            f"{host!r} is an unusual spelling of an address.", hint="Write four plain decimal numbers, or the name."
        )
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError as error:
            raise Refused("The host name cannot be encoded.") from error
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise Refused("The host name is malformed.")
    if host.rstrip(".") in _METADATA_NAMES:
        raise Refused(f"{host!r} is a cloud metadata service; it is never called.")
    return host


def literal_address(host: str) -> Address | None:
    """The address that ``host`` spells in its usual form, or ``None`` if it is a name."""
    if "%" in host:
        raise Refused("An address with a zone is refused.")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def spells_private(url: str) -> bool:
    """Whether ``url`` itself, without any look-up, says loopback or a private address: nobody is deceived by it."""
    try:
        host = (urlsplit(url).hostname or "").lower()
        address = literal_address(host)
    except (ValueError, Refused):
        return False
    if address is None:
        return host == "localhost"
    return not address.is_global


def check(address: Address, host: str, *, allow_private: bool) -> None:
    """Raise :class:`Refused` unless ``address``, to which ``host`` leads, may be called."""
    inner = embedded(address)
    if inner is not None:
        check(inner, host, allow_private=allow_private)
        if not (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped):
            # Tunnels and translators: where the packet ends up is not ours to know.
            raise Refused(f"{host!r} leads to an address that wraps another one; it is not called.")
        return
    if address in _METADATA_ADDRESSES:
        raise Refused(f"{host!r} is a cloud metadata service; it is never called.")
    if address.is_link_local or address.is_multicast or address.is_unspecified or _reserved(address):
        raise Refused(f"{host!r} leads to a link-local, multicast or reserved address; it is never called.")
    if not allow_private and not address.is_global:
        raise Refused(
            f"{host!r} leads to a loopback or private address.",
            hint="If that is meant, say `allow_private = true` where this URL is declared.",
        )


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address carries (mapped, compatible, NAT64, 6to4, Teredo)."""
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return None
    for network, shift in _EMBEDDING:
        if address in network:
            return ipaddress.IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
    if address in _TEREDO:
        return ipaddress.IPv4Address(~int(address) & 0xFFFF_FFFF)
    if address in _LOCAL_NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _reserved(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_reserved or int(address) >> 24 == 0
    return address.is_reserved and not address.is_loopback


def allowed(addresses: list[str], host: str, *, allow_private: bool) -> tuple[str, ...]:
    """Those of the ``addresses`` of ``host`` that may be called, in order, once each; raises if there are none."""
    passed: list[str] = []
    refusal: Refused | None = None
    for text in addresses:
        try:
            check(ipaddress.ip_address(text), host, allow_private=allow_private)
        except Refused as error:
            refusal = error
            continue
        if text not in passed:
            passed.append(text)
    if not passed:
        raise refusal or Refused(f"{host!r} has no address.")
    return tuple(passed)
