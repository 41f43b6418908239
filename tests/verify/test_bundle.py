"""Whatever is done to a bundle is found, and where; what cannot be found without an anchor is told apart."""

import bisect
import gzip
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import audit_kit as kit

from ostinato import verify
from ostinato.audit.signing import Signer

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Made(NamedTuple):
    """A bundle of 9 leaves with checkpoints at 4, 7 and 9, and what it was made of."""

    data: bytes
    notes: list[str]
    signer: Signer
    part: bytes
    withheld: bytes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    import asyncio

    async def make() -> Made:
        book = kit.Book(tmp_path_factory.mktemp("book"))
        try:
            await book.fill(9, 3)
            whole, part = await book.bundle(), await book.bundle(start=5, end=6)
            return Made(whole, await book.notes(), book.log.signer, part, await book.bundle(org="acme"))
        finally:
            book.close()

    return asyncio.run(make())


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def test_what_was_exported_is_valid(made: Made, tmp_path: Path):
    report = kit.judged(made.data, tmp_path)
    assert report.problems == []
    assert (report.standing, report.first, report.end, report.size, report.checkpoints) == ("self-attested", 0, 9, 9, 3)
    assert report.signed_by == {made.signer.id} and report.own_key
    told = "\n".join(report.lines())
    assert "Chain valid: leaves 0 to 8" in told and "Self-attested" in told and "Anchored" not in told


def test_with_a_checkpoint_from_elsewhere_it_is_anchored(made: Made, tmp_path: Path):
    report = kit.judged(made.data, tmp_path, made.notes[1])
    assert (report.standing, report.anchored) == ("anchored", 7)
    told = "\n".join(report.lines())
    assert "Anchored: the first 7 leaves, by elsewhere." in told
    assert "Self-attested: leaves 7 to 8, which came after." in told
    assert kit.judged(made.data, tmp_path, *made.notes).anchored == 9


def test_a_key_of_ones_own_is_taken_in_the_place_of_the_bundles(made: Made, tmp_path: Path):
    mine = verify.Verifier.read(made.signer.verifier)
    report = kit.judged(made.data, tmp_path, key=mine)
    assert report.valid and not report.own_key
    other = verify.Verifier.read(Signer(made.signer.name, bytes(32)).verifier)
    report = kit.judged(made.data, tmp_path, key=other)
    assert any("not signed by the key you gave" in problem for problem in report.problems)


def unnoticed(made: Made, path: Path, places: Iterable[int], flips: Iterable[int]) -> list[Any]:
    """Where a flipped bit is not found; of leaves and checkpoints, more must be found than the whole's digest."""
    found: list[Any] = []
    starts = [0, *itertools.accumulate(len(line) for line in lines_of(made.data))]
    for at, flip in itertools.product(places, flips):
        changed = bytearray(made.data)
        changed[at] ^= flip
        problems = kit.judged(bytes(changed), path).problems
        line = made.data[starts[bisect.bisect_right(starts, at) - 1] :]
        named = [one for one in problems if not one.startswith("the bundle as a whole")]
        if not problems or (line.startswith((b'{"leaf"', b'{"checkpoint"')) and not named):
            found.append((at, flip, made.data[max(0, at - 20) : at + 20]))
    return found


def test_every_byte_of_every_kind_of_line_counts(made: Made, tmp_path: Path):
    lines = lines_of(made.data)
    kinds = ["header", *(next(iter(json.loads(line))) for line in lines[1:])]
    assert set(kinds) == {"header", "leaf", "checkpoint", "receipt", "end"}
    starts = [0, *itertools.accumulate(len(line) for line in lines)]
    chosen = [kinds.index(kind) for kind in ("header", "leaf", "checkpoint", "receipt", "end")]
    places = [at for number in chosen for at in range(starts[number], starts[number + 1])]
    assert unnoticed(made, tmp_path, places, [1]) == []


@pytest.mark.soak
def test_every_bit_counts(made: Made, tmp_path: Path):
    assert unnoticed(made, tmp_path, range(len(made.data)), [1 << bit for bit in range(8)]) == []


@given(data=st.data())
@QUICK
def test_any_other_byte_is_found(made: Made, tmp_path: Path, data: st.DataObject):
    at = data.draw(st.integers(0, len(made.data) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda found: found != made.data[at]))
    kind = data.draw(st.sampled_from(["replace", "insert", "delete"]))
    middle = {"replace": bytes([byte]), "insert": bytes([byte, made.data[at]]), "delete": b""}[kind]
    changed = made.data[:at] + middle + made.data[at + 1 :]
    assert changed == made.data or not kit.judged(changed, tmp_path).valid


