"""Extent trees: the list of the blocks on disk that contain a file.

Numbers from ``Documentation/filesystems/ext4/ifork.rst``, "Extent Tree".
"""

import struct
from collections.abc import Callable, Sequence

from bootwright.rootfs.ext4.allocator import Run
from bootwright.rootfs.ext4.layout import BLOCK

EXTENT_MAX = 32768
"""The most blocks in one extent; larger numbers mean an extent that reads as zeros."""

ENTRIES_IN_INODE = 4
"""Entries of the tree that fit into the 60 bytes of an inode, after the header."""

ENTRIES_IN_BLOCK = (BLOCK - 12) // 12
"""Entries of the tree that fit into a block, after the header."""

_MAGIC = 0xF30A
_HEADER = struct.Struct("<HHHHI")
_LEAF = struct.Struct("<IHHI")
_INDEX = struct.Struct("<IIHH")


def encode_extents(
    runs: Sequence[tuple[int, int]], new_block: Callable[[], int]
) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Return the extent tree of a file: the 60 bytes in its inode, and the blocks of the tree.

    Args:
        runs: the file's blocks on disk as (first, count), in the file's order.
        new_block: allocates a block for the tree; called only if the inode is too small.

    Returns:
        The root of the tree, and (number, content) of each block below it.
    """
    entries = []
    logical = 0
    for start, count in runs:
        while count:
            length = min(count, EXTENT_MAX)
            entries.append((logical, _LEAF.pack(logical, length, start >> 32, start & 0xFFFFFFFF)))
            logical, start, count = logical + length, start + length, count - length
    blocks: list[tuple[int, bytes]] = []
    depth = 0
    while len(entries) > ENTRIES_IN_INODE:
        above = []
        for first in range(0, len(entries), ENTRIES_IN_BLOCK):
            part = entries[first : first + ENTRIES_IN_BLOCK]
            number = new_block()
            blocks.append((number, _node(part, ENTRIES_IN_BLOCK, depth).ljust(BLOCK, b"\0")))
            index = _INDEX.pack(part[0][0], number & 0xFFFFFFFF, number >> 32, 0)
            above.append((part[0][0], index))
        entries = above
        depth += 1
    return _node(entries, ENTRIES_IN_INODE, depth).ljust(60, b"\0"), blocks


def _node(entries: Sequence[tuple[int, bytes]], room: int, depth: int) -> bytes:
    header = _HEADER.pack(_MAGIC, len(entries), room, depth, 0)
    return header + b"".join(entry for _, entry in entries)


def decode_root(root: bytes) -> list[Run]:
    """Return the runs of a file whose extents are all in its inode.

    Raises:
        ValueError: there is no extent tree, or it has further blocks.
    """
    magic, count, _, depth, _ = _HEADER.unpack_from(root)
    if magic != _MAGIC or depth or count > ENTRIES_IN_INODE:
        raise ValueError("not an extent tree of depth 0")
    runs = []
    for number in range(count):
        _, length, high, low = _LEAF.unpack_from(root, _HEADER.size + number * _LEAF.size)
        runs.append(Run(high << 32 | low, length))
    return runs
