"""Three implementations of the same tree: the log's, the verifier's, and the naive one of the RFC's own words."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import verify
from ostinato.audit import tree

# The reference vectors of Certificate Transparency: leaves, and the root of the first n of them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def split(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def root(data: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return leaf(data[0])
    k = split(len(data))
    return hashlib.sha256(b"\1" + root(data[:k]) + root(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(data) == 1:
        return []
    k = split(len(data))
    return [*path(m, data[:k]), root(data[k:])] if m < k else [*path(m - k, data[k:]), root(data[:k])]


def proof(m: int, data: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(data):
        return [] if whole else [root(data)]
    k = split(len(data))
    if m <= k:
        return [*proof(m, data[:k], whole), root(data[k:])]
    return [*proof(m - k, data[k:], False), root(data[:k])]


def grown(data: list[bytes]) -> tuple[list[bytes], dict[int, bytes]]:
    """The log's frontier, and everything that it stores."""
    frontier: list[bytes] = []
    stored: dict[int, bytes] = {}
    for index, one in enumerate(data):
        stored[tree.place(0, index)] = leaf(one)
        stored.update(tree.grow(index, frontier, leaf(one)))
    return frontier, stored


def test_the_vectors_of_certificate_transparency():
    seen = verify.Tree()
    for size, expected in enumerate(ROOTS):
        assert root(LEAVES[:size]).hex() == tree.root(grown(LEAVES[:size])[0]).hex() == seen.root().hex() == expected
        if size < len(LEAVES):
            seen.add(verify.leaf_hash(LEAVES[size]))


@given(st.integers(1, 200), st.data())
@settings(max_examples=150, deadline=None)
def test_roots_and_proofs_agree(size: int, drawn: st.DataObject):
    data = [b"%d" % number for number in range(size)]
    frontier, stored = grown(data)
    assert tree.unpack(tree.pack(frontier)) == frontier
    assert len(stored) == 2 * size - size.bit_count()
    old = drawn.draw(st.integers(0, size))
    index = drawn.draw(st.integers(0, size - 1))
    assert tree.hash_of((0, old), stored) == root(data[:old])
    included = [tree.hash_of(span, stored) for span in tree.inclusion(index, size)]
    assert included == path(index, data)
    assert verify.inclusion_holds(index, size, leaf(data[index]), included, root(data))
    consistent = [tree.hash_of(span, stored) for span in tree.consistency(old, size)]
    assert consistent == (proof(old, data) if old else [])
    assert verify.consistency_holds(old, size, root(data[:old]), root(data), consistent)


@given(st.integers(2, 64), st.data())
@settings(max_examples=200, deadline=None)
def test_a_wrong_proof_proves_nothing(size: int, drawn: st.DataObject):
    data = [b"%d" % number for number in range(size)]
    index, old = drawn.draw(st.integers(0, size - 1)), drawn.draw(st.integers(1, size - 1))
    good, kept = path(index, data), proof(old, data)
    other = drawn.draw(st.integers(0, size - 1).filter(lambda found: found != index))
    assert not verify.inclusion_holds(other, size, leaf(data[index]), good, root(data))
    assert not verify.inclusion_holds(index, size, leaf(b"other"), good, root(data))
    for wrong in (good[:-1], [*good, good[0]], [bytes(32), *good[1:]]):
        assert not verify.inclusion_holds(index, size, leaf(data[index]), wrong, root(data))
    for wrong in (kept[:-1], [*kept, bytes(32)], [*kept[:-1], bytes(32)]):
        assert not verify.consistency_holds(old, size, root(data[:old]), root(data), wrong)
    forked = [*data[: old - 1], b"other", *data[old:]]
    assert not verify.consistency_holds(old, size, root(data[:old]), root(forked), proof(old, forked))
    assert not verify.consistency_holds(size, size, root(data), root(forked), [])
    assert not verify.consistency_holds(size + 1, size, root(data), root(data), [])


def test_every_subtree_has_a_place_of_its_own():
    places = [tree.place(level, position) for level in range(8) for position in range(64 >> level)]
    assert len(places) == len(set(places))
    assert all(tree.place(0, number) == 2 * number for number in range(64))


@pytest.mark.parametrize("size", [-1, 1])
def test_a_tree_is_begun_with_its_frontier(size: int):
    with pytest.raises((verify.Broken, ValueError)):
        verify.Tree(size, [b"short"])
