"""G3: an outsider verifies a million leaves within a minute."""

import hashlib
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import audit_kit as kit

from ostinato import verify
from ostinato.audit.signing import Signer


def written(path: Path, leaves: int, every: int = 1000) -> None:
    """A bundle as the server writes them, without the server: it would take a while."""
    signer, tree, digest = Signer("log.test/audit", bytes(32)), verify.Tree(), hashlib.sha256()
    header = {"format": "ostinato-audit-1", "origin": signer.name, "keys": [signer.verifier]}
    header |= {"from": 0, "to": leaves, "size": leaves, "frontier": []}
    with path.open("wb") as file:

        def put(line: bytes) -> None:
            digest.update(line)
            file.write(line)

        put(kit.dumped(header) + b"\n")
        body = {"actor": f"key:{7:032x}", "principal": f"principal:{8:032x}", "action": "prompts:write"}
        body |= {"at": 1_760_000_000_000_000, "org": f"{1:032x}", "project": f"{2:032x}", "after": "a" * 64}
        plain = kit.dumped({**body, "facts": {"version": 3}, "resource": "prompt:p/support"})
        for index in range(leaves):
            raw = plain[:-1] + b',"index":%d}' % index
            leaf = verify.leaf_hash(raw)
            tree.add(leaf)
            put(b'{"leaf":%d,"hash":"%s","body":%s}\n' % (index, leaf.hex().encode(), raw))
            if (index + 1) % every == 0:
                put(kit.dumped({"checkpoint": signer.note(index + 1, tree.root())}) + b"\n")
        file.write(kit.ending(digest.hexdigest(), signer, leaves, leaves // every, 0))


@pytest.mark.parametrize("leaves", [10_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_large_bundle(leaves: int, tmp_path: Path):
    path = tmp_path / "bundle"
    written(path, leaves)
    began = time.perf_counter()
    report = verify.verify(path)
    took = time.perf_counter() - began
    assert report.valid and report.end == leaves, report.problems
    print(f"{leaves} leaves in {took:.1f} s, {leaves / took:,.0f} a second")
    if leaves == 1_000_000:
        assert took <= 60
