"""Secrets and personal data made up at run time: none of them is anywhere in the sources."""

import random
import string
from types import SimpleNamespace

import pytest

ALNUM = string.ascii_letters + string.digits


def _some(rng: random.Random, alphabet: str, length: int) -> str:
    # Never without a digit: no real key of this length is.
    text = "".join(rng.choice(alphabet) for _ in range(length - 1))
    return text + rng.choice(string.digits)


def luhn(digits: str) -> str:
    """``digits`` with the check digit of a card number after it."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        value = int(character) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def iban(country: str, account: str) -> str:
    """An IBAN with its two check digits."""
    number = int("".join(str(int(c, 36)) for c in account + country + "00"))
    return f"{country}{98 - number % 97:02d}{account}"


def secret(rng: random.Random) -> str:
    token = lambda n, alphabet=ALNUM: _some(rng, alphabet, n)  # noqa: E731
    return rng.choice(
        [
            "sk" + "-" + token(40),
            "sk" + "-proj-" + token(48, ALNUM + "-_"),
            "sk" + "-ant-api03-" + token(60),
            "AKIA" + token(16, string.ascii_uppercase + string.digits),
            "ghp" + "_" + token(36),
            "github" + "_pat_" + token(60),
            "xoxb" + "-" + token(12, string.digits) + "-" + token(24),
            "AIza" + token(35),
            "sk" + "_live_" + token(24),
            "ost" + "_" + token(8) + "_" + token(49),
            "hf" + "_" + token(34),
            "eyJ" + token(20) + "." + "eyJ" + token(40) + "." + token(43),
            "-----BEGIN "
            + "RSA PRIVATE KEY-----\n"
            + token(64)
            + "\n"
            + token(64)
            + "\n-----END "
            + "RSA PRIVATE KEY-----",
        ]
    )


def personal(rng: random.Random) -> str:
    digits = lambda n: "".join(rng.choice(string.digits) for _ in range(n))  # noqa: E731
    name = "".join(rng.choice(string.ascii_lowercase) for _ in range(6))
    card = luhn("4" + digits(14))
    amex = luhn("37" + digits(12))
    account = iban("DE", digits(18))
    return rng.choice(
        [
            f"{name}.{name}@mail.example.com",
            f"{name}+tag@example.co.uk",
            f"+49 170 {digits(7)}",
            f"+1 (415) {rng.randrange(200, 999)}-{digits(4)}",
            card,
            " ".join(card[i : i + 4] for i in range(0, 16, 4)),
            "-".join(card[i : i + 4] for i in range(0, 16, 4)),
            f"{amex[:4]} {amex[4:10]} {amex[10:]}",
            account,
            " ".join(account[i : i + 4] for i in range(0, 22, 4)),
            f"{rng.randrange(100, 600)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}".replace("666", "667"),
        ]
    )


@pytest.fixture(scope="session")
def canaries() -> SimpleNamespace:
    """``secret(rng)`` and ``personal(rng)``: one of many kinds; ``luhn`` and ``iban``: checksums."""
    return SimpleNamespace(secret=secret, personal=personal, luhn=luhn, iban=iban)