@given(data=st.data())
@QUICK
def test_a_compressed_bundle_is_as_good(made: Made, tmp_path: Path, data: st.DataObject):
    packed = gzip.compress(made.data, mtime=0)
    assert kit.judged(packed, tmp_path).valid
    at = data.draw(st.integers(0, len(packed) - 1))
    changed = bytearray(packed)
    changed[at] ^= data.draw(st.integers(1, 255))
    if kit.judged(bytes(changed), tmp_path).valid:
        # Bytes of the wrapping that mean nothing, such as its time.
        assert gzip.decompress(bytes(changed)) == made.data


@given(data=st.data())
@QUICK
def test_lines_deleted_repeated_or_moved_are_found(made: Made, tmp_path: Path, data: st.DataObject):
    lines = lines_of(made.data)
    first, second = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    done = data.draw(st.sampled_from(["delete", "repeat", "swap", "cut"]))
    if done == "delete":
        del lines[first]
    elif done == "repeat":
        lines.insert(second, lines[first])
    elif done == "swap":
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines = lines[:first]
    assert (b"".join(lines) == made.data) or not kit.judged(b"".join(lines), tmp_path).valid


def test_a_changed_leaf_is_named(made: Made, tmp_path: Path):
    report = kit.judged(made.data.replace(b'"prompt:p/5"', b'"prompt:p/6"', 1), tmp_path)
    assert any(problem.startswith("leaf 5 was changed") for problem in report.problems)


def test_a_deleted_and_a_moved_leaf_are_named(made: Made, tmp_path: Path):
    lines = lines_of(made.data)
    at = next(number for number, line in enumerate(lines) if line.startswith(b'{"leaf":5,'))
    report = kit.judged(b"".join(lines[:at] + lines[at + 1 :]), tmp_path)
    assert any("leaf 5 missing" in problem for problem in report.problems), report.problems
    moved = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
    report = kit.judged(b"".join(moved), tmp_path)
    assert any("leaf 5 stands where leaf 7" in problem for problem in report.problems), report.problems


def test_a_leaf_that_was_changed_with_its_hash_is_found_between_two_checkpoints(made: Made, tmp_path: Path):
    lines = lines_of(made.data)
    at = next(number for number, line in enumerate(lines) if line.startswith(b'{"leaf":5,'))
    body = lines[at][len(b'{"leaf":5,"hash":"","body":') + 64 : -2].replace(b"p/5", b"p/6")
    lines[at] = b'{"leaf":5,"hash":"%s","body":%s}\n' % (verify.leaf_hash(body).hex().encode(), body)
    report = kit.judged(b"".join(lines), tmp_path)
    assert any(problem.startswith("leaves 4 to 6: something among them") for problem in report.problems)


def altered(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**body, "resource": "prompt:p/other"} if body["index"] == 5 else body for body in bodies]


def test_the_operator_can_rewrite_history_but_not_an_anchor(made: Made, tmp_path: Path):
    forged = kit.rewritten(made.data, made.signer, altered)
    assert kit.judged(forged, tmp_path).standing == "self-attested"
    report = kit.judged(forged, tmp_path, *made.notes)
    assert report.standing == "invalid"
    assert report.problems == [
        "leaves 4 to 6: history was rewritten or split; elsewhere holds another root for 7 leaves",
        "leaves 4 to 8: history was rewritten or split; elsewhere holds another root for 9 leaves",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda bodies: [*bodies[:5], *bodies[6:]],
        lambda bodies: [*bodies[:5], bodies[6], bodies[5], *bodies[7:]],
        lambda bodies: [*bodies[:5], bodies[0], *bodies[5:]],
    ],
    ids=["deleted", "moved", "repeated"],
)
def test_whatever_the_operator_does_an_anchor_shows_it(made: Made, tmp_path: Path, change: Any):
    forged = kit.rewritten(made.data, made.signer, change)
    assert kit.judged(forged, tmp_path).valid
    report = kit.judged(forged, tmp_path, *made.notes)
    assert any(problem.startswith("leaves 4 to 6: history was rewritten") for problem in report.problems)


def test_a_cut_off_end_is_found_only_against_an_anchor(made: Made, tmp_path: Path):
    cut = kit.rewritten(made.data, made.signer, lambda bodies: bodies[:7])
    assert kit.judged(cut, tmp_path).standing == "self-attested"
    assert "left out the newest leaves" in kit.judged(cut, tmp_path).lines()[-1]
    report = kit.judged(cut, tmp_path, *made.notes)
    assert [problem.partition(":")[0] for problem in report.problems] == ["truncated"]
    older = kit.judged(cut, tmp_path, *made.notes, allow_older=True)
    assert (older.standing, older.anchored) == ("anchored", 7)


