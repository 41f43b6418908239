"""Which addresses may be called."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import outbound
from ostinato.outbound import guard

NEVER = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[::169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/",
    "http://METADATA.google.internal./",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://[::]/",
    "http://255.255.255.255/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://[ff02::1]/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://[fe80::1%25eth0]/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://example.com@169.254.169.254/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/\r\nhost: x",
    "http://exa mple.com/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com/#fragment",
    "http:///path",
    "http://-bad.example/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "unix:/run/x.sock",
    "//example.com/",
    "example.com",
    "",
]
PRIVATE = [
    "http://127.0.0.1:8080/",
    "http://127.8.9.1/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://[::1]/",
    "http://[fd12::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
]


@pytest.mark.parametrize("url", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_some_addresses_are_never_called(url: str, allow_private: bool) -> None:
    with pytest.raises(outbound.Refused):
        guard.parse(url, allow_private=allow_private)


@pytest.mark.parametrize("url", PRIVATE)
def test_private_addresses_need_a_declaration(url: str) -> None:
    with pytest.raises(outbound.Refused, match="private"):
        guard.parse(url)
    assert guard.parse(url, allow_private=True).allow_private
    assert guard.spells_private(url)


def test_a_refusal_names_no_credentials() -> None:
    with pytest.raises(outbound.Refused) as refused:
        guard.parse("https://user:hunter2@example.com/")
    assert "hunter2" not in refused.value.sentence


def test_an_ordinary_url_is_taken_apart() -> None:
    endpoint = guard.parse("https://API.Example.com/v1/chat?api-version=1")
    assert (endpoint.scheme, endpoint.host, endpoint.port) == ("https", "api.example.com", 443)
    assert endpoint.target == "/v1/chat?api-version=1"
    assert endpoint.authority == "api.example.com"
    assert guard.parse("http://[2606:4700::1111]:8080/").authority == "[2606:4700::1111]:8080"
    assert guard.parse("https://bücher.example/").host == "xn--bcher-kva.example"


def test_a_private_spelling_is_recognised_without_a_look_up() -> None:
    assert guard.spells_private("http://localhost:8000/v1")
    assert not guard.spells_private("http://vllm:8000/v1")
    assert not guard.spells_private("https://api.openai.com/v1")
    assert not guard.spells_private("nonsense")


@given(st.ip_addresses())
def test_every_address_is_judged_as_its_innermost_self(address: guard.Address) -> None:
    try:
        guard.check(address, "host", allow_private=False)
    except outbound.Refused:
        return
    assert address.is_global
    assert guard.embedded(address) is None or (
        isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    )


@given(st.ip_addresses(v=4))
def test_mapping_an_address_into_ipv6_changes_nothing(address: ipaddress.IPv4Address) -> None:
    def verdict(candidate: guard.Address) -> bool:
        try:
            guard.check(candidate, "host", allow_private=False)
        except outbound.Refused:
            return False
        return True

    assert verdict(address) == verdict(ipaddress.IPv6Address(f"::ffff:{address}"))


def test_of_a_names_addresses_only_the_permitted_remain() -> None:
    mixed = ["8.8.8.8", "127.0.0.1", "8.8.8.8", "169.254.169.254", "2606:4700::1111"]
    assert guard.allowed(mixed, "host", allow_private=False) == ("8.8.8.8", "2606:4700::1111")
    with pytest.raises(outbound.Refused):
        guard.allowed(["127.0.0.1", "10.0.0.1"], "host", allow_private=False)
    with pytest.raises(outbound.Refused):
        guard.allowed([], "host", allow_private=True)
