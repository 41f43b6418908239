"""Checkpoints of other installations, kept here: what makes this one an anchor of theirs.

A log is known by its origin and the key of its first checkpoint. A later one is taken only with the proof that the log
it tells of begins with the one known here; a log that was rewritten, cut or split is refused, and that is written down.
"""

import logging

import msgspec
import sqlalchemy as sa

from ostinato import verify
from ostinato.audit import sequencer, tables
from ostinato.audit.model import Deed, Occasion
from ostinato.audit.sequencer import Sequencer
from ostinato.core.errors import Conflict, Invalid, LimitReached

_MOST_ORIGINS = 1_000

_log = logging.getLogger(__name__)


class Offer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checkpoint to be kept."""

    note: str
    key: str
    """The public key that signed it, ``NAME+HASH+KEY``."""
    proof: list[str] = []
    """Hexadecimal: that the log begins with the newest one known here (see ``GET /audit/witnesses``)."""


class Witnessed(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of another installation, as it is kept here."""

    origin: str
    size: int
    root: str
    note: str
    at: int


def newest(connection: sa.Connection, origin: str) -> Witnessed | None:
    """The largest checkpoint of an origin."""
    found = page(connection, origin, limit=1)
    return found[0] if found else None


def page(connection: sa.Connection, origin: str, *, below: int = 0, limit: int = 100) -> list[Witnessed]:
    """The checkpoints of an origin (of all: empty), the largest first; ``below``: of fewer leaves."""
    table = tables.witnessed
    chosen = sa.select(table).order_by(table.c.size.desc(), table.c.origin).limit(limit)
    if origin:
        chosen = chosen.where(table.c.origin == origin)
    if below:
        chosen = chosen.where(table.c.size < below)
    return [
        Witnessed(origin=row.origin, size=row.size, root=row.root.hex(), note=row.note, at=row.at)
        for row in connection.execute(chosen)
    ]


def accept(
    log: Sequencer, connection: sa.Connection, offer: Offer, deed: Deed, occasion: Occasion
) -> tuple[Witnessed, Conflict | None]:
    """Keep a checkpoint, with a leaf that tells of it; the second is the refusal where the log contradicts itself.

    Raises ``Invalid`` for what is no signed checkpoint, ``Conflict`` where it is older than the newest.
    """
    checkpoint, proof = _read(offer)
    # The head is locked first: two offers of one origin are judged one after the other.
    old = _locked(connection, checkpoint.origin)
    made = Witnessed(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        note=offer.note,
        at=log.clock.now(),
    )
    refusal = None if old is None else _contradiction(old, checkpoint, proof, verify.Verifier.read(offer.key))
    deed = msgspec.structs.replace(
        deed,
        resource=f"witness:{checkpoint.origin}",
        facts={"size": checkpoint.size, "root": checkpoint.root.hex()},
        outcome="done" if refusal is None else "denied",
    )
    if refusal is not None:
        _log.error("A checkpoint of %s was refused: %s", checkpoint.origin, refusal.message)
        log.append(connection, deed, occasion)
        return made, refusal
    if old is not None and old.size == checkpoint.size:
        return old, None
    connection.execute(
        sa.insert(tables.witnessed).values(
            origin=made.origin,
            size=made.size,
            root=checkpoint.root,
            note=made.note,
            at=made.at,
            actor=deed.actor[:255],
        )
    )
    log.append(connection, deed, occasion)
    return made, None


def _locked(connection: sa.Connection, origin: str) -> Witnessed | None:
    sequencer.lock(connection)
    old = newest(connection, origin)
    if old is None:
        count = connection.scalar(sa.select(sa.func.count(sa.distinct(tables.witnessed.c.origin)))) or 0
        if count >= _MOST_ORIGINS:
            raise LimitReached(f"Checkpoints of {_MOST_ORIGINS} logs are kept here already.", code="too_many_origins")
    return old


def _read(offer: Offer) -> tuple[verify.Checkpoint, list[bytes]]:
    try:
        key = verify.Verifier.read(offer.key)
        checkpoint = verify.read_note(offer.note)
        proof = [bytes.fromhex(one) for one in offer.proof]
        if not key.vouches(checkpoint):
            raise verify.Broken("the key did not sign it")
        if key.name != checkpoint.origin or len(checkpoint.origin) > 200 or len(offer.note) > 4_000:
            raise verify.Broken("a log's key has the log's name, of at most 200 characters")
    except (verify.Broken, ValueError) as error:
        raise Invalid(f"This is no signed checkpoint: {error}.", code="invalid_checkpoint", param="note") from None
    return checkpoint, proof


def _contradiction(old: Witnessed, new: verify.Checkpoint, proof: list[bytes], key: verify.Verifier) -> Conflict | None:
    """Why the new checkpoint cannot follow the old one, ``None`` where it can. Raises ``Conflict`` for an older one."""
    if not key.vouches(verify.read_note(old.note)):
        return Conflict(
            f"Checkpoints of {new.origin} that are kept here were signed by another key.",
            code="witness_key",
            hint="A log that has a new key needs a new origin.",
        )
    if new.size < old.size:
        raise Conflict(
            f"The newest checkpoint of {new.origin} here has {old.size} leaves; this one has {new.size}.",
            code="witness_older",
            hint="If that log has no more leaves than that, it was cut off or restored from a backup.",
        )
    if verify.consistency_holds(old.size, new.size, bytes.fromhex(old.root), new.root, proof):
        return None
    return Conflict(
        f"The checkpoint of {new.size} leaves does not follow from the one of {old.size} leaves that is kept here.",
        code="witness_inconsistent",
        hint="Its proof is missing or wrong, or the log was rewritten or split.",
    )
