"""The tree of RFC 6962.

Roots and proofs of the eight leaves are those that the test of the reference implementation of Certificate Transparency publishes
(`google/certificate-transparency`, `cpp/merkletree/merkle_tree_test.cc`; again in `transparency-dev/merkle`, `testonly/constants.go`).
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwitness.witness.merkle import (
    EMPTY_ROOT,
    FileNodes,
    MemoryNodes,
    Tree,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
)

if TYPE_CHECKING:
    from pathlib import Path

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf counted from 0, size) -> path
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): PATHS[(0, 8)],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def _tree(count: int, step: int = 1) -> Tree:
    tree = Tree(MemoryNodes())
    hashes = [leaf_hash(str(i).encode()) for i in range(count)]
    for start in range(0, count, step):
        tree.append(hashes[start : start + step])
    return tree


def _published() -> Tree:
    tree = Tree(MemoryNodes())
    tree.append([leaf_hash(leaf) for leaf in LEAVES])
    return tree


def test_an_empty_tree_has_the_digest_of_nothing() -> None:
    assert Tree(MemoryNodes()).root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert _published().root(size).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("leaf", "size"), PATHS)
def test_inclusion_proofs_are_the_published_ones(leaf: int, size: int) -> None:
    assert [step.hex() for step in _published().inclusion(leaf, size)] == PATHS[leaf, size]


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(first: int, second: int) -> None:
    assert [step.hex() for step in _published().consistency(first, second)] == CONSISTENCY[first, second]


def _plain_root(hashes: list[bytes]) -> bytes:
    """The definition of RFC 6962 section 2.1 as it stands, for comparison."""
    if len(hashes) == 1:
        return hashes[0]
    width = 1
    while width * 2 < len(hashes):
        width *= 2
    return node_hash(_plain_root(hashes[:width]), _plain_root(hashes[width:]))


@given(st.integers(1, 130), st.integers(1, 17))
def test_the_root_does_not_depend_on_how_leaves_arrive(count: int, step: int) -> None:
    assert _tree(count, step).root() == _plain_root([leaf_hash(str(i).encode()) for i in range(count)])


@given(st.integers(1, 200), st.data())
def test_every_leaf_is_proved_and_no_other_leaf_by_the_same_path(count: int, data: st.DataObject) -> None:
    tree = _tree(count)
    size = data.draw(st.integers(1, count))
    index = data.draw(st.integers(0, size - 1))

    path = tree.inclusion(index, size)

    leaf, root = leaf_hash(str(index).encode()), tree.root(size)
    assert is_included(leaf, index, size, path, root)
    assert len(path) <= (size - 1).bit_length()
    assert not is_included(leaf_hash(b"forged"), index, size, path, root)
    assert not is_included(leaf, index, size, [*path, root], root)
    if path:
        assert not is_included(leaf, index, size, path[:-1], root)
    if size > 1:
        assert not is_included(leaf, (index + 1) % size, size, path, root)


@given(st.integers(1, 200), st.data())
def test_a_tree_is_proved_to_be_the_beginning_of_a_later_one(count: int, data: st.DataObject) -> None:
    tree = _tree(count)
    second = data.draw(st.integers(1, count))
    first = data.draw(st.integers(1, second))

    path = tree.consistency(first, second)

    roots = (tree.root(first), tree.root(second))
    assert is_consistent(first, second, roots, path)
    assert not is_consistent(first, second, (leaf_hash(b"other"), roots[1]), path)
    assert not is_consistent(first, second, (roots[0], leaf_hash(b"other")), path)


def test_a_changed_leaf_is_never_consistent() -> None:
    honest, other = _tree(20), Tree(MemoryNodes())
    other.append([leaf_hash(b"changed"), *(leaf_hash(str(i).encode()) for i in range(1, 30))])

    assert not is_consistent(20, 30, (honest.root(), other.root()), other.consistency(20, 30))


def test_files_hold_the_same_tree_after_opening_again_and_after_cutting(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    hashes = [leaf_hash(str(i).encode()) for i in range(77)]
    nodes = FileNodes(folder)
    Tree(nodes).append(hashes)
    nodes.sync()
    nodes.close()

    again = FileNodes(folder, size=50)
    tree = Tree(again)
    assert tree.root() == _tree(50).root()
    tree.append(hashes[50:])

    assert tree.root() == _tree(77).root()
    again.close()


@pytest.mark.parametrize(("count", "blocks"), [(1 << 8, 2), (1 << 12, 3), (1 << 16, 4), (50_001, 8)])
def test_a_proof_reads_one_small_block_for_four_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, blocks: int
) -> None:
    """A tree that is larger than the memory costs a seek for each block; with one for each level it would be four times as many."""
    hashes = [leaf_hash(b"%d" % i) for i in range(count)]
    nodes = FileNodes(tmp_path / "tree")
    tree, plain = Tree(nodes), Tree(MemoryNodes())
    tree.append(hashes)
    plain.append(hashes)
    seen: list[tuple[int, int]] = []

    def read(descriptor: int, size: int, offset: int) -> bytes:
        seen.extend((descriptor, block) for block in range(offset // 512, (offset + size - 1) // 512 + 1))
        return pread(descriptor, size, offset)

    pread = os.pread
    monkeypatch.setattr(os, "pread", read)
    for index in (0, 1, count // 3, count // 2, count - 2, count - 1):
        seen.clear()
        path = tree.inclusion(index)

        assert path == plain.inclusion(index)
        assert len(set(seen)) <= blocks
        assert len(seen) <= 2 * count.bit_length()
        seen.clear()
        assert tree.inclusion(index) == path
        assert not seen
    nodes.close()


def test_a_hash_that_is_not_on_disk_is_refused_and_read_again_later(tmp_path: Path) -> None:
    nodes = FileNodes(tmp_path / "tree")
    hashes = [leaf_hash(b"%d" % i) for i in range(3)]
    nodes.append(0, b"".join(hashes))
    with pytest.raises(ValueError, match="no hash 1 in level 1"):
        nodes.read(1, 1)

    nodes.append(0, leaf_hash(b"3"))

    assert nodes.read(1, 1) == node_hash(hashes[2], leaf_hash(b"3"))
    nodes.close()


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 6), (0, -1)])
def test_what_is_not_in_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"leaf|leaves"):
        _tree(5).inclusion(index, size)
    assert not is_included(leaf_hash(b"x"), index, size, [], EMPTY_ROOT)
