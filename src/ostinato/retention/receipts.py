"""Receipts: what was erased, tied to the audit log's leaf, signed, with the proof that the leaf is in the log."""

import base64
import hashlib

import msgspec

from ostinato import audit
from ostinato.core import hashing
from ostinato.core.errors import Conflict
from ostinato.retention.model import Erasure, Receipt
from ostinato.verify import receipts as offline
from ostinato.wire.model import Json

FORMAT = offline.FORMAT
_TOLD = (
    "id",
    "org",
    "project",
    "state",
    "subject",
    "reference",
    "requested_at",
    "done_at",
    "stores",
    "holds",
    "quoted",
    "intent_leaf",
)


def core(erasure: Erasure) -> Json:
    """What a receipt tells: all that is known of an erasure before its outcome is written down."""
    told = msgspec.to_builtins(erasure)
    return {"format": FORMAT, **{name: told[name] for name in _TOLD}}


def digest(erasure: Erasure) -> str:
    """SHA-256 of the canonical JSON of :func:`core`: a fact of the outcome's leaf."""
    return hashlib.sha256(hashing.canonical_json(core(erasure))).hexdigest()


async def receipt(log: audit.Log, erasure: Erasure) -> Receipt:
    """The receipt of an erasure that has come to its end; a checkpoint is signed if none covers it. Raises
    ``Conflict`` while it is under way."""
    if erasure.outcome_leaf is None or erasure.state == "running":
        raise Conflict(
            "The erasure is not done yet.", code="erasure_running", hint="Look again in a moment.", retry_after=2.0
        )
    leaf = erasure.outcome_leaf
    proof = await log.prove(leaf)
    if not proof.checkpoint:
        await log.sign()
        proof = await log.prove(leaf)
    entry = await log.show(leaf)
    told = digest(erasure)
    signer = log.signer
    signature = signer.sign(offline.signed_text(signer.name, told))
    return Receipt(
        format=FORMAT,
        erasure=core(erasure),
        digest=told,
        leaf=hashing.canonical_json(msgspec.to_builtins(entry.leaf)).decode(),
        proof=msgspec.to_builtins(proof),
        key=signer.verifier,
        signature=base64.b64encode(signature).decode(),
    )
