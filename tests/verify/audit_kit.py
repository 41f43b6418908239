"""Logs and bundles for tests of the verifier, made by the server's own code on SQLite."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ostinato import audit, storage, verify
from ostinato.audit.signing import Signer
from ostinato.core.clock import ManualClock


def deed(number: int, **fields: Any) -> audit.Deed:
    wanted = {
        "actor": f"key:{number % 3}",
        "principal": "principal:1",
        "action": "prompts:write",
        "resource": f"prompt:p/{number}",
        "org": "acme" if number % 2 else "beta",
        "after": {"text": "Grüße, “quoted” \u2028 and \\ / \x7f"},
        "reason": f"because {number}",
        "facts": {"version": number, "note": "naïve \x01"},
    }
    return audit.Deed(**{**wanted, **fields})


class Book:
    """A log on a database of its own."""

    def __init__(self, path: Path, origin: str = "log.test/audit") -> None:
        self.directory = storage.DataDirectory(path)
        self.directory.prepare()
        self.database = storage.open_database("control", self.directory.control)
        storage.migrate(self.database)
        self.clock = ManualClock()
        self.log = audit.Log(self.database, self.clock, settings=audit.Settings(origin=origin), secret=b"s" * 32)

    async def fill(self, leaves: int, every: int) -> None:
        """So many leaves, a checkpoint after each ``every`` and one at the end; one receipt."""
        await self.log.open(self.directory)
        for number in range(1, leaves):
            self.clock.advance(1)
            await self.log.record(deed(number))
            if number % every == 0:
                made = await self.log.checkpoint()
                assert made is not None
                await self.log.receive(made.size, "file:/elsewhere", {"path": "/elsewhere"})
        await self.log.checkpoint()

    async def bundle(self, **part: Any) -> bytes:
        return b"".join([chunk async for chunk in await self.log.export(**part)])

    async def notes(self) -> list[str]:
        return [one.note for one in await self.log.checkpoints()]

    def close(self) -> None:
        self.database.close()


def judged(data: bytes, path: Path, *notes: str, **options: Any) -> verify.Report:
    """What the verifier says of these bytes, given these notes from elsewhere."""
    file = path / "bundle"
    file.write_bytes(data)
    trusted = [verify.Trusted("elsewhere", verify.read_note(note)) for note in notes]
    return verify.verify(file, trusted, **options)


def rewritten(data: bytes, signer: Signer, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> bytes:
    """What somebody with the signing key can make of a bundle: other leaves, and everything else to match.

    ``change`` gets the bodies of the leaves and gives others.
    """
    lines = data.splitlines(keepends=True)
    header = json.loads(lines[0])
    bodies = [json.loads(line)["body"] for line in lines if line.startswith(b'{"leaf"')]
    sizes = {verify.read_note(json.loads(line)["checkpoint"]).size for line in lines if b'"checkpoint":' in line[:14]}
    bodies = change(bodies)
    tree, out, signed = verify.Tree(), [], 0
    for index, body in enumerate(bodies):
        raw = dumped({**body, "index": index})
        digest = verify.leaf_hash(raw)
        tree.add(digest)
        out.append(b'{"leaf":%d,"hash":"%s","body":%s}\n' % (index, digest.hex().encode(), raw))
        if index + 1 in sizes or index + 1 == len(bodies):
            out.append(dumped({"checkpoint": signer.note(index + 1, tree.root())}) + b"\n")
            signed += 1
    header |= {"to": len(bodies), "size": len(bodies)}
    whole = b"".join([dumped(header) + b"\n", *out])
    return whole + end(whole, signer, len(bodies), signed, 0)


def end(whole: bytes, signer: Signer, leaves: int, checkpoints: int, receipts: int) -> bytes:
    return ending(hashlib.sha256(whole).hexdigest(), signer, leaves, checkpoints, receipts)


def ending(digest: str, signer: Signer, leaves: int, checkpoints: int, receipts: int) -> bytes:
    """The last line of a bundle whose other lines have this digest."""
    signature = signer.sign(f"ostinato audit bundle\n{signer.name}\n{digest}\n")
    told = {"leaves": leaves, "checkpoints": checkpoints, "receipts": receipts, "sha256": digest, "key": signer.id}
    return dumped({"end": {**told, "signature": base64.b64encode(signature).decode()}}) + b"\n"


def dumped(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
