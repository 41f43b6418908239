"""The key that signs checkpoints: a file in the data directory, or one that all processes share."""

import base64
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ostinato import storage, verify
from ostinato.audit import keys, tables
from ostinato.core.errors import Conflict, Invalid

KEY_FILE = "audit-signing"
"""Name of the key file in the data directory."""


class Signer:
    """Signs texts in the name of a log; ``verifier`` is what others check them with."""

    def __init__(self, name: str, private: bytes) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._hash = verify.key_hash(name, public)
        self.id = f"{name}+{self._hash.hex()}"
        """Name and hash: short, and enough to tell keys apart."""
        encoded = base64.b64encode(b"\x01" + public).decode()
        self.verifier = f"{self.id}+{encoded}"
        """The public key, as C2SP writes it: ``NAME+HASH+KEY``."""

    def sign(self, text: str) -> bytes:
        """The bare signature of a text."""
        return self._key.sign(text.encode())

    def line(self, text: str) -> str:
        """The signature as a line of a signed note."""
        return f"\u2014 {self.name} {base64.b64encode(self._hash + self.sign(text)).decode()}\n"

    def note(self, size: int, root: bytes) -> str:
        """A checkpoint: what is signed, an empty line, the signature."""
        text = f"{self.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        return f"{text}\n{self.line(text)}"


def from_file(name: str, path: Path) -> Signer:
    """The signer of a key file that the operator keeps. Raises ``Invalid``."""
    try:
        private = path.expanduser().read_bytes()
    except OSError as error:
        raise Invalid(
            f"The signing key {path} cannot be read: {error.strerror}.",
            code="signing_key",
            param="audit.signing_key",
            hint=f"Make one: (umask 077; head -c 32 /dev/urandom > {path})",
        ) from None
    if len(private) != keys.KEY_BYTES:
        raise Invalid(
            f"The signing key {path} has {len(private)} bytes, not {keys.KEY_BYTES}.",
            code="signing_key",
            param="audit.signing_key",
        )
    return Signer(name, private)


def from_directory(name: str, directory: storage.DataDirectory) -> Signer:
    """The signer of an embedded server: a key file of mode 0600, made at the first start."""
    private = directory.read_key(KEY_FILE)
    if private is None:
        private = keys.new_key()
        directory.write_key(KEY_FILE, private)
    if len(private) != keys.KEY_BYTES:
        raise Conflict(
            f"The key file {KEY_FILE!r} is damaged.", code="signing_key", hint="Restore it from a backup of keys/."
        )
    return Signer(name, private)


def shared(connection: sa.Connection, name: str, vault: keys.Vault) -> tuple[Signer, bytes]:
    """The signer that processes on several machines share, and how it lies in the database; made where there is none.
    The caller holds the head, and registers it."""
    table = tables.signer
    rows = connection.execute(
        sa.select(table.c.wrapped).where(table.c.wrapped.is_not(None)).order_by(table.c.created_at.desc())
    )
    for row in rows:
        private = vault.unwrap(row.wrapped, f"signer {name}")
        if private is not None:
            return Signer(name, private), row.wrapped
    private = keys.new_key()
    return Signer(name, private), vault.wrap(private, f"signer {name}")


def register(connection: sa.Connection, signer: Signer, now: int, wrapped: bytes | None = None) -> bool:
    """Write a key down among those that sign; whether it is new. ``wrapped``: where it is shared."""
    table = tables.signer
    if connection.scalar(sa.select(table.c.created_at).where(table.c.verifier == signer.verifier)) is not None:
        return False
    connection.execute(sa.insert(table).values(verifier=signer.verifier, created_at=now, wrapped=wrapped))
    return True


def verifiers(connection: sa.Connection) -> list[str]:
    """Every public key that has signed, the oldest first."""
    table = tables.signer
    return list(connection.scalars(sa.select(table.c.verifier).order_by(table.c.created_at, table.c.verifier)))
