"""What an operator can set about the audit log: ``[audit]`` in the configuration."""

import re
from pathlib import Path

import msgspec

from ostinato.core.errors import Invalid
from ostinato.providers import ApiKey

ANCHORS = ("file", "git", "ostinato")
"""Kinds of anchors."""


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place beyond this server's reach where checkpoints are left, so that an outsider can compare."""

    kind: str
    """``file``, ``git`` or ``ostinato`` (another instance)."""
    path: str = ""
    """Of the file, or of the git repository's work tree."""
    push: str = ""
    """For ``git``: the name of the remote to push each commit to, such as ``origin``; empty: none."""
    url: str = ""
    """For ``ostinato``: where the other instance is, e.g. ``https://audit.example.org``."""
    api_key: ApiKey | None = None
    """For ``ostinato``: a key of the other instance with the permission ``audit:witness``, as ``{ env = "NAME" }`` or
    ``{ file = "PATH" }``."""
    allow_private: bool = False
    """For ``ostinato``: whether its address may be a loopback or private one."""

    @property
    def name(self) -> str:
        """The anchor as receipts and messages name it."""
        return f"{self.kind}:{self.url or self.path}"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Checkpoints are made by themselves; anchors are the operator's choice."""

    checkpoint_seconds: float = 60.0
    """A checkpoint is signed at the latest so long after a leaf was added."""
    checkpoint_leaves: int = 1000
    """Or as soon as about so many leaves were added."""
    origin: str = ""
    """Name of this log in checkpoints, e.g. ``audit.example.org/ostinato``; empty: one made from a random number. Set
    it before the first checkpoint, and leave it."""
    signing_key: str = ""
    """File with the private key (32 bytes, mode 0600), to keep it away from the database where several processes share
    one; empty: ``keys/audit-signing`` in the data directory, or in the database, wrapped, when scaled out."""
    anchors: tuple[Anchor, ...] = ()

    @property
    def signing_path(self) -> Path:
        """``signing_key`` as a path."""
        return Path(self.signing_key).expanduser()

    def check(self) -> None:
        """Raise :class:`Invalid` naming the field that cannot be."""
        if not 1 <= self.checkpoint_leaves <= 1_000_000:
            raise _wrong("checkpoint_leaves", f"is {self.checkpoint_leaves}; it must be from 1 to 1000000")
        if not 0.1 <= self.checkpoint_seconds <= 86_400:
            raise _wrong("checkpoint_seconds", f"is {self.checkpoint_seconds}; it must be from 0.1 to 86400")
        if len(self.origin) > 200 or any(c.isspace() or c == "+" or not c.isprintable() for c in self.origin):
            raise _wrong("origin", "must be at most 200 characters, without spaces and plus signs")
        for number, anchor in enumerate(self.anchors):
            where = f"anchors[{number}]"
            if anchor.kind not in ANCHORS:
                raise _wrong(f"{where}.kind", f"is {anchor.kind!r}; the kinds are: {', '.join(ANCHORS)}")
            if anchor.push and not re.fullmatch(r"\w[\w.-]*", anchor.push):
                # An address might hold a password, which has no place here.
                raise _wrong(f"{where}.push", "must be the name of a remote; `git remote add` gives it an address")
            if anchor.kind == "ostinato" and not (anchor.url and anchor.api_key):
                raise _wrong(f"{where}.url", "and api_key are needed to reach another instance")
            if anchor.kind != "ostinato" and not anchor.path:
                raise _wrong(f"{where}.path", "is missing")


def _wrong(name: str, what: str) -> Invalid:
    return Invalid(f"audit.{name} {what}.", code="invalid_setting", param=f"audit.{name}")