def test_a_split_view_shows_against_one_anchor(made: Made, tmp_path: Path):
    """Two histories, both signed: each is valid alone, only one agrees with the anchor."""
    forged = kit.rewritten(made.data, made.signer, altered)
    checkpoints = [json.loads(line)["checkpoint"] for line in lines_of(forged) if line.startswith(b'{"checkpoint"')]
    assert kit.judged(forged, tmp_path, *checkpoints).standing == "anchored"
    assert kit.judged(made.data, tmp_path, *checkpoints).standing == "invalid"


def test_an_anchor_of_another_log_is_no_anchor(made: Made, tmp_path: Path):
    other = Signer("other.test/audit", bytes(32)).note(9, bytes(32))
    report = kit.judged(made.data, tmp_path, other)
    assert report.problems == ["elsewhere holds no checkpoint of log.test/audit"]


def test_a_part_is_bound_to_the_checkpoints_around_it(made: Made, tmp_path: Path):
    report = kit.judged(made.part, tmp_path)
    assert report.problems == []
    assert (report.first, report.end, report.size) == (4, 7, 9)
    assert "a part: the log had 9" in report.lines()[0]
    assert kit.judged(made.part, tmp_path, *made.notes).anchored == 7
    # How large the log was is its own word: leaves that are known elsewhere and not shown are told.
    assert kit.judged(made.part, tmp_path, made.notes[1]).beyond == 0
    for notes in (made.notes, made.notes[2:]):
        told = kit.judged(made.part, tmp_path, *notes)
        assert told.beyond == 9 and any("Not shown: leaves 7 to 8" in line for line in told.lines())
    header, *rest = lines_of(made.part)
    frontier = json.loads(header)["frontier"][0]
    wrong = header.replace(frontier.encode(), b"0" * 64)
    assert any("frontier" in problem for problem in kit.judged(wrong + b"".join(rest), tmp_path).problems)


def test_leaves_of_others_are_there_as_hashes_alone(made: Made, tmp_path: Path):
    report = kit.judged(made.withheld, tmp_path, *made.notes)
    assert report.problems == [] and report.anchored == 9
    assert report.withheld == sum(len(json.loads(line)) == 2 for line in lines_of(made.withheld)) > 0
    assert b'"org":"beta"' not in made.withheld and b'"org":"acme"' in made.withheld
    assert any("hashes alone" in line for line in report.lines())
    # Who takes a body away from a bundle that had it has changed the bundle.
    line = next(line for line in lines_of(made.data) if line.startswith(b'{"leaf":3,'))
    assert not kit.judged(made.data.replace(line, line[:83] + b'"}\n'), tmp_path).valid


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"{}\n", b"[" * 5000, b"\xff\xfe", b"null\n", b'{"format":1}\n', b"\x1f\x8b"]
)
def test_what_is_no_bundle_is_refused(data: bytes, tmp_path: Path):
    report = kit.judged(data, tmp_path)
    assert report.problems and report.standing == "invalid"


@given(st.binary(max_size=200))
@QUICK
def test_nothing_makes_it_fail(tmp_path: Path, data: bytes):
    assert not kit.judged(data, tmp_path).valid
    assert not kit.judged(b'{"format":"ostinato-audit-1"' + data, tmp_path).valid


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ostinato.verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_runs_by_itself(made: Made, tmp_path: Path):
    bundle, anchor = tmp_path / "b", tmp_path / "anchor"
    bundle.write_bytes(made.data)
    anchor.write_text("\n".join(made.notes))
    (tmp_path / "key").write_text(made.signer.verifier + "\n")
    told = run(str(bundle), "--anchor", str(anchor), "--public-key", str(tmp_path / "key"), "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["standing"] == "anchored"
    bundle.write_bytes(made.data[:-5])
    assert run(str(bundle)).returncode == 1
    assert run(str(tmp_path / "nothing")).returncode == 2
    anchor.write_text("nonsense")
    failed = run(str(bundle), "--anchor", str(anchor))
    assert failed.returncode == 2 and "checkpoint" in failed.stderr


def test_it_needs_nothing_of_the_server(made: Made, tmp_path: Path):
    (tmp_path / "b").write_bytes(made.data)
    code = (
        "import sys, pathlib\nfrom ostinato import verify\n"
        f"assert verify.verify(pathlib.Path({str(tmp_path / 'b')!r})).valid\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'ostinato'))\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    ours, theirs = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert all(name == "ostinato" or name.startswith("ostinato.verify") for name in eval(ours))
    assert {"msgspec", "sqlalchemy", "blake3", "litestar", "click"}.isdisjoint(eval(theirs))
    assert "cryptography" in eval(theirs)
