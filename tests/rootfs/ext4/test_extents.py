"""Extent trees of every depth."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootwright.rootfs.ext4.extents import ENTRIES_IN_BLOCK, EXTENT_MAX, decode_root, encode_extents

TREE_AT = 10**9


def encoded(runs: list[tuple[int, int]]) -> tuple[bytes, dict[int, bytes]]:
    root, blocks = encode_extents(runs, itertools.count(TREE_AT).__next__)
    assert len(root) == 60
    assert all(len(content) == 4096 for _, content in blocks)
    return root, dict(blocks)


def walked(node: bytes, blocks: dict[int, bytes], logical: int = 0) -> list[tuple[int, int, int]]:
    """Return (logical, length, start) of all extents, checking every header."""
    magic, entries, room, depth, _ = struct.unpack_from("<HHHHI", node)
    assert magic == 0xF30A
    assert entries <= room == (len(node) - 12) // 12
    found = []
    for number in range(entries):
        at = 12 + 12 * number
        if depth:
            first, low, high, _ = struct.unpack_from("<IIHH", node, at)
            below = walked(blocks.pop(high << 32 | low), blocks)
            assert below[0][0] == first
            found += below
        else:
            first, length, high, low = struct.unpack_from("<IHHI", node, at)
            assert 0 < length <= EXTENT_MAX
            found.append((first, length, high << 32 | low))
    return found


def check(runs: list[tuple[int, int]], depth: int | None = None) -> None:
    root, blocks = encoded(runs)
    extents = walked(root, blocks)
    assert not blocks, "every block of the tree is reached"
    assert [first for first, _, _ in extents] == list(
        itertools.accumulate([length for _, length, _ in extents], initial=0)
    )[: len(extents)]
    want = [n for start, count in runs for n in (start, start + count - 1)]
    ends = {n for _, length, start in extents for n in (start, start + length - 1)}
    assert ends >= set(want)
    assert sum(length for _, length, _ in extents) == sum(count for _, count in runs)
    if depth is not None:
        assert struct.unpack_from("<H", root, 6) == (depth,)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 200000), st.integers(1, 100000)), max_size=40))
def test_an_encoded_tree_can_be_decoded(runs: list[tuple[int, int]]) -> None:
    check(runs)


@pytest.mark.parametrize(
    ("count", "depth"),
    [
        (0, 0),
        (4, 0),
        (5, 1),
        (4 * ENTRIES_IN_BLOCK, 1),
        (4 * ENTRIES_IN_BLOCK + 1, 2),
        (5 * ENTRIES_IN_BLOCK**2, 3),
    ],
)
def test_depth(count: int, depth: int) -> None:
    check([(2 * number, 1) for number in range(count)], depth)


def test_long_runs_are_split() -> None:
    root, blocks = encoded([(100, 2 * EXTENT_MAX + 5)])
    assert walked(root, blocks) == [
        (0, EXTENT_MAX, 100),
        (EXTENT_MAX, EXTENT_MAX, 100 + EXTENT_MAX),
        (2 * EXTENT_MAX, 5, 100 + 2 * EXTENT_MAX),
    ]


@given(st.lists(st.tuples(st.integers(0, 2**32), st.integers(1, EXTENT_MAX)), max_size=4))
def test_a_root_can_be_read_back(runs: list[tuple[int, int]]) -> None:
    assert decode_root(encoded(runs)[0]) == runs


def test_other_roots_are_not_read() -> None:
    with pytest.raises(ValueError, match="depth 0"):
        decode_root(encoded([(2 * n, 1) for n in range(5)])[0])
    with pytest.raises(ValueError, match="depth 0"):
        decode_root(bytes(60))
