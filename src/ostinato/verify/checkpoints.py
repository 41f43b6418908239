"""Checkpoints and keys in the forms of C2SP: signed-note, tlog-checkpoint."""

import base64
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from ostinato.verify.trees import Broken

_ALGORITHM = b"\x01"
"""C2SP's number for Ed25519."""


class Checkpoint(NamedTuple):
    """A signed note: ``text`` is what is signed, ``signatures`` are (name, key hash, signature)."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]


class Verifier(NamedTuple):
    """A public key in C2SP's form ``NAME+HASH+KEY``."""

    name: str
    hash: bytes
    key: bytes

    @classmethod
    def read(cls, text: str) -> "Verifier":
        """Raises ``Broken``."""
        name, _, rest = text.strip().partition("+")
        short, _, encoded = rest.partition("+")
        key = from_base64(encoded, "the public key")
        if not name or len(key) != 33 or key[:1] != _ALGORITHM or short != key_hash(name, key[1:]).hex():
            raise Broken(f"{text.strip()[:80]!r} is not an Ed25519 key in the form NAME+HASH+KEY")
        return cls(name, bytes.fromhex(short), key[1:])

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made ``signature``."""
        try:
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - proofs need only the standard library
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
        except ImportError:
            raise Broken("signatures cannot be checked: pip install cryptography") from None
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True

    def vouches(self, checkpoint: Checkpoint) -> bool:
        """Whether one of a checkpoint's signatures is this key's."""
        return any(
            name == self.name and short == self.hash and self.signed(checkpoint.text, signature)
            for name, short, signature in checkpoint.signatures
        )


def key_hash(name: str, key: bytes) -> bytes:
    """The four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ALGORITHM + key).digest()[:4]


def read_note(note: str) -> Checkpoint:
    """A checkpoint. Raises ``Broken`` unless it is written in the one way that there is."""
    text, gap, rest = note.partition("\n\n")
    lines = text.split("\n")
    if not gap or len(lines) != 3 or not rest.endswith("\n"):
        raise Broken("a checkpoint has three lines, an empty one, and signatures")
    origin, size, root = lines
    if not origin or not (size.isascii() and size.isdigit() and len(size) < 20 and str(int(size)) == size):
        raise Broken("a checkpoint names its origin and size")
    signatures: list[tuple[str, bytes, bytes]] = []
    for line in rest[:-1].split("\n"):
        dash, name, encoded = [*line.split(" "), "", "", ""][:3]
        signature = from_base64(encoded, "a signature")
        if dash != "\u2014" or not name or line.count(" ") != 2 or len(signature) < 5:
            raise Broken("a line of signature begins with a dash and a name")
        signatures.append((name, signature[:4], signature[4:]))
    digest = from_base64(root, "a root")
    if len(digest) != 32:
        raise Broken("a root has 32 bytes")
    return Checkpoint(origin, int(size), digest, (text + "\n").encode(), tuple(signatures))


def read_notes(text: str) -> Iterator[Checkpoint]:
    """The checkpoints in a text, one after the other with empty lines between. Raises ``Broken``."""
    blocks = [block for block in text.replace("\r\n", "\n").strip("\n").split("\n\n") if block.strip("\n")]
    if len(blocks) % 2:
        raise Broken("every checkpoint is followed by an empty line and its signatures")
    for body, signatures in zip(blocks[::2], blocks[1::2], strict=True):
        yield read_note(body.strip("\n") + "\n\n" + signatures.strip("\n") + "\n")


def from_base64(text: str, what: str) -> bytes:
    """Bytes, from the one way of writing them. Raises ``Broken``."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Broken(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Broken(f"{what} is not written as base64 is")
    return data
