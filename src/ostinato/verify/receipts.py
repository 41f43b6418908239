"""Receipts of erasures, checked offline: signature, leaf, inclusion, and what the leaf says of the receipt."""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

from ostinato.verify.checkpoints import Verifier, read_note
from ostinato.verify.trees import Broken, inclusion_holds, leaf_hash

FORMAT = "ostinato-erasure-1"


def signed_text(origin: str, digest: str) -> str:
    """What the signature of a receipt is made of."""
    return f"ostinato erasure receipt\n{origin}\n{digest}\n"


def check_receipt(receipt: dict[str, Any], keys: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with a receipt; an empty list: nothing. ``keys``: verifier keys that are trusted; without any, the
    receipt's own is taken, and the list is about its being in itself consistent only."""
    try:
        return _check(receipt, keys)
    except (Broken, KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        return [f"it cannot be read: {type(error).__name__}: {str(error)[:200]}"]


def commits(receipt: dict[str, Any], opening: str, *, user: str = "", sessions: Any = (), requests: Any = ()) -> bool:
    """Whether a receipt is of this subject, for whoever was told its opening."""
    named = commitment(bytes.fromhex(opening), user, sessions, requests)
    return hmac.compare_digest(named, str(receipt["erasure"]["subject"]))


def commitment(opening: bytes, user: str, sessions: Any, requests: Any) -> str:
    """The subject as receipts tell it."""
    told = {"requests": sorted(requests), "sessions": sorted(sessions), "user": user}
    return hmac.new(opening, _canonical(told), hashlib.sha256).hexdigest()


def _check(receipt: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    if receipt["format"] != FORMAT:
        return [f"it is no receipt of the form {FORMAT}"]
    digest = hashlib.sha256(_canonical(receipt["erasure"])).hexdigest()
    if digest != receipt["digest"]:
        found.append("what it tells is not what its digest was made of")
    if keys and receipt["key"] not in keys:
        found.append("it is signed by a key that is not trusted")
    verifier = Verifier.read(receipt["key"])
    if not verifier.signed(signed_text(verifier.name, digest).encode(), base64.b64decode(receipt["signature"])):
        found.append("its signature is not its key's")
    proof, body = receipt["proof"], receipt["leaf"].encode()
    leaf = json.loads(body)
    if leaf_hash(body).hex() != proof["leaf_hash"] or leaf["index"] != proof["index"]:
        found.append("the leaf is not the one that is proven")
    if leaf.get("facts", {}).get("receipt") != digest:
        found.append("the leaf speaks of another receipt")
    if leaf["action"] != "retention:erase" or leaf["resource"] != f"erasure:{receipt['erasure']['id']}":
        found.append("the leaf is about something else")
    path = [bytes.fromhex(one) for one in proof["path"]]
    root = bytes.fromhex(proof["root"])
    if not inclusion_holds(proof["index"], proof["size"], bytes.fromhex(proof["leaf_hash"]), path, root):
        found.append("the proof does not lead to its root")
    note = read_note(proof["checkpoint"])
    if note.size != proof["size"] or note.root != root or not verifier.vouches(note):
        found.append("the checkpoint is not of this root, or not signed by this key")
    return found


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
